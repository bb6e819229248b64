import { beforeEach, describe, expect, test } from 'vitest';
import { forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { MailError } from '../../src/domain/outbox/mailer.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, keptMails, principalOf, virtualTime } from '../support/instance.ts';
import { countingExecutor } from '../support/store-calls.ts';

const VICTIM = 'victim@example.com';
const PASSWORD = 'a password nobody has';

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let kept: ReturnType<typeof keptMails>;
let isAway: boolean;
let context: Context;

beforeEach(async () => {
  time = virtualTime();
  kept = keptMails();
  isAway = false;
  const { mailer } = kept.platform;
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  const services = createInstance(
    executor,
    {},
    {
      ...kept.platform,
      time,
      mailer: {
        send: async (message) => {
          if (isAway) throw new MailError('Not taken.', { failure: 'away' });
          return mailer?.send(message) ?? 'dropped';
        },
      },
    },
  );
  await services.prepare();
  context = services.context;
});

async function accountOf(organization_name: string, isVerified = false, email = VICTIM) {
  const { organization_id, admin_id } = await createOrganization(context, {
    organization_name,
    email,
    password: PASSWORD,
  });
  if (isVerified) await context.master.admins.updateOne({ _id: admin_id }, { $set: { email_verified: true } });
  return () => principalOf(context, organization_id, admin_id);
}

describe('a request for a new password', () => {
  const resets = () => kept.mails.filter(({ text }) => text.includes('forgot the password'));
  const ask = async (organization_name?: string, email = VICTIM) => {
    await forgotPassword(context, { email, organization_name });
    await kept.settled();
  };
  /** The organizations that a mail names, with the token of each. */
  const partsOf = ({ text }: { text: string } = { text: '' }) =>
    [...text.matchAll(/organization "([^"]*)":\n\nToken: (\S+)/g)].map(([, name = '', token = '']) => ({
      name,
      token,
    }));
  const names = (mail?: { text: string }) => partsOf(mail).map(({ name }) => name);

  test('brings the owner’s token, however many strangers ask and name other organizations', async () => {
    const owner = await accountOf('Own');
    for (const bait of ['Bait 1', 'Bait 2']) await accountOf(bait);
    for (const bait of ['Bait 1', 'Bait 2', 'Bait 1', 'Bait 2', 'Bait 1', 'Bait 2']) await ask(bait);
    await ask('Own');
    expect(resets()).toHaveLength(5);
    for (const mail of resets()) expect(names(mail).toSorted()).toEqual(['Bait 1', 'Bait 2', 'Own']);
    const { token } = partsOf(resets().at(-1)).find(({ name }) => name === 'Own') ?? { token: '' };
    await resetPassword(context, { token, password: `${PASSWORD} again` });
    expect((await owner()).admin.password_hash).toBe(`plain:${PASSWORD} again`);
  });

  test('names verified accounts first, then the organization that it is for, then the oldest, eight at most', async () => {
    const named = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word} ${index + 1}`);
    for (const name of named('Old', 9)) await accountOf(name);
    await accountOf('Verified 1', true);
    await accountOf('New');
    await ask('New');
    await ask();
    for (const name of named('Verified', 9).slice(1)) await accountOf(name, true);
    await ask('New');
    await ask('Verified 9');
    expect(resets().map(names)).toEqual([
      ['Verified 1', 'New', ...named('Old', 6)],
      ['Verified 1', ...named('Old', 7)],
      [...named('Verified', 7), 'New'],
      [...named('Verified', 7), 'Verified 9'],
    ]);
  });

  test('costs the same each time, whether there is an account or not, while the first one is under way', async () => {
    await accountOf('Own');
    const counting = countingExecutor(executor);
    // Nothing is sent.
    const own = createInstance(counting, {}, { time }).context;
    for (const email of [VICTIM, 'nobody@example.com']) {
      for (let asked = 1; asked <= 3; asked++) {
        const { calls } = await counting.measure(() => forgotPassword(own, { email }));
        expect(calls.rounds).toEqual([['insertOne mails']]);
      }
      expect(await context.master.mails.count({ kind: 'password_forgotten', to_key: email })).toBe(3);
    }
  });

  test('is answered for a verified account, however often a thief changes the password', async () => {
    const owner = await accountOf('Own', true);
    for (let index = 1; index <= 10; index++) {
      await updateOrganization(context, { principal: await owner(), password: `${PASSWORD} ${index}` });
    }
    await ask();
    expect(names(resets()[0])).toEqual(['Own']);
  });

  test('of a verified address has a budget that no other spelling of the mailbox uses up', async () => {
    await accountOf('Own', true);
    for (const [index, email] of ['v.ictim@example.com', 'victim+bait@example.com'].entries()) {
      await accountOf(`Bait ${index}`, true, email);
      for (let asked = 1; asked <= 6; asked++) await ask(undefined, email);
    }
    await ask();
    expect(resets().filter(({ to }) => to === VICTIM)).toHaveLength(1);
  });

  test('for an organization by name is answered whatever older accounts there are', async () => {
    const { admin } = await (await accountOf('Own'))();
    for (let index = 1; index <= 1000; index++) {
      await context.master.admins.insertOne({ ...admin, _id: `0-${index}`, organization_id: `bait-${index}` });
    }
    await ask('Own');
    expect(names(resets()[0])).toEqual(['Own']);
  });

  test('goes to the address as the account has it', async () => {
    await accountOf('Own', false, 'Victim@example.com');
    await ask(undefined, 'VICTIM@example.com');
    expect(resets().map(({ to }) => to)).toEqual(['Victim@example.com']);
  });

  test('sends nothing and leaves nothing, where the address or the named organization has no account', async () => {
    await accountOf('Own');
    await accountOf('Another', false, 'another@example.com');
    const budgets = await context.master.budgets.count({});
    await ask(undefined, 'nobody@example.com');
    await ask('Another');
    await ask('Unknown');
    expect(resets()).toEqual([]);
    expect(await context.master.mails.count({ kind: { $in: ['password_forgotten', 'password_reset'] } })).toBe(0);
    expect(await context.master.budgets.count({})).toBe(budgets);
  });

  test('draws once on the budget of its receiver, however often its mail is tried', async () => {
    await accountOf('Own', true);
    isAway = true;
    await ask();
    for (let round = 0; round < 10; round++) {
      time.advance(1000);
      await reconcile(context, 0);
    }
    expect(resets()).toEqual([]);
    isAway = false;
    time.advance(60_000);
    await reconcile(context, 0);
    expect(resets()).toHaveLength(1);
    for (let asked = 2; asked <= 6; asked++) await ask();
    expect(resets()).toHaveLength(5);
  });
});
