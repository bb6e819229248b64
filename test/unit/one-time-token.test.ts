import { beforeEach, describe, expect, test } from 'vitest';
import { forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import { undoChange } from '../../src/domain/admin/undo.ts';
import { resendVerification, verifyEmail } from '../../src/domain/admin/verify-email.ts';
import type { Context } from '../../src/domain/context.ts';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { MailError } from '../../src/domain/outbox/mailer.ts';
import { sendDueMail } from '../../src/domain/outbox/outbox.ts';
import type { Message } from '../../src/domain/outbox/schema.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { beginSecondFactor, confirmSecondFactor } from '../../src/domain/second-factor/change.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { logOutEverywhere } from '../../src/domain/session/sessions.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, ownerOf, principalOf } from '../support/instance.ts';
import { codeOf } from '../support/second-factor.ts';

const LEASE_MS = 100;
const PASSWORD = 'a password nobody has';
const DAY_MS = 24 * 60 * 60 * 1000;

const INVALID = { code: 'invalid_one_time_token' };

let executor: Executor;
let now: number;
let sent: Message[];
let mailer: 'takes' | 'refuses' | 'away';
let context: Context;

/** A context of its own, with the time and the mails in the hands of the test. */
function open(over: Executor): Context {
  return {
    ...createInstance(over).context,
    clock: () => new Date(now),
    wait: async () => {},
    mailer: {
      send: async (message) => {
        if (mailer !== 'takes')
          throw new MailError('Not taken.', { failure: mailer === 'refuses' ? 'refused' : 'away' });
        sent.push(message);
        return 'sent';
      },
    },
  };
}

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  await createInstance(executor).prepare();
  now = Date.now();
  sent = [];
  mailer = 'takes';
  context = open(executor);
});

/** Sends the mails that are due, as the reconciler does. */
async function sendDue(over: Context): Promise<void> {
  const due = await over.master.mails.find({ due_at: { $lt: over.clock() } }, { sort: { due_at: 1 } });
  for (const mail of due) await sendDueMail(over, mail);
}

/** Lets the time pass that the instance which enqueued the mails has for them, and sends those that are left. */
async function sendLeft(): Promise<void> {
  now += LEASE_MS + 1;
  await sendDue(context);
}

const tokenOf = ({ text }: Message): string => /^Token: (\S+)$/m.exec(text)?.[1] ?? '';
const mailsTo = (to: string, subject: RegExp) => sent.filter((mail) => mail.to === to && subject.test(mail.subject));

async function resetTokenOf({ admin }: Principal): Promise<string> {
  await forgotPassword(context, { email: admin.email });
  await sendLeft();
  const [mail] = mailsTo(admin.email, /^Choose/).slice(-1);
  return mail === undefined ? '' : tokenOf(mail);
}

const reload = ({ organization, admin }: Principal) => principalOf(context, organization._id, admin._id);

describe('a one-time token', () => {
  test('is nowhere in the store', async () => {
    const owner = await ownerOf(context, 'Stored');
    const token = await resetTokenOf(owner);
    const stored = JSON.stringify(await context.master.mails.find({}));
    const [id = '', secret = ''] = token.split('.');
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    expect(stored).toContain(id);
    expect(stored).not.toContain(secret);
  });

  test('works once, of all who present it at once', async () => {
    const owner = await ownerOf(context, 'Once');
    const token = await resetTokenOf(owner);
    const tries = Array.from({ length: 20 }, (_, index) =>
      resetPassword(open(executor), { token, password: `${PASSWORD} ${index}` }),
    );
    const results = await Promise.allSettled(tries);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject(INVALID);
    const { admin } = await reload(owner);
    const winner = results.findIndex(({ status }) => status === 'fulfilled');
    expect(admin).toMatchObject({ password_hash: `plain:${PASSWORD} ${winner}`, epoch: 2, email_verified: true });
  });

  test('of an invitation makes one admin, of all who present it at once', async () => {
    const owner = await ownerOf(context, 'Invited');
    const email = 'invited@example.com';
    await inviteAdmin(context, { principal: owner, email, role: 'viewer' });
    await sendLeft();
    const [mail] = mailsTo(email, /^You are invited/);
    const token = mail === undefined ? '' : tokenOf(mail);
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => acceptInvitation(open(executor), { token, password: PASSWORD })),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await context.master.admins.count({ organization_id: owner.organization._id })).toBe(2);
  });

  test('ends with its time, whether the store has removed it or not', async () => {
    const owner = await ownerOf(context, 'Time');
    const token = await resetTokenOf(owner);
    now += DAY_MS / 24;
    expect(await context.master.mails.count({ kind: 'password_reset' })).toBe(1);
    await expect(resetPassword(context, { token, password: PASSWORD })).rejects.toMatchObject(INVALID);
  });

  test('of a reset ends with another email, and for another purpose it never was', async () => {
    const owner = await ownerOf(context, 'Purpose');
    const reset = await resetTokenOf(owner);
    const [verification] = mailsTo(owner.admin.email, /^Confirm/).map(tokenOf);
    await expect(verifyEmail(context, { token: reset })).rejects.toMatchObject(INVALID);
    await expect(acceptInvitation(context, { token: reset, password: PASSWORD })).rejects.toMatchObject(INVALID);
    await updateOrganization(context, { principal: await reload(owner), email: 'another@example.com' });
    await expect(resetPassword(context, { token: reset, password: PASSWORD })).rejects.toMatchObject(INVALID);
    await expect(verifyEmail(context, { token: verification ?? '' })).rejects.toMatchObject(INVALID);
    expect((await reload(owner)).admin.email_verified).toBe(false);
  });

  test('of a reset ends by nothing that a thief does who is signed in, and by any change that a mail’s token makes', async () => {
    const owner = await ownerOf(context, 'Thief');
    const [mailed, other] = [await resetTokenOf(owner), await resetTokenOf(owner)];
    await updateOrganization(context, { principal: await reload(owner), password: `${PASSWORD} of a thief` });
    const { secret } = await beginSecondFactor(context, {
      principal: await reload(owner),
      current_password: `${PASSWORD} of a thief`,
    });
    const code = codeOf(secret, { at: now });
    await confirmSecondFactor(context, { principal: await reload(owner), code });
    await logOutEverywhere(context, { principal: await reload(owner) });
    await resetPassword(context, { token: mailed, password: PASSWORD });
    expect((await reload(owner)).admin.password_hash).toBe(`plain:${PASSWORD}`);
    await expect(resetPassword(context, { token: other, password: PASSWORD })).rejects.toMatchObject(INVALID);
    const again = await resetTokenOf(owner);
    const [undo = ''] = mailsTo(owner.admin.email, /second factor$/).map(tokenOf);
    await undoChange(context, { token: undo });
    await expect(resetPassword(context, { token: again, password: PASSWORD })).rejects.toMatchObject(INVALID);
    await resetPassword(context, { token: await resetTokenOf(owner), password: `${PASSWORD} at last` });
    expect((await reload(owner)).admin.password_hash).toBe(`plain:${PASSWORD} at last`);
  });

  test('is good still where the reset was refused because another change is under way', async () => {
    const owner = await ownerOf(context, 'Under way');
    const token = await resetTokenOf(owner);
    // An instance dies in a rename, and has its lease for a while.
    let call = 1;
    do {
      const renaming = updateOrganization(open(goneAt(executor, call++, 'after')), {
        principal: await reload(owner),
        new_organization_name: 'Renamed under way',
      });
      await renaming.catch(() => undefined);
    } while ((await reload(owner)).organization.operation === null);
    await expect(resetPassword(context, { token, password: PASSWORD })).rejects.toMatchObject({
      code: 'operation_in_progress',
    });
    now += LEASE_MS + 1;
    await resetPassword(context, { token, password: PASSWORD });
    await expect(resetPassword(context, { token, password: PASSWORD })).rejects.toMatchObject(INVALID);
  });

  test('is never good again after a crash at any store call, and another can always be asked for', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const owner = await ownerOf(context, `Crash ${when} ${call}`);
        const token = await resetTokenOf(owner);
        const dying = goneAt(executor, call, when);
        const died = await resetPassword(open(dying), { token, password: PASSWORD }).then(
          () => false,
          () => true,
        );
        const changed = (await reload(owner)).admin.password_hash === `plain:${PASSWORD}`;
        const again = await resetPassword(context, { token, password: `${PASSWORD} again` }).then(
          () => true,
          () => false,
        );
        if (changed) expect(again).toBe(false);
        if (!died) break;
        const other = await resetTokenOf(owner);
        await resetPassword(context, { token: other, password: `${PASSWORD} other` });
        expect((await reload(owner)).admin.password_hash).toBe(`plain:${PASSWORD} other`);
      }
    }
  });
});

describe('the outbox', () => {
  test('asks for a verification again only with a new token', async () => {
    const owner = await ownerOf(context, 'Resend');
    await sendLeft();
    await resendVerification(context, { principal: owner });
    await sendLeft();
    const [first = '', second = ''] = mailsTo(owner.admin.email, /^Confirm/).map(tokenOf);
    await expect(verifyEmail(context, { token: first })).rejects.toMatchObject(INVALID);
    await verifyEmail(context, { token: second });
    await resendVerification(context, { principal: await reload(owner) });
    await sendLeft();
    expect(mailsTo(owner.admin.email, /^Confirm/)).toHaveLength(2);
  });

  test('tells of no change that was refused, and of every one that was made, whoever died meanwhile', async () => {
    let made = 0;
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const owner = await ownerOf(context, `Change ${when} ${call}`);
        await sendLeft();
        const next = `next-${when}-${call}@example.com`;
        const input = {
          principal: owner,
          email: next,
          password: PASSWORD,
          new_organization_name: `Changed ${when} ${call}`,
        };
        const died = await updateOrganization(open(goneAt(executor, call, when)), input).then(
          () => false,
          () => true,
        );
        for (let round = 0; round < 10; round++) {
          now += LEASE_MS * 2 ** round + 1;
          await reconcile(context, round);
        }
        const { admin } = await reload(owner);
        const changed = admin.email === next;
        made += changed ? 1 : 0;
        const told = [/^Your email/, /^Your password/].map((subject) => mailsTo(owner.admin.email, subject).length);
        expect(told, `${when} ${call}`).toEqual(changed ? [1, 1] : [0, 0]);
        expect(mailsTo(next, /^Confirm/)).toHaveLength(changed ? 1 : 0);
        if (!died) break;
      }
    }
    expect(made).toBeGreaterThan(5);
  });

  test('tells nobody of an email that was refused, also when something else is changed then', async () => {
    const owner = await ownerOf(context, 'Refused');
    await context.master.admins.insertOne({
      ...owner.admin,
      _id: context.newId(),
      email: 'taken@example.com',
      email_key: 'taken@example.com',
    });
    await expect(updateOrganization(context, { principal: owner, email: 'taken@example.com' })).rejects.toMatchObject({
      code: 'admin_email_taken',
    });
    await updateOrganization(context, { principal: await reload(owner), password: PASSWORD });
    await sendLeft();
    expect(mailsTo(owner.admin.email, /^Your email/)).toEqual([]);
    expect(mailsTo(owner.admin.email, /^Your password/)).toHaveLength(1);
    expect(sent.filter(({ to }) => to === 'taken@example.com')).toEqual([]);
  });

  test.each(['postponed', 'away'] as const)(
    'tries a mail whose failure is: %s, ever more seldom, every six hours at last, until it expires',
    async (failure) => {
      const owner = await ownerOf(context, 'Bounded');
      const { mails } = context.master;
      const tries: number[] = [];
      const counting: Context = {
        ...context,
        mailer: {
          send: async () => {
            tries.push(now);
            throw new MailError('Not taken.', { failure });
          },
        },
      };
      const start = now;
      for (;;) {
        const mail = await mails.findOne({ admin_id: owner.admin._id });
        if (mail === undefined) break;
        now = (mail.due_at?.getTime() ?? 0) + 1;
        await sendDue(counting);
      }
      const gaps = tries.slice(1).map((time, index) => time - (tries[index] ?? 0));
      expect(gaps).toEqual(tries.slice(1).map((_, index) => Math.min(LEASE_MS * 2 ** index, DAY_MS / 4) + 1));
      expect((tries.at(-1) ?? 0) - start).toBeLessThan(DAY_MS);
      expect((tries.at(-1) ?? 0) - start).toBeGreaterThan(DAY_MS / 2);
    },
  );

  test('sends on beside a receiver who is refused for now, and stops where the mailer is away', async () => {
    const [one, other, third] = [
      await ownerOf(context, 'One'),
      await ownerOf(context, 'Other'),
      await ownerOf(context, 'Third'),
    ];
    const handed: string[] = [];
    const failing = (failure: 'postponed' | 'away'): Context => ({
      ...context,
      mailer: {
        send: async (message) => {
          handed.push(message.to);
          if (message.to === one.admin.email) throw new MailError('Not taken.', { failure });
          return 'sent';
        },
      },
    });
    now += LEASE_MS + 1;
    await reconcile(failing('away'), 0);
    expect(handed).toEqual([one.admin.email]);
    now += 2 * LEASE_MS + 1;
    // The refused one comes first again.
    await context.master.mails.updateOne({ admin_id: one.admin._id }, { $set: { due_at: new Date(0) } });
    await reconcile(failing('postponed'), 0);
    expect(handed.slice(1)).toEqual([one, other, third].map(({ admin }) => admin.email));
    expect(await context.master.mails.count({ due_at: { $lt: context.clock() } })).toBe(0);
    expect(await context.master.mails.count({ admin_id: one.admin._id, attempts: 2 })).toBe(1);
  });

  test('loses no mail to a mailer that is away for hours, until the mail expires', async () => {
    const owner = await ownerOf(context, 'Away');
    await updateOrganization(context, { principal: owner, email: 'another@example.com' });
    mailer = 'away';
    for (let minute = 0; minute < 180; minute++) {
      now += 60_000;
      await sendDue(context);
    }
    mailer = 'takes';
    now += DAY_MS / 4;
    await sendDue(context);
    const [notice] = mailsTo(owner.admin.email, /^Your email/);
    expect(notice).toBeDefined();
    expect(mailsTo('another@example.com', /^Confirm/)).toHaveLength(1);
    mailer = 'away';
    await resendVerification(context, { principal: await reload(owner) });
    await sendLeft();
    now += DAY_MS;
    mailer = 'takes';
    await sendLeft();
    expect(mailsTo('another@example.com', /^Confirm/)).toHaveLength(1);
    expect(await context.master.mails.count({ due_at: { $gt: new Date(0) } })).toBe(0);
  });

  test('sends the same tokens for a request for a new password after a crash at any store call', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const owner = await ownerOf(context, `Forgotten ${when} ${call}`);
        const { email } = owner.admin;
        await sendLeft();
        await forgotPassword(context, { email });
        const [request] = await context.master.mails.find({ kind: 'password_forgotten' });
        if (request === undefined) throw new Error('There is no request.');
        const died = await sendDueMail(open(goneAt(executor, call, when)), request).then(
          () => false,
          () => true,
        );
        now += 2 * LEASE_MS;
        await Promise.all([sendDue(context), sendDue(open(executor))]);
        const mails = mailsTo(email, /^Choose/);
        expect([1, 2]).toContain(mails.length);
        expect(new Set(mails.map(({ id, text }) => id + text)).size, `${when} ${call}`).toBe(1);
        expect(await context.master.mails.count({ kind: 'password_reset', admin_id: owner.admin._id })).toBe(1);
        // Another request is another mail, for receivers too, and one reset ends the tokens of both.
        await forgotPassword(context, { email });
        await sendLeft();
        const all = mailsTo(email, /^Choose/);
        expect(new Set(all.map(({ id }) => id)).size).toBe(2);
        const [first = '', last = ''] = [all[0], all.at(-1)].map((mail) => (mail === undefined ? '' : tokenOf(mail)));
        await resetPassword(context, { token: first, password: `${PASSWORD} first` });
        await expect(resetPassword(context, { token: last, password: PASSWORD })).rejects.toMatchObject(INVALID);
        if (!died) break;
      }
    }
  });

  test('does not try again what is refused for good', async () => {
    await ownerOf(context, 'For good');
    mailer = 'refuses';
    await sendLeft();
    expect(await context.master.mails.count({})).toBe(0);
  });

  test('sends a mail once, of all who try at once', async () => {
    const owner = await ownerOf(context, 'Twice');
    now += LEASE_MS + 1;
    await Promise.all(Array.from({ length: 10 }, () => sendDue(open(executor))));
    expect(mailsTo(owner.admin.email, /^Confirm/)).toHaveLength(1);
  });

  test('keeps invitations within their bound, however many are sent at once', async () => {
    const owner = await ownerOf(context, 'Many');
    const invite = (index: number) =>
      inviteAdmin(open(executor), { principal: owner, email: `many-${index}@example.com`, role: 'viewer' });
    const results = await Promise.allSettled(Array.from({ length: 60 }, (_, index) => invite(index)));
    const open_ = await context.master.mails.count({ kind: 'invitation' });
    expect(open_).toBeLessThanOrEqual(50);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'too_many_invitations' });
    }
    await expect(
      (async () => {
        for (let index = 100; index < 160; index++) await invite(index);
      })(),
    ).rejects.toMatchObject({ code: 'too_many_invitations' });
    expect(await context.master.mails.count({ kind: 'invitation' })).toBe(50);
  });
});
