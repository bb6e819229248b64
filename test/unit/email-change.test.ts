import { beforeEach, describe, expect, test } from 'vitest';
import { changePassword, forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import { undoChange } from '../../src/domain/admin/undo.ts';
import { resendVerification, verifyEmail } from '../../src/domain/admin/verify-email.ts';
import type { AuditAction } from '../../src/domain/audit/schema.ts';
import type { Context } from '../../src/domain/context.ts';
import { tokenText } from '../../src/domain/one-time-token/one-time-token.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { previewUpdate } from '../../src/domain/organization/preview.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { insertMail, sendDueMail, tokenMail } from '../../src/domain/outbox/outbox.ts';
import type { MailDocument, Mailer, MailKind, Message } from '../../src/domain/outbox/schema.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { beginSecondFactor, confirmSecondFactor, removeSecondFactor } from '../../src/domain/second-factor/change.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { logOutEverywhere } from '../../src/domain/session/sessions.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { findAuditViolations } from '../support/audit-invariants.ts';
import { createInstance, goneAt, ownerOf, principalOf, shuffled, virtualTime } from '../support/instance.ts';
import { codeOf } from '../support/second-factor.ts';

const INVALID = { code: 'invalid_one_time_token' };
const PASSWORD = 'a password nobody has';
const DAY_MS = 24 * 60 * 60 * 1000;
const REQUIRED = { REQUIRE_VERIFIED_EMAIL: 'true' };
// Tests here ask for more mails an hour than a person does.
const AMPLE = { LIMIT_MAIL: 'off', LIMIT_MAIL_RECIPIENT: 'off', LIMIT_CHANGE: 'off' };

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let sent: Message[];

const mailer: Mailer = {
  send: async (message) => {
    sent.push(message);
    return 'sent';
  },
};

const open = (env: Record<string, string> = {}, over = executor): Context =>
  createInstance(over, { ...AMPLE, ...env }, { time, mailer }).context;

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  sent = [];
  await createInstance(executor).prepare();
});

/** An organization's owner, whose email is verified. */
async function verifiedOwner(context: Context, name: string): Promise<Principal> {
  const { admin, organization } = await ownerOf(context, name);
  await context.master.admins.updateOne({ _id: admin._id }, { $set: { email_verified: true } });
  return principalOf(context, organization._id, admin._id);
}

const reload = (context: Context, { admin, organization }: Principal) =>
  principalOf(context, organization._id, admin._id);

/** Sends what waits, and gives the tokens of the mails of a kind to an address, in the order in which they were enqueued. */
async function tokensTo(context: Context, kind: MailKind, to: string): Promise<string[]> {
  for (const mail of await context.master.mails.find({ due_at: { $gt: new Date(0) } }))
    await sendDueMail(context, mail);
  const mails = await context.master.mails.find({ kind, to_key: to.toLowerCase() }, { sort: { _id: 1 } });
  return Promise.all(mails.map((mail) => textOf(context, mail)));
}

const textOf = async (context: Context, mail: MailDocument) =>
  mail.token === null ? '' : (await tokenText(context, mail, mail.token)).text;

const resetTokenOf = async (context: Context, owner: Principal) =>
  textOf(context, await insertMail(context, tokenMail('password_reset', await adminOf(context, owner))));

const newest = async (context: Context, kind: MailKind, to: string) => (await tokensTo(context, kind, to)).at(-1) ?? '';

/** As a thief with a session: changes the email at once. */
async function changeTo(context: Context, owner: Principal, email: string): Promise<void> {
  await updateOrganization(context, { principal: await reload(context, owner), email });
}

const undo = (context: Context, token: string) => undoChange(context, { token });
const adminOf = async (context: Context, owner: Principal) => (await reload(context, owner)).admin;
const recorded = async ({ master }: Context, { organization }: Principal): Promise<AuditAction[]> =>
  (await master.audit.find({ organization_id: organization._id }, { sort: { _id: 1 } })).map(({ action }) => action);

/** As a thief who knows the password. @returns the recovery codes */
async function setUpFactor(context: Context, owner: Principal, current_password = 'TestPass123'): Promise<string[]> {
  const { secret } = await beginSecondFactor(context, { principal: await reload(context, owner), current_password });
  const code = codeOf(secret, { at: time.clock().getTime() });
  return (await confirmSecondFactor(context, { principal: await reload(context, owner), code })).recovery_codes;
}

const factorOf = async (context: Context, owner: Principal) => (await adminOf(context, owner)).second_factor ?? null;

describe('the token that undoes a second factor', () => {
  test('gives an owner the account back whose password and second factor are a thief’s', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Locked out');
    const { email } = owner.admin;
    await updateOrganization(context, { principal: await reload(context, owner), password: PASSWORD });
    await setUpFactor(context, owner, PASSWORD);
    await logOutEverywhere(context, { principal: await reload(context, owner) });
    await reload(context, owner);
    const token = await newest(context, 'second_factor_enabled', email);
    await undo(context, token);
    expect(await context.master.sessions.count({ admin_id: owner.admin._id })).toBe(0);
    expect(await recorded(context, owner)).toEqual(
      expect.arrayContaining(['admin.second_factor_enabled', 'admin.second_factor_disabled']),
    );
    await expect(undo(context, token)).rejects.toMatchObject(INVALID);
    await resetPassword(context, { token: await resetTokenOf(context, owner), password: 'the owner has it back' });
    await logIn(context, { email, password: 'the owner has it back' });
    await tokensTo(context, 'second_factor_disabled', email);
    expect(sent.filter(({ subject }) => subject === 'Your account has no second factor any more')).toHaveLength(1);
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('works after a change of email too, and each of both tokens undoes its own change', async () => {
    for (const first of ['factor', 'email'] as const) {
      const context = open();
      const owner = await verifiedOwner(context, `First ${first}`);
      await setUpFactor(context, owner);
      await changeTo(context, owner, `${first}@evil.example`);
      const tokens = {
        factor: await newest(context, 'second_factor_enabled', owner.admin.email),
        email: await newest(context, 'email_changed', owner.admin.email),
      };
      await undo(context, tokens[first]);
      expect((await adminOf(context, owner)).email === owner.admin.email).toBe(first === 'email');
      expect((await factorOf(context, owner)) === null).toBe(first === 'factor');
      await undo(context, tokens[first === 'factor' ? 'email' : 'factor']);
      expect(await adminOf(context, owner)).toMatchObject({ email: owner.admin.email, second_factor: null });
    }
  });

  test('removes that one and no other, and ends with it', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Another factor');
    const [code = ''] = await setUpFactor(context, owner);
    const old = await newest(context, 'second_factor_enabled', owner.admin.email);
    const off = { principal: await reload(context, owner), current_password: 'TestPass123', code };
    await removeSecondFactor(context, off);
    const removed = await adminOf(context, owner);
    await expect(undo(context, old)).rejects.toMatchObject(INVALID);
    expect(await adminOf(context, owner)).toEqual(removed);
    await setUpFactor(context, owner);
    const later = await adminOf(context, owner);
    await expect(undo(context, old)).rejects.toMatchObject(INVALID);
    expect(await adminOf(context, owner)).toEqual(later);
    await undo(context, await newest(context, 'second_factor_enabled', owner.admin.email));
    expect(await factorOf(context, owner)).toBeNull();
  });

  test('is good for seven days', async () => {
    const context = open();
    for (const [name, ms] of [
      ['In time', 7 * DAY_MS - 1],
      ['Late', 7 * DAY_MS],
    ] as const) {
      const owner = await verifiedOwner(context, name);
      await setUpFactor(context, owner);
      const token = await newest(context, 'second_factor_enabled', owner.admin.email);
      time.advance(ms);
      await (name === 'Late' ? expect(undo(context, token)).rejects.toMatchObject(INVALID) : undo(context, token));
    }
  });

  test('after a crash at any store call has undone it, or can be used again', async () => {
    const outcomes = new Set<boolean>();
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const context = open();
        const owner = await verifiedOwner(context, `Factor ${when} ${call}`);
        await setUpFactor(context, owner);
        const token = await newest(context, 'second_factor_enabled', owner.admin.email);
        const died = await undo(open({}, goneAt(executor, call, when)), token).then(
          () => false,
          () => true,
        );
        const isUndone = (await factorOf(context, owner)) === null;
        outcomes.add(isUndone);
        if (!isUndone) await undo(context, token);
        expect(await factorOf(context, owner)).toBeNull();
        await expect(undo(context, token)).rejects.toMatchObject(INVALID);
        if (!died) break;
      }
    }
    expect(outcomes).toEqual(new Set([true, false]));
  });
});

test.each(['second_factor_enabled', 'email_changed'] as const)(
  'an undo of %s leaves no password that fits',
  async (kind) => {
    const context = open({ DELETE_RETENTION_DAYS: '30' });
    const owner = await verifiedOwner(context, 'No password');
    const { email, _id } = owner.admin;
    // A thief who changes the password, and is faster than the owner's reset after the undo.
    await updateOrganization(context, { principal: await reload(context, owner), password: PASSWORD });
    if (kind === 'email_changed') await changeTo(context, owner, 'thief@evil.example');
    else await setUpFactor(context, owner, PASSWORD);
    await undo(context, await newest(context, kind, email));
    const admin = await adminOf(context, owner);
    const principal = await reload(context, owner);
    for (const password of [PASSWORD, 'TestPass123', '']) {
      await expect(logIn(context, { email, password })).rejects.toMatchObject({ code: 'invalid_credentials' });
      const change = changePassword(context, {
        principal,
        current_password: password,
        new_password: `${PASSWORD} again`,
      });
      await expect(change).rejects.toMatchObject({ code: 'reauthentication_required' });
    }
    await deleteOrganization(context, { principal, organization_name: owner.organization.name });
    const restore = (password: string) =>
      restoreOrganization(context, { organization_name: owner.organization.name, email, password });
    await expect(restore(PASSWORD)).rejects.toMatchObject({ code: 'invalid_credentials' });
    expect(await context.master.admins.findOne({ _id })).toEqual(admin);
    await forgotPassword(context, { email });
    await resetPassword(context, {
      token: await newest(context, 'password_reset', email),
      password: 'the owner’s own',
    });
    await restore('the owner’s own');
    await logIn(context, { email, password: 'the owner’s own' });
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  },
);

describe('an organization that a thief has deleted, and that is kept', () => {
  const KEPT = { DELETE_RETENTION_DAYS: '30', AUDIT_RETENTION_DAYS: '0' };
  const elsewhere = 'thief@evil.example';

  /** Somebody with the owner's token, who changes email and password, and deletes. */
  async function deletedByThief(context: Context, name: string, email?: string): Promise<Principal> {
    const owner = await verifiedOwner(context, name);
    await updateOrganization(context, { principal: owner, email, password: PASSWORD });
    await deleteOrganization(context, { principal: await reload(context, owner), organization_name: name });
    return owner;
  }

  test('is restored by its owner, after a reset by mail', async () => {
    const context = open(KEPT);
    const { admin } = await deletedByThief(context, 'Reset');
    await forgotPassword(context, { email: admin.email, organization_name: 'Reset' });
    const password = 'the owner’s own';
    await resetPassword(context, { token: await newest(context, 'password_reset', admin.email), password });
    await restoreOrganization(context, { organization_name: 'Reset', email: admin.email, password });
    await logIn(context, { email: admin.email, password });
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('is restored after an undo too, whose notice is sent also when it was deleted by then', async () => {
    const context = open(KEPT);
    const { admin } = await deletedByThief(context, 'Undone', elsewhere);
    await undo(context, await newest(context, 'email_changed', admin.email));
    expect(sent.filter(({ to, subject }) => to === admin.email && /^Your email/.test(subject))).toHaveLength(1);
    await forgotPassword(context, { email: admin.email });
    const password = 'the owner’s own';
    await resetPassword(context, { token: await newest(context, 'password_reset', admin.email), password });
    await restoreOrganization(context, { organization_name: 'Undone', email: admin.email, password });
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('takes no token once its erasure has begun, whatever goes on at the same time', async () => {
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 40; seed++) {
      const context = open(KEPT);
      const { admin, organization } = await deletedByThief(context, `Purged ${seed}`);
      time.advance(30 * DAY_MS - 1000);
      await forgotPassword(context, { email: admin.email });
      const token = await newest(context, 'password_reset', admin.email);
      time.advance(2000);
      const [reset] = await Promise.allSettled([
        resetPassword(open(KEPT, shuffled(executor, seed)), { token, password: `${PASSWORD} ${seed}` }),
        reconcile(open(KEPT, shuffled(executor, seed + 1000)), 0),
      ]);
      outcomes.add(reset.status);
      if (reset.status === 'rejected')
        expect(reset.reason).toMatchObject({ code: expect.stringMatching(/one_time|conflict/) });
      time.advance(DAY_MS);
      for (let round = 0; round < 3; round++) await reconcile(context, round);
      expect(await context.master.organizations.findOne({ _id: organization._id })).toMatchObject({ status: 'erased' });
      expect(await context.master.admins.count({ organization_id: organization._id })).toBe(0);
      await expect(resetPassword(context, { token, password: PASSWORD })).rejects.toMatchObject(INVALID);
      expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
    }
    expect(outcomes).toContain('fulfilled');
  });
});

describe('the token that undoes a change of email', () => {
  test('removes a second factor that was set up since, and none from before', async () => {
    for (const env of [{}, REQUIRED]) {
      const context = open(env);
      const since = await verifiedOwner(context, `Since ${Object.keys(env)}`);
      await changeTo(context, since, 'x@example.com');
      await setUpFactor(context, since);
      await undo(context, await newest(context, 'email_changed', since.admin.email));
      expect(await adminOf(context, since)).toMatchObject({ email: since.admin.email, second_factor: null });
      const actions = ['admin.email_change_undone', 'admin.second_factor_disabled'];
      expect((await recorded(context, since)).slice(-2)).toEqual(actions);

      const before = await verifiedOwner(context, `Before ${Object.keys(env)}`);
      await setUpFactor(context, before);
      const factor = await factorOf(context, before);
      await changeTo(context, before, 'y@example.com');
      await undo(context, await newest(context, 'email_changed', before.admin.email));
      expect(await adminOf(context, before)).toMatchObject({ email: before.admin.email, second_factor: factor });
      expect((await recorded(context, before)).at(-1)).toBe('admin.email_change_undone');
      expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
    }
  });

  test('tells the address that it takes the account from, without a token', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Left');
    await changeTo(context, owner, 'new@example.com');
    await verifyEmail(context, { token: await newest(context, 'verification', 'new@example.com') });
    await undo(context, await newest(context, 'email_changed', owner.admin.email));
    await tokensTo(context, 'email_change_undone', 'new@example.com');
    const notices = sent.filter(({ subject }) => subject === 'Your email address: a change was undone');
    expect(notices.map(({ to }) => to)).toEqual(['new@example.com']);
    expect(notices[0]?.text).not.toContain('oken');
  });

  test('which a crashed undo has ended stays ended after another undo', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Revived');
    const { email } = owner.admin;
    await changeTo(context, owner, 'x@evil.example');
    await changeTo(context, owner, 'y@evil.example');
    const thiefs = await newest(context, 'email_changed', 'x@evil.example');
    const token = await newest(context, 'email_changed', email);
    for (let call = 1; call < 60 && (await adminOf(context, owner)).email !== email; call++) {
      await undo(open({}, goneAt(executor, call, 'after')), token).catch(() => undefined);
    }
    await changeTo(context, owner, 'z@evil.example');
    await undo(context, await newest(context, 'email_changed', email));
    await expect(undo(context, thiefs)).rejects.toMatchObject(INVALID);
    expect((await adminOf(context, owner)).email).toBe(email);
  });

  test('ends the sessions of before, and none that begins right after it', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Right after');
    await changeTo(context, owner, 'x@example.com');
    const token = await newest(context, 'email_changed', owner.admin.email);
    let isNew = false;
    const racing: Executor = {
      ...executor,
      execute: async (command) => {
        const { op, collection } = command as { readonly op: string; readonly collection?: string };
        if (op === 'deleteMany' && collection === 'sessions' && !isNew) {
          isNew = true;
          await reload(context, owner);
        }
        return executor.execute(command);
      },
    };
    await undo(open({}, racing), token);
    expect(isNew).toBe(true);
    const sessions = await context.master.sessions.find({ admin_id: owner.admin._id });
    expect(sessions.map(({ epoch }) => epoch)).toEqual([owner.session.epoch + 2]);
  });

  test('gives the old address back, verified as it was, and ends sessions, other tokens and itself', async () => {
    const context = open();
    for (const email_verified of [true, false]) {
      const owner = email_verified ? await verifiedOwner(context, 'Verified') : await ownerOf(context, 'Unverified');
      const { email } = owner.admin;
      const next = `next-${email_verified}@example.com`;
      await changeTo(context, owner, next);
      await forgotPassword(context, { email: next });
      const [token = ''] = await tokensTo(context, 'email_changed', email);
      const reset = await newest(context, 'password_reset', next);
      const verification = await newest(context, 'verification', next);
      expect(reset).not.toBe('');
      await undo(context, token);
      const admin = await context.master.admins.findOne({ _id: owner.admin._id });
      expect(admin).toMatchObject({ email, email_key: email, email_verified, epoch: owner.admin.epoch + 2 });
      const password = 'TestPass123';
      const organization_name = owner.organization.name;
      const refused = { code: 'invalid_credentials' };
      await expect(logIn(context, { email, password, organization_name })).rejects.toMatchObject(refused);
      expect(await context.master.sessions.count({ admin_id: owner.admin._id })).toBe(0);
      await expect(resetPassword(context, { token: reset, password: PASSWORD })).rejects.toMatchObject(INVALID);
      await expect(verifyEmail(context, { token: verification })).rejects.toMatchObject(INVALID);
      await expect(undo(context, token)).rejects.toMatchObject(INVALID);
      expect((await recorded(context, owner)).slice(-2)).toEqual(['admin.email_changed', 'admin.email_change_undone']);
      await forgotPassword(context, { email, organization_name });
      await resetPassword(context, { token: await newest(context, 'password_reset', email), password });
      await logIn(context, { email, password, organization_name });
    }
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('works whatever a thief changes after: email, password, sessions', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Chain');
    await changeTo(context, owner, 'x@example.com');
    await verifyEmail(context, { token: await newest(context, 'verification', 'x@example.com') });
    await updateOrganization(context, { principal: await reload(context, owner), password: PASSWORD });
    await logOutEverywhere(context, { principal: await reload(context, owner) });
    await changeTo(context, owner, 'y@example.com');
    await forgotPassword(context, { email: 'y@example.com' });
    const reset = await newest(context, 'password_reset', 'y@example.com');
    await resetPassword(context, { token: reset, password: `${PASSWORD} again` });
    await undo(context, await newest(context, 'email_changed', owner.admin.email));
    expect(await adminOf(context, owner)).toMatchObject({ email: owner.admin.email, email_verified: true });
  });

  test('of the earliest change wins, in whatever order they are used', async () => {
    const context = open();
    for (const order of ['owner first', 'thief first'] as const) {
      const owner = await verifiedOwner(context, `Order: ${order}`);
      const [x, y] = [`x-${order.slice(0, 5)}@example.com`, `y-${order.slice(0, 5)}@example.com`];
      await changeTo(context, owner, x);
      await changeTo(context, owner, y);
      const owners = await newest(context, 'email_changed', owner.admin.email);
      const thiefs = await newest(context, 'email_changed', x);
      if (order === 'thief first') {
        await undo(context, thiefs);
        expect((await adminOf(context, owner)).email).toBe(x);
      }
      await undo(context, owners);
      await expect(undo(context, thiefs)).rejects.toMatchObject(INVALID);
      expect((await adminOf(context, owner)).email).toBe(owner.admin.email);
    }
  });

  test('is not lost where a thief puts the old address back, to hold a token that undoes that', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Back');
    await changeTo(context, owner, 'x@example.com');
    await changeTo(context, owner, owner.admin.email);
    const owners = await newest(context, 'email_changed', owner.admin.email);
    const thiefs = await newest(context, 'email_changed', 'x@example.com');
    await undo(context, owners);
    await expect(undo(context, thiefs)).rejects.toMatchObject(INVALID);
    expect(await adminOf(context, owner)).toMatchObject({ email: owner.admin.email, email_verified: true });
  });

  test('of a change after an undone one is good', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'After');
    await changeTo(context, owner, 'x@example.com');
    await undo(context, await newest(context, 'email_changed', owner.admin.email));
    await changeTo(context, owner, 'mine@example.com');
    await undo(context, await newest(context, 'email_changed', owner.admin.email));
    expect((await adminOf(context, owner)).email).toBe(owner.admin.email);
  });

  test('ends after seven days', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Late');
    await changeTo(context, owner, 'x@example.com');
    const token = await newest(context, 'email_changed', owner.admin.email);
    time.advance(7 * DAY_MS - 60_000);
    const other = await verifiedOwner(context, 'In time');
    await changeTo(context, other, 'y@example.com');
    const others = await newest(context, 'email_changed', other.admin.email);
    time.advance(60_000);
    await expect(undo(context, token)).rejects.toMatchObject(INVALID);
    time.advance(7 * DAY_MS - 120_000);
    await undo(context, others);
  });

  test('is refused while another admin has the address, and good when that is over', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'Taken');
    await changeTo(context, owner, 'x@example.com');
    const other = { ...owner.admin, _id: context.newId() };
    await context.master.admins.insertOne(other);
    const token = await newest(context, 'email_changed', owner.admin.email);
    await expect(undo(context, token)).rejects.toMatchObject({ code: 'admin_email_taken' });
    expect((await adminOf(context, owner)).email).toBe('x@example.com');
    await context.master.admins.deleteOne({ _id: other._id });
    await undo(context, token);
  });

  test('works once, of all who present it at once', async () => {
    const context = open();
    const owner = await verifiedOwner(context, 'At once');
    await changeTo(context, owner, 'x@example.com');
    const token = await newest(context, 'email_changed', owner.admin.email);
    const tries = Array.from({ length: 10 }, (_, seed) => undo(open({}, shuffled(executor, seed)), token));
    const results = await Promise.allSettled(tries);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await adminOf(context, owner)).toMatchObject({ email: owner.admin.email, epoch: owner.admin.epoch + 2 });
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('after a crash at any store call has undone it, with all later tokens, or can be used again', async () => {
    const outcomes = new Set<boolean>();
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const context = open();
        const owner = await verifiedOwner(context, `Crash ${when} ${call}`);
        const [x, y] = [`x-${when}-${call}@example.com`, `y-${when}-${call}@example.com`];
        await changeTo(context, owner, x);
        await changeTo(context, owner, y);
        const token = await newest(context, 'email_changed', owner.admin.email);
        const thiefs = await newest(context, 'email_changed', x);
        const died = await undo(open({}, goneAt(executor, call, when)), token).then(
          () => false,
          () => true,
        );
        const isUndone = (await adminOf(context, owner)).email === owner.admin.email;
        outcomes.add(isUndone);
        if (isUndone) {
          for (const spent of [token, thiefs]) await expect(undo(context, spent)).rejects.toMatchObject(INVALID);
        } else {
          await undo(context, token);
        }
        expect((await adminOf(context, owner)).email).toBe(owner.admin.email);
        if (!died) break;
      }
    }
    expect(outcomes).toEqual(new Set([true, false]));
    time.advance(DAY_MS);
    const context = open();
    for (let round = 0; round < 3; round++) await reconcile(context, round);
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('is no token of another kind, and no other is one', async () => {
    const context = open();
    const owner = await ownerOf(context, 'Purpose');
    const verification = await newest(context, 'verification', owner.admin.email);
    await changeTo(context, owner, 'x@example.com');
    const token = await newest(context, 'email_changed', owner.admin.email);
    await expect(undo(context, verification)).rejects.toMatchObject(INVALID);
    await expect(verifyEmail(context, { token })).rejects.toMatchObject(INVALID);
    await expect(resetPassword(context, { token, password: PASSWORD })).rejects.toMatchObject(INVALID);
    await undo(context, token);
  });
});

describe('where emails have to be verified, another email', () => {
  test('takes effect when it is verified, and not before; then the sessions end', async () => {
    const context = open(REQUIRED);
    const owner = await verifiedOwner(context, 'Waiting');
    const answer = await updateOrganization(context, { principal: owner, email: 'New@example.com' });
    expect(answer).toMatchObject({ organization_id: owner.organization._id, status: 'active' });
    expect(answer).not.toHaveProperty('access_token');
    expect(await adminOf(context, owner)).toEqual(owner.admin);
    const { access_token } = await logIn(context, { email: owner.admin.email, password: 'TestPass123' });
    await verifyEmail(context, { token: await newest(context, 'verification', 'new@example.com') });
    expect(await adminOf(context, owner)).toMatchObject({
      email: 'New@example.com',
      email_key: 'new@example.com',
      email_verified: true,
      epoch: owner.admin.epoch + 1,
    });
    await expect(authenticate(context, access_token)).rejects.toMatchObject({ code: 'invalid_token' });
    expect((await recorded(context, owner)).slice(-2)).toEqual(['admin.email_changed', 'admin.email_verified']);
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('is told to the present address at once, which can end it, or take the account back later', async () => {
    const context = open(REQUIRED);
    for (const isVerified of [false, true]) {
      const owner = await verifiedOwner(context, `Told ${isVerified}`);
      const next = `next-${isVerified}@example.com`;
      await updateOrganization(context, { principal: owner, email: next });
      const [undoing = ''] = await tokensTo(context, 'email_changed', owner.admin.email);
      const verification = await newest(context, 'verification', next);
      expect(sent.filter(({ to, subject }) => to === owner.admin.email && /^Your email/.test(subject))).toHaveLength(1);
      if (isVerified) await verifyEmail(context, { token: verification });
      await undo(context, undoing);
      expect(await context.master.sessions.count({ admin_id: owner.admin._id })).toBe(0);
      await expect(verifyEmail(context, { token: verification })).rejects.toMatchObject(INVALID);
      expect(await adminOf(context, owner)).toMatchObject({ email: owner.admin.email, email_verified: true });
      expect((await recorded(context, owner)).at(-1)).toBe('admin.email_change_undone');
    }
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('ends the one that was asked for before, and is not ended by another mail for the present address', async () => {
    const context = open(REQUIRED);
    const owner = await ownerOf(context, 'Twice');
    await updateOrganization(context, { principal: owner, email: 'first@example.com' });
    const first = await newest(context, 'verification', 'first@example.com');
    await updateOrganization(context, { principal: owner, email: 'second@example.com' });
    const second = await newest(context, 'verification', 'second@example.com');
    await resendVerification(context, { principal: owner });
    await expect(verifyEmail(context, { token: first })).rejects.toMatchObject(INVALID);
    await verifyEmail(context, { token: second });
    expect((await adminOf(context, owner)).email).toBe('second@example.com');
  });

  test('is refused when another admin has it: when it is asked for, and when it is verified', async () => {
    const context = open(REQUIRED);
    const owner = await verifiedOwner(context, 'Taken');
    const taken = { code: 'admin_email_taken' };
    const ask = (email: string) => updateOrganization(context, { principal: owner, email });
    await ask('next@example.com');
    const other = { ...owner.admin, _id: context.newId(), email: 'next@example.com', email_key: 'next@example.com' };
    await context.master.admins.insertOne(other);
    await expect(ask('NEXT@example.com')).rejects.toMatchObject(taken);
    const token = await newest(context, 'verification', 'next@example.com');
    await expect(verifyEmail(context, { token })).rejects.toMatchObject(taken);
    expect((await adminOf(context, owner)).email).toBe(owner.admin.email);
  });

  test('is looked at only after a recent sign-in', async () => {
    const context = open(REQUIRED);
    const owner = await verifiedOwner(context, 'Stale');
    const taken = { email: 'taken@example.com', email_key: 'taken@example.com' };
    await context.master.admins.insertOne({ ...owner.admin, ...taken, _id: context.newId() });
    time.advance(16 * 60 * 1000);
    for (const email of [taken.email, 'free@example.com']) {
      const input = { principal: owner, email };
      await expect(updateOrganization(context, input)).rejects.toMatchObject({ code: 'reauthentication_required' });
      expect(await previewUpdate(context, input)).toMatchObject({ admins: 1 });
    }
  });

  test('that cannot be taken now can be verified when that is over', async () => {
    const context = open(REQUIRED);
    const owner = await verifiedOwner(context, 'Later');
    await updateOrganization(context, { principal: owner, email: 'next@example.com' });
    const token = await newest(context, 'verification', 'next@example.com');
    const other = { ...owner.admin, _id: context.newId(), email: 'next@example.com', email_key: 'next@example.com' };
    await context.master.admins.insertOne(other);
    await expect(verifyEmail(context, { token })).rejects.toMatchObject({ code: 'admin_email_taken' });
    await context.master.admins.deleteOne({ _id: other._id });
    await verifyEmail(context, { token });
    expect(await adminOf(context, owner)).toMatchObject({ email: 'next@example.com', email_verified: true });
    await expect(verifyEmail(context, { token })).rejects.toMatchObject(INVALID);
  });

  test('leaves the link of the one before good, where no further mail may be sent', async () => {
    const context = open({ ...REQUIRED, LIMIT_MAIL_RECIPIENT: '5/3600' });
    const owner = await verifiedOwner(context, 'Over budget');
    const ask = (email: string) => updateOrganization(context, { principal: owner, email });
    for (let asked = 1; asked <= 5; asked++) await ask('full@example.com');
    await ask('first@example.com');
    const token = await newest(context, 'verification', 'first@example.com');
    const mails = await context.master.mails.find({}, { sort: { _id: 1 } });
    await expect(ask('full@example.com')).rejects.toMatchObject({ code: 'too_many_requests' });
    expect(await context.master.mails.find({}, { sort: { _id: 1 } })).toEqual(mails);
    await verifyEmail(context, { token });
    expect((await adminOf(context, owner)).email).toBe('first@example.com');
  });

  test('beside another name and password waits alone, and ends when sessions do', async () => {
    const context = open(REQUIRED);
    const owner = await verifiedOwner(context, 'Beside');
    const input = { principal: owner, email: 'next@example.com', password: PASSWORD, new_organization_name: 'Renamed' };
    const answer = await updateOrganization(context, input);
    expect(answer).toMatchObject({ organization_name: 'Renamed', access_token: expect.any(String) });
    const admin = await adminOf(context, owner);
    expect(admin).toMatchObject({ email: owner.admin.email, password_hash: `plain:${PASSWORD}` });
    const token = await newest(context, 'verification', 'next@example.com');
    await logOutEverywhere(context, { principal: await reload(context, owner) });
    await expect(verifyEmail(context, { token })).rejects.toMatchObject(INVALID);
    await updateOrganization(context, { principal: await reload(context, owner), email: 'next@example.com' });
    await verifyEmail(context, { token: await newest(context, 'verification', 'next@example.com') });
    expect((await adminOf(context, owner)).email).toBe('next@example.com');
  });

  test('in another case only takes effect at once', async () => {
    const context = open(REQUIRED);
    const owner = await verifiedOwner(context, 'Case');
    const email = owner.admin.email.toUpperCase();
    expect(await updateOrganization(context, { principal: owner, email })).toHaveProperty('access_token');
    expect(await adminOf(context, owner)).toMatchObject({ email, email_verified: true });
  });

  test('is never there without the notice, after a crash at any store call', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const context = open(REQUIRED);
        const owner = await verifiedOwner(context, `Notice ${when} ${call}`);
        const next = `next-${when}-${call}@example.com`;
        const asking = open(REQUIRED, goneAt(executor, call, when));
        const died = await updateOrganization(asking, { principal: owner, email: next }).then(
          () => false,
          () => true,
        );
        const told = await tokensTo(context, 'email_changed', owner.admin.email);
        const tokens = await tokensTo(context, 'verification', next);
        expect(tokens.length).toBeLessThanOrEqual(told.length);
        if (!died) {
          expect(tokens).toHaveLength(1);
          break;
        }
      }
    }
  });
});
