import { beforeEach, describe, expect, test } from 'vitest';
import { listAudit } from '../../src/domain/audit/list.ts';
import { sealCheckpoint } from '../../src/domain/audit/sealing.ts';
import { countSignInFailure, recordSignInFailuresOf } from '../../src/domain/audit/sign-in-failures.ts';
import type { Context } from '../../src/domain/context.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf, virtualTime } from '../support/instance.ts';

const HOUR_MS = 60 * 60 * 1000;
const MADE_UP = 5000;
/** One account's counters: of sign-ins that failed, and of those that were refused before. */
const MOST = 16;

let time: ReturnType<typeof virtualTime>;
let context: Context;
let owner: Principal;

beforeEach(async () => {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  const { context: base, prepare } = createInstance(executor, {}, { time });
  await prepare();
  context = base;
  owner = await ownerOf(context, 'Guessed');
});

async function guess(addresses: readonly string[], password = 'a guess'): Promise<void> {
  for (const address of addresses) {
    const request = { id: 'test', address, device: null };
    const guessed = logIn({ ...context, request }, { email: owner.admin.email, password });
    await expect(guessed).rejects.toBeDefined();
  }
}

const hex = (number: number) => number.toString(16);
/** Half of them IPv4, each in a block of its own. */
const strangers = (count: number) =>
  Array.from({ length: count }, (_, index) => (index % 2 === 0 ? `20.1.${index / 2}.1` : `2001:db8:${hex(index)}::1`));

const counters = () => context.master.signInFailures.find({});
const guesses = async () => {
  const { items } = await listAudit(context, { principal: owner, limit: 100 });
  return items.filter(({ action }) => action.startsWith('session.sign_in_'));
};
const sum = (counted: readonly { readonly count: number }[]) => counted.reduce((total, { count }) => total + count, 0);

/** The entries that are there without a reader, by whom what is counted is recorded at once. */
const recorded = () => context.master.audit.count({ organization_id: owner.organization._id });

describe('failed sign-ins to one account', () => {
  test('have few counters, from however many addresses they come', async () => {
    await guess(strangers(300));
    const found = await counters();
    expect(found.length).toBeLessThanOrEqual(MOST);
    expect(sum(found)).toBe(300);
    const entries = await guesses();
    expect(entries.length).toBeLessThanOrEqual(MOST);
    expect(sum(entries)).toBe(300);
    expect(await counters()).toEqual([]);
  });

  test('are recorded though somebody gave their count the id of another entry', async () => {
    const other = await ownerOf(context, 'Other');
    await guess(['192.0.2.7']);
    const [first] = await counters();
    await guesses();
    // A counter of the other organization, with the id that is in this one's log.
    const request = { id: 'test', address: '192.0.2.8', device: null };
    const { organization, admin } = other;
    const wanted = { wanted: 'other', accounts: [{ organization, admin }], action: 'session.sign_in_failed' } as const;
    await countSignInFailure({ ...context, request }, wanted);
    const [counted] = await counters();
    await context.master.signInFailures.updateOne(
      { _id: counted?._id ?? '' },
      { $set: { event_id: first?.event_id ?? '' } },
    );
    const { items } = await listAudit(context, { principal: other, limit: 100 });
    expect(items[0]).toMatchObject({ action: 'session.sign_in_failed', target: admin._id, count: 1 });
    expect(await counters()).toEqual([]);
  });

  test('that are as old as entries that were removed are removed as well, and nothing was tampered with', async () => {
    await guess(['192.0.2.7']);
    time.advance(13 * HOUR_MS);
    const { checkpoints } = context.master;
    const [checkpoint] = await checkpoints.find({ _id: owner.organization._id });
    if (checkpoint === undefined) throw new Error('There is no checkpoint.');
    const { key: _, seal: __, ...content } = checkpoint;
    const removed = sealCheckpoint(context.seals, { ...content, removed_until: time.clock() });
    await checkpoints.replaceOne({ _id: checkpoint._id }, removed);
    const [before, logged] = [await recorded(), [] as string[]];
    const log = (level: string, event: string) => void logged.push(`${level} ${event}`);
    await recordSignInFailuresOf({ ...context, log }, owner.organization._id);
    expect([await counters(), await recorded(), logged]).toEqual([[], before, ['info audit.sign_in_failures_removed']]);
  });

  test('make few entries an hour, and none is lost', async () => {
    const before = await recorded();
    for (let hour = 1; hour <= 3; hour++) {
      for (let part = 1; part <= 4; part++) {
        await guess(strangers(50));
        time.advance(HOUR_MS / 4 + 1);
        await reconcile(context, part);
      }
      expect(await recorded()).toBeLessThanOrEqual(before + hour * MOST);
    }
    expect(sum(await guesses())).toBe(600);
  });

  test('are recorded after an hour, those of one block in one entry with the last address', async () => {
    const before = await recorded();
    await guess(Array.from({ length: 9 }, (_, index) => `2001:db8::${hex(index + 1)}`));
    time.advance(HOUR_MS - 1000);
    await reconcile(context, 0);
    expect(await recorded()).toBe(before);
    time.advance(2000);
    await reconcile(context, 0);
    expect(await recorded()).toBe(before + 1);
    expect(await guesses()).toMatchObject([{ action: 'session.sign_in_failed', count: 9, address: '2001:db8::9' }]);
  });
});

describe('failed sign-ins to accounts that do not exist', () => {
  test('do not stand before those of accounts that do', async () => {
    const request = { id: 'test', address: '192.0.2.1', device: null };
    for (let made = 1; made <= 300; made++) {
      const wanted = `somebody-${made}@example.com`;
      await countSignInFailure({ ...context, request }, { wanted, accounts: [], action: 'session.sign_in_failed' });
    }
    time.advance(1000);
    await guess(['192.0.2.7']);
    const before = await recorded();
    time.advance(HOUR_MS + 1000);
    expect(await reconcile(context, 0)).toBe(true);
    expect(new Set((await counters()).map(({ admin_id }) => admin_id))).toEqual(new Set([owner.admin._id]));
    await reconcile(context, 0);
    expect([await counters(), await recorded()]).toEqual([[], before + 1]);
  });

  test('have a bounded number of counters, which tell nothing, and are forgotten', async () => {
    const request = { id: 'test', address: '192.0.2.1', device: null };
    for (let made = 1; made <= MADE_UP; made++) {
      const wanted = `somebody-${made}@example.com`;
      await countSignInFailure({ ...context, request }, { wanted, accounts: [], action: 'session.sign_in_failed' });
    }
    expect(await context.master.signInFailures.count({})).toBeLessThan(4096);
    const found = await counters();
    expect(new Set(found.map(({ address, admin_id }) => `${address} ${admin_id}`))).toEqual(new Set(['null ']));
    time.advance(HOUR_MS + 1000);
    while (await reconcile(context, 0));
    expect(await counters()).toEqual([]);
  });
});
