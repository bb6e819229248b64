import { beforeEach, describe, expect, test } from 'vitest';
import { forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import { resendVerification } from '../../src/domain/admin/verify-email.ts';
import type { Context } from '../../src/domain/context.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { tokenText } from '../../src/domain/one-time-token/one-time-token.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { insertMail, tokenMail } from '../../src/domain/outbox/outbox.ts';
import type { MailKind } from '../../src/domain/outbox/schema.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { beginSecondFactor, confirmSecondFactor, removeSecondFactor } from '../../src/domain/second-factor/change.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf, principalOf, virtualTime } from '../support/instance.ts';
import { codeOf } from '../support/second-factor.ts';

const VICTIM = 'victim@example.com';
const PASSWORD = 'a password nobody has';
const HOUR_MS = 60 * 60 * 1000;
const REFUSED = { code: 'too_many_requests' };

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let logged: { event: string; particulars: unknown }[];
let context: Context;

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  logged = [];
  const platform = {
    time,
    log: (_level: string, event: string, particulars: unknown = {}) => void logged.push({ event, particulars }),
  };
  const services = createInstance(executor, {}, platform);
  await services.prepare();
  context = services.context;
});

const queued = (kind: MailKind, to_key = VICTIM) => context.master.mails.count({ kind, to_key });
const create = (name: string, email = VICTIM) =>
  createOrganization(context, { organization_name: name, email, password: PASSWORD });
const overBudget = () => logged.filter(({ event }) => event === 'mail.over_budget');

async function accountOf(name: string, { email_verified }: { email_verified: boolean }) {
  const { organization_id, admin_id } = await create(name);
  await context.master.admins.updateOne({ _id: admin_id }, { $set: { email_verified } });
  return principalOf(context, organization_id, admin_id);
}

describe('mails to one address', () => {
  test('are bounded over all senders and kinds that strangers can cause, and creating goes on', async () => {
    for (let index = 1; index <= 20; index++) await create(`Bait ${index}`);
    expect(await queued('verification')).toBe(5);
    const inviting = await ownerOf(context, 'Inviting');
    await expect(inviteAdmin(context, { principal: inviting, email: VICTIM, role: 'viewer' })).rejects.toMatchObject(
      REFUSED,
    );
    expect(await queued('invitation')).toBe(0);
    expect(await context.master.audit.count({ action: 'admin.invited' })).toBe(0);
    // Another address of somebody who is at the budget: the change is made, and its mail is not.
    const mover = await ownerOf(context, 'Moving');
    await updateOrganization(context, { principal: mover, email: VICTIM });
    expect((await context.master.admins.findOne({ _id: mover.admin._id }))?.email).toBe(VICTIM);
    expect(await queued('verification')).toBe(5);
    expect(await context.master.mails.count({ kind: 'verification', admin_id: mover.admin._id, to_key: VICTIM })).toBe(
      0,
    );
    expect(overBudget().length).toBe(15 + 1 + 1);
    expect(JSON.stringify(logged)).not.toContain(VICTIM);
  });

  test('are bounded whatever the tag, the dots and the case of the address', async () => {
    const spelt = [
      'victim+1@example.com',
      'Victim@example.com',
      'VICTIM+x+y@Example.com',
      'v.icti.m@example.com',
      VICTIM,
    ];
    for (const [index, email] of [...spelt, ...spelt].entries()) await create(`Spelt ${index}`, email);
    expect(await context.master.mails.count({ kind: 'verification' })).toBe(5);
    await create('Another', 'other+victim@example.com');
    await create('Another host', 'victim@exam.ple.com');
    expect(await context.master.mails.count({ kind: 'verification' })).toBe(7);
  });

  test('are bounded for all who send at once', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => create(`At once ${index}`)));
    expect(await queued('verification')).toBe(5);
  });

  test('come again after an hour at the latest', async () => {
    for (let index = 1; index <= 10; index++) await create(`First ${index}`);
    time.advance(HOUR_MS + 1000);
    for (let index = 1; index <= 10; index++) await create(`Second ${index}`);
    expect(await queued('verification')).toBe(10);
    time.advance(HOUR_MS + 1000);
    await create('Third');
    expect(await queued('verification')).toBe(11);
  });

  test('of the own account come however many strangers have caused', async () => {
    const owner = await accountOf('Own', { email_verified: true });
    for (let index = 1; index <= 10; index++) await create(`Bait ${index}`);
    await forgotPassword(context, { email: VICTIM });
    time.advance(1000);
    await reconcile(context, 0);
    expect(await context.master.mails.count({ kind: 'password_reset', admin_id: owner.admin._id })).toBe(1);
  });

  test('about a change of a verified account are never held back', async () => {
    const { admin, organization } = await accountOf('Verified', { email_verified: true });
    for (let index = 1; index <= 8; index++) {
      const principal = await principalOf(context, organization._id, admin._id);
      await updateOrganization(context, { principal, password: `${PASSWORD} ${index}` });
    }
    expect(await queued('password_changed')).toBe(8);
  });

  describe.each(['', 'true'])(
    'about a change of an account that is not verified (REQUIRE_VERIFIED_EMAIL=%s)',
    (required) => {
      beforeEach(() => {
        context = createInstance(executor, required ? { REQUIRE_VERIFIED_EMAIL: required } : {}, { time }).context;
      });
      const begin = (principal: Principal) => beginSecondFactor(context, { principal, current_password: PASSWORD });

      test('come, where they bring a token that undoes it, or there is no change by a stolen token', async () => {
        const { admin, organization } = await accountOf('Mine', { email_verified: false });
        const principal = () => principalOf(context, organization._id, admin._id);
        const { secret } = await begin(await principal());
        for (let index = 1; index <= 5; index++) await create(`Bait ${index}`);
        const before = await context.master.admins.findOne({ _id: admin._id });
        const mails = await context.master.mails.find({}, { sort: { _id: 1 } });
        const code = codeOf(secret, { at: time.clock().getTime() });
        const changes = [
          async () => updateOrganization(context, { principal: await principal(), email: 'thief@evil.example' }),
          async () =>
            updateOrganization(context, {
              principal: await principal(),
              email: 'thief@evil.example',
              password: PASSWORD,
            }),
          async () => confirmSecondFactor(context, { principal: await principal(), code }),
        ];
        for (const change of changes) {
          await expect(change()).rejects.toMatchObject({ ...REFUSED, retryAfterSeconds: expect.any(Number) });
        }
        expect(await context.master.admins.findOne({ _id: admin._id })).toEqual(before);
        expect(await context.master.mails.find({}, { sort: { _id: 1 } })).toEqual(mails);

        time.advance(HOUR_MS + 1000);
        await updateOrganization(context, { principal: await principal(), email: 'mine@example.com' });
        expect(await queued('email_changed')).toBe(1);
      });

      test('are left out, where they bring no token, and stop no change', async () => {
        const { admin, organization } = await accountOf('Factor', { email_verified: false });
        const principal = () => principalOf(context, organization._id, admin._id);
        const { secret } = await begin(await principal());
        const code = codeOf(secret, { at: time.clock().getTime() });
        const { recovery_codes } = await confirmSecondFactor(context, { principal: await principal(), code });
        for (let index = 1; index <= 5; index++) await create(`Bait ${index}`);
        await removeSecondFactor(context, {
          principal: await principal(),
          current_password: PASSWORD,
          code: recovery_codes[0],
        });
        await updateOrganization(context, { principal: await principal(), password: `${PASSWORD} again` });
        const now = await context.master.admins.findOne({ _id: admin._id });
        expect(now).toMatchObject({ second_factor: null, password_hash: `plain:${PASSWORD} again` });
        expect((await queued('second_factor_disabled')) + (await queued('password_changed'))).toBe(0);
      });

      test('are not counted for a change that is refused', async () => {
        const { admin, organization } = await accountOf('Refused', { email_verified: false });
        const principal = await principalOf(context, organization._id, admin._id);
        const taken = { email: 'taken@example.com', email_key: 'taken@example.com' };
        await context.master.admins.insertOne({ ...admin, ...taken, _id: context.newId() });
        const busy = {
          ...context,
          passwords: { ...context.passwords, hash: () => Promise.reject(new Error('Busy.')) },
        };
        for (let index = 1; index <= 6; index++) {
          const asked = updateOrganization(context, { principal, email: taken.email });
          await expect(asked).rejects.toMatchObject({ code: 'admin_email_taken' });
          const both = { principal, email: 'next@example.com', password: PASSWORD };
          await expect(updateOrganization(busy, both)).rejects.toThrow('Busy.');
        }
        await updateOrganization(context, { principal, email: 'next@example.com' });
        expect(await queued('email_changed')).toBe(1);
      });

      test('by a token from its own mailbox stop no change', async () => {
        const { admin } = await accountOf('Reset', { email_verified: false });
        const mail = await insertMail(context, tokenMail('password_reset', admin));
        for (let index = 1; index <= 5; index++) await create(`Bait ${index}`);
        const token = mail.token === null ? '' : (await tokenText(context, mail, mail.token)).text;
        await resetPassword(context, { token, password: `${PASSWORD} again` });
        expect((await context.master.admins.findOne({ _id: admin._id }))?.email_verified).toBe(true);
        expect(await queued('password_changed')).toBe(0);
      });
    },
  );

  test('do not tell, by a refused invitation, that there is an account that a reset was sent to', async () => {
    const invited = async (email: string) => {
      const inviting = await ownerOf(context, `Inviting ${email}`);
      let sent = 0;
      for (let index = 1; index <= 8; index++) {
        const invitation = inviteAdmin(context, { principal: inviting, email, role: 'viewer' });
        sent += await invitation.then(
          () => 1,
          () => 0,
        );
      }
      return sent;
    };
    await accountOf('Unverified', { email_verified: false });
    time.advance(HOUR_MS + 1000);
    for (const email of [VICTIM, 'nobody@example.com']) await forgotPassword(context, { email });
    time.advance(1000);
    await reconcile(context, 0);
    expect(await queued('password_reset')).toBe(1);
    expect(await invited(VICTIM)).toBe(await invited('nobody@example.com'));
  });

  test('are asked for again in vain: 429, and the earlier token stays good', async () => {
    const owner = await accountOf('Resend', { email_verified: false });
    for (let index = 2; index <= 5; index++) await resendVerification(context, { principal: owner });
    const before = await context.master.mails.findOne({ kind: 'verification', admin_id: owner.admin._id });
    await expect(resendVerification(context, { principal: owner })).rejects.toMatchObject(REFUSED);
    expect(await context.master.mails.findOne({ _id: before?._id ?? '' })).toEqual(before);
  });
});
