import { beforeEach, describe, expect, test } from 'vitest';
import { forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { MailError } from '../../src/domain/outbox/mailer.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, keptMails, principalOf, virtualTime } from '../support/instance.ts';

const VICTIM = 'victim@example.com';
const PASSWORD = 'a password nobody has';

let time: ReturnType<typeof virtualTime>;
let kept: ReturnType<typeof keptMails>;
let isAway: boolean;
let context: Context;

beforeEach(async () => {
  time = virtualTime();
  kept = keptMails();
  isAway = false;
  const { mailer } = kept.platform;
  const services = createInstance(
    createSqliteExecutor(openSqliteFile(':memory:')),
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

  test('names the organization first that it is for, then verified accounts, then the oldest, eight at most', async () => {
    for (let index = 1; index <= 9; index++) await accountOf(`Old ${index}`);
    await accountOf('Verified', true);
    await accountOf('New');
    await ask('New');
    await ask();
    const old = (count: number) => Array.from({ length: count }, (_, index) => `Old ${index + 1}`);
    expect(resets().map(names)).toEqual([
      ['New', 'Verified', ...old(6)],
      ['Verified', ...old(7)],
    ]);
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
    time.advance(1000);
    await reconcile(context, 0);
    expect(resets()).toHaveLength(1);
    for (let asked = 2; asked <= 6; asked++) await ask();
    expect(resets()).toHaveLength(5);
  });
});
