import { beforeEach, describe, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { changePassword, resetPassword } from '../../src/domain/admin/password.ts';
import { flushPendingAudit } from '../../src/domain/audit/pending.ts';
import { recordSignInFailuresOf } from '../../src/domain/audit/sign-in-failures.ts';
import type { Context } from '../../src/domain/context.ts';
import type { DomainError } from '../../src/domain/errors.ts';
import { tokenText } from '../../src/domain/one-time-token/one-time-token.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { insertMail, tokenMail } from '../../src/domain/outbox/outbox.ts';
import type { Message } from '../../src/domain/outbox/schema.ts';
import { beginSecondFactor, confirmSecondFactor, removeSecondFactor } from '../../src/domain/second-factor/change.ts';
import { recoveryCodesLeft } from '../../src/domain/second-factor/schema.ts';
import { totpStep } from '../../src/domain/second-factor/totp.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { logOutEverywhere } from '../../src/domain/session/sessions.ts';
import { createEncryption } from '../../src/platform/encryption.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { findAuditViolations } from '../support/audit-invariants.ts';
import { until } from '../support/deadline.ts';
import { createInstance, goneAt, principalOf, shuffled, virtualTime } from '../support/instance.ts';
import { codeOf, hasDistinctCodes } from '../support/second-factor.ts';

const PASSWORD = 'correct horse battery';
const STEP_MS = 30_000;
const REQUEST = { id: 'test', address: '192.0.2.1', device: null };

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let context: Context;
let sent: Message[];
let made: number;

const open = (over: Executor, env: Readonly<Record<string, string>> = {}): Context => {
  const mailer = {
    send: async (message: Message) => {
      sent.push(message);
      return 'sent' as const;
    },
  };
  const settled = () => {};
  const background = (work: () => Promise<unknown>) => work().then(settled, settled);
  return { ...createInstance(over, env, { time, mailer, background }).context, request: REQUEST };
};

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  sent = [];
  made = 0;
  await createInstance(executor).prepare();
  context = open(executor);
});

async function newAccount() {
  const [organization_name, email] = [`Company ${++made}`, `owner-${made}@example.com`];
  const created = await createOrganization(context, { organization_name, email, password: PASSWORD });
  const principal = () => principalOf(context, created.organization_id, created.admin_id);
  return { ...created, organization_name, email, password: PASSWORD, principal };
}

type Account = Awaited<ReturnType<typeof newAccount>>;

/** The code that the authenticator app shows, so many steps from now. */
const codeAt = (secret: string, steps = 0) => codeOf(secret, { at: time.clock().getTime(), steps });

/** A secret whose codes are all different around now: no test takes one for another by chance. */
async function begin({ principal }: Pick<Account, 'principal'>, without: readonly string[] = []) {
  for (;;) {
    const begun = await beginSecondFactor(context, { principal: await principal(), current_password: PASSWORD });
    const codes = [-2, -1, 0, 1, 2].map((steps) => codeAt(begun.secret, steps));
    if (hasDistinctCodes(begun.secret, time.clock().getTime()) && !codes.some((code) => without.includes(code))) {
      return begun;
    }
  }
}

async function setUp({ principal }: Pick<Account, 'principal'>) {
  const { secret } = await begin({ principal });
  const code = codeAt(secret, -1);
  const { recovery_codes } = await confirmSecondFactor(context, { principal: await principal(), code });
  return { secret, recovery_codes };
}

async function newAccountWithFactor() {
  const account = await newAccount();
  return { ...account, ...(await setUp(account)) };
}

const signIn = ({ email, password }: Pick<Account, 'email' | 'password'>, code?: string, by = context) =>
  logIn(by, { email, password, code });

const codeOfError = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: DomainError) => error.code,
  );

const adminOf = async ({ admin_id }: Pick<Account, 'admin_id'>) => {
  const admin = await context.master.admins.findOne({ _id: admin_id });
  if (admin === undefined) throw new Error('Not there.');
  return admin;
};

const actionsOf = async ({ organization_id }: Account) =>
  (await context.master.audit.find({ organization_id }, { sort: { _id: 1 } })).map(({ action }) => action);

/** A token to reset the password, as it is mailed. */
async function resetToken(account: Account): Promise<string> {
  const mail = await insertMail(context, tokenMail('password_reset', await adminOf(account)));
  return mail.token === null ? '' : (await tokenText(context, mail, mail.token)).text;
}

const count = (actions: readonly string[], wanted: string) => actions.filter((action) => action === wanted).length;

describe('a code by the clock', () => {
  // RFC 6238, appendix B, for SHA-1: the last six of the eight digits.
  test.each([
    [59, '287082'],
    [1111111109, '081804'],
    [1111111111, '050471'],
    [1234567890, '005924'],
    [2000000000, '279037'],
    [20000000000, '353130'],
  ])('of the RFC is found: at %i s', (seconds, code) => {
    const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
    expect(totpStep(secret, code, new Date(seconds * 1000))).toBe(Math.floor(seconds / 30));
  });

  test('is good one step before its own and one after, and no longer', async () => {
    const { secret } = await begin(await newAccount());
    const now = time.clock();
    const step = Math.floor(now.getTime() / STEP_MS);
    const found = [-2, -1, 0, 1, 2].map((steps) => totpStep(secret, codeAt(secret, steps), now));
    expect(found).toEqual([undefined, step - 1, step, step + 1, undefined]);
  });

  test('signs in once, and no code from before it does afterwards', async () => {
    const account = await newAccountWithFactor();
    const code = codeAt(account.secret);
    expect(await codeOfError(signIn(account, code))).toBe('done');
    expect(await codeOfError(signIn(account, code))).toBe('invalid_credentials');
    expect(await codeOfError(signIn(account, codeAt(account.secret, -1)))).toBe('invalid_credentials');
    time.advance(STEP_MS);
    expect(await codeOfError(signIn(account, code))).toBe('invalid_credentials');
    expect(await codeOfError(signIn(account, codeAt(account.secret)))).toBe('done');
  });

  test('that put the factor in force does not sign in', async () => {
    const account = await newAccountWithFactor();
    expect(await codeOfError(signIn(account, codeAt(account.secret, -1)))).toBe('invalid_credentials');
  });

  test.each(['a code', 'a recovery code'])('signs one in, of all who send it at once: %s', async (what) => {
    for (let seed = 1; seed <= 12; seed++) {
      const account = await newAccountWithFactor();
      const code = what === 'a code' ? codeAt(account.secret) : (account.recovery_codes[0] ?? '');
      const others = [1, 2, 3].map((other) => open(shuffled(executor, seed * 10 + other)));
      const results = await Promise.all(others.map((other) => codeOfError(signIn(account, code, other))));
      expect(results.sort(), `seed ${seed}`).toEqual(['done', 'invalid_credentials', 'invalid_credentials']);
    }
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('is used once, and recorded where it has to be, at a crash at any store call', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const account = await newAccountWithFactor();
        const [code = ''] = account.recovery_codes;
        const result = await codeOfError(signIn(account, code, open(goneAt(executor, call, when))));
        const isUsed = Object.values((await adminOf(account)).second_factor?.recovery_codes ?? {}).includes(false);
        expect(await codeOfError(signIn(account, code)), `${when} ${call}`).toBe(
          isUsed ? 'invalid_credentials' : 'done',
        );
        await flushPendingAudit(context, account.admin_id);
        expect(count(await actionsOf(account), 'admin.recovery_code_used'), `${when} ${call}`).toBe(1);
        if (result === 'done') break;
      }
    }
  });
});

describe('a recovery code', () => {
  test('signs in once, however it is written, and each of the ten does', async () => {
    const account = await newAccountWithFactor();
    expect(account.recovery_codes.length).toBe(10);
    for (const [index, code] of account.recovery_codes.entries()) {
      expect(code).toMatch(/^[0-9a-f]{7}(-[0-9a-f]{7}){3}$/);
      const typed = [code, code.toUpperCase(), ` ${code.replaceAll('-', ' ')}`][index % 3];
      expect(await codeOfError(signIn(account, typed))).toBe('done');
      expect(await codeOfError(signIn(account, code))).toBe('invalid_credentials');
    }
    expect(count(await actionsOf(account), 'admin.recovery_code_used')).toBe(10);
  });

  test('is another one on every admin, and no hash of one is good on another', async () => {
    const [first, second] = [await newAccountWithFactor(), await newAccountWithFactor()];
    const factor = (await adminOf(first)).second_factor;
    await context.master.admins.updateOne(
      { _id: second.admin_id },
      { $set: { 'second_factor.recovery_codes': factor?.recovery_codes ?? {} } },
    );
    expect(await codeOfError(signIn(second, first.recovery_codes[0]))).toBe('invalid_credentials');
  });
});

describe('a secret', () => {
  test('is nowhere in the store, and neither is a recovery code', async () => {
    const account = await newAccountWithFactor();
    const stored = JSON.stringify([await context.master.admins.find({}), await context.master.audit.find({})]);
    for (const hidden of [account.secret, ...account.recovery_codes]) {
      expect(stored).not.toContain(hidden);
      expect(stored).not.toContain(hidden.replaceAll('-', ''));
    }
  });

  test('that is moved to another admin is of no use there, and the log says so', async () => {
    const [attacker, victim] = [await newAccountWithFactor(), await newAccountWithFactor()];
    const secret = (await adminOf(attacker)).second_factor?.secret ?? '';
    await context.master.admins.updateOne({ _id: victim.admin_id }, { $set: { 'second_factor.secret': secret } });
    const events: string[] = [];
    const logging = { ...context, log: (_: string, event: string) => void events.push(event) };
    expect(await codeOfError(signIn(victim, codeAt(attacker.secret), logging))).toBe('invalid_credentials');
    expect(events).toContain('second_factor.not_readable');
    expect(await codeOfError(signIn(attacker, codeAt(attacker.secret)))).toBe('done');
  });

  test('is read after the key was changed, while the earlier one is kept', async () => {
    const [old, next] = ['the secret of before, of 32 bytes and more', 'the secret of now, which has 32 bytes too'];
    const encrypted = await createEncryption([old]).encrypt('a secret', 'an admin');
    expect(await createEncryption([next, old]).decrypt(encrypted, 'an admin')).toBe('a secret');
    expect(await createEncryption([next]).decrypt(encrypted, 'an admin')).toBeUndefined();
    expect(await createEncryption([old]).decrypt(encrypted, 'another admin')).toBeUndefined();
    for (const damaged of [
      '',
      'x',
      encrypted.slice(0, -4),
      `${encrypted.startsWith('A') ? 'B' : 'A'}${encrypted.slice(1)}`,
    ]) {
      expect(await createEncryption([old]).decrypt(damaged, 'an admin')).toBeUndefined();
    }
  });

  test.each([
    ['a number', { 'second_factor.secret': 5 }],
    ['null', { 'second_factor.secret': null }],
    ['a list', { 'second_factor.secret': ['a'] }],
    ['nothing beside it', { second_factor: { secret: 'no secret' } }],
  ])('that somebody replaced in the database by what is no text is not readable: %s', async (_, $set) => {
    const account = await newAccountWithFactor();
    await context.master.admins.updateOne({ _id: account.admin_id }, { $set });
    for (const code of [codeAt(account.secret), 'no code']) {
      expect(await codeOfError(signIn(account, code))).toBe('invalid_credentials');
    }
  });

  test('that waits is in force for nothing, is replaced by the next one, and ends after 15 minutes', async () => {
    const account = await newAccount();
    const confirm = async (secret: string) =>
      codeOfError(confirmSecondFactor(context, { principal: await account.principal(), code: codeAt(secret) }));
    const replaced = await begin(account);
    const replacedCodes = [-2, -1, 0, 1, 2].map((steps) => codeAt(replaced.secret, steps));
    const waiting = await begin(account, replacedCodes);
    expect(await codeOfError(signIn(account))).toBe('done');
    expect(await confirm(replaced.secret)).toBe('invalid_input');
    time.advance(15 * 60 * 1000);
    expect(await confirm(waiting.secret)).toBe('second_factor_not_found');
    expect(await confirm((await begin(account)).secret)).toBe('done');
    expect(await codeOfError(begin(account))).toBe('second_factor_in_force');
    expect(await codeOfError(signIn(account))).toBe('second_factor_required');
  });

  test('is confirmed once, of all who do so at once', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const account = await newAccount();
      const { secret } = await begin(account);
      const principal = await account.principal();
      const others = [1, 2].map((other) => open(shuffled(executor, seed * 10 + other)));
      const results = await Promise.all(
        others.map((other) => codeOfError(confirmSecondFactor(other, { principal, code: codeAt(secret) }))),
      );
      expect(results.sort(), `seed ${seed}`).toEqual(['conflict', 'done']);
    }
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });
});

describe('a change of the second factor', () => {
  test('is recorded, told by mail, and ends the sessions of before', async () => {
    const account = await newAccount();
    await context.master.admins.updateOne({ _id: account.admin_id }, { $set: { email_verified: true } });
    await account.principal();
    const { secret } = await setUp(account);
    expect(await context.master.sessions.count({ admin_id: account.admin_id })).toBe(1);
    const principal = await account.principal();
    const off = { principal, current_password: PASSWORD, code: codeAt(secret) };
    expect(await codeOfError(removeSecondFactor(context, { ...off, current_password: 'wrong' }))).toBe(
      'reauthentication_required',
    );
    expect(await codeOfError(removeSecondFactor(context, { ...off, code: 'no code' }))).toBe(
      'reauthentication_required',
    );
    await removeSecondFactor(context, off);
    expect(await context.master.sessions.count({ admin_id: account.admin_id })).toBe(1);
    expect(await codeOfError(signIn(account))).toBe('done');
    const actions = await actionsOf(account);
    expect(actions.filter((action) => action.startsWith('admin.second_factor'))).toEqual([
      'admin.second_factor_enabled',
      'admin.second_factor_disabled',
    ]);
    const subjects = await until('the mails', () => {
      const found = sent.filter(({ to, subject }) => to === account.email && subject.includes('second factor'));
      return found.length === 2 && found.map(({ subject }) => subject);
    });
    expect(subjects).toEqual(['Your account has a second factor', 'Your account has no second factor any more']);
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });
});

describe('the end of a second factor', () => {
  const remove = (principal: Principal, code?: string) =>
    codeOfError(removeSecondFactor(context, { principal, current_password: PASSWORD, code }));

  test('takes a recent sign-in in the place of a code where no recovery code is left, and not before', async () => {
    const account = await newAccountWithFactor();
    for (const [used, code] of account.recovery_codes.entries()) {
      expect(recoveryCodesLeft(await adminOf(account))).toBe(10 - used);
      expect(await remove(await account.principal())).toBe('reauthentication_required');
      expect(await codeOfError(signIn(account, code))).toBe('done');
    }
    expect(recoveryCodesLeft(await adminOf(account))).toBe(0);
    const stale = await account.principal();
    time.advance(16 * 60 * 1000);
    expect(await remove(stale)).toBe('reauthentication_required');
    const fresh = await account.principal();
    const guess = { principal: fresh, current_password: 'wrong' };
    expect(await codeOfError(removeSecondFactor(context, guess))).toBe('reauthentication_required');
    expect(await remove(fresh, 'no code')).toBe('reauthentication_required');
    expect(await remove(fresh)).toBe('done');
    expect(recoveryCodesLeft(await adminOf(account))).toBeUndefined();
  });

  test('is refused to a session that something else has ended meanwhile', async () => {
    const account = await newAccountWithFactor();
    const stale = await account.principal();
    await logOutEverywhere(context, { principal: await account.principal() });
    expect(await remove(stale, account.recovery_codes[0])).toBe('conflict');
    expect((await adminOf(account)).second_factor).not.toBeNull();
  });
});

describe('guesses of codes', () => {
  const wrong = (number: number) => String(number).padStart(6, '0');

  test('are few, whoever knows the password and from wherever, and the correct code ends the wait', async () => {
    const account = await newAccountWithFactor();
    // Of no step that is good.
    const good = [-1, 0, 1].map((steps) => codeAt(account.secret, steps));
    const guesses = Array.from({ length: 9 }, (_, number) => wrong(number)).filter((code) => !good.includes(code));
    const from = (number: number) => ({ ...context, request: { ...REQUEST, address: `198.51.${number}.1` } });
    const results = await Promise.all(
      guesses.slice(0, 6).map((code, number) => codeOfError(signIn(account, code, from(number)))),
    );
    expect(count(results, 'invalid_credentials')).toBe(5);
    expect(count(results, 'too_many_requests')).toBe(1);
    expect(await codeOfError(signIn(account, codeAt(account.secret)))).toBe('too_many_requests');
    const failures = await context.master.signInFailures.find({ admin_id: account.admin_id });
    const counted = (action: string) =>
      failures.filter((one) => one.action === action).reduce((sum, one) => sum + one.count, 0);
    expect([counted('session.sign_in_failed'), counted('session.sign_in_throttled')]).toEqual([5, 2]);
    time.advance(300_000);
    expect(await codeOfError(signIn(account, codeAt(account.secret)))).toBe('done');
    expect(await codeOfError(signIn(account, guesses[6]))).toBe('invalid_credentials');
  });

  test('wait longer each time they are used up', async () => {
    const account = await newAccountWithFactor();
    const waits: unknown[] = [];
    for (const after of [300_000, 600_000, 1_200_000]) {
      for (let tried = 0; tried < 5; tried++) await codeOfError(signIn(account, 'no code'));
      waits.push(await signIn(account, 'no code').catch((error: DomainError) => error.retryAfterSeconds));
      time.advance(after);
    }
    expect(waits).toEqual([300, 600, 1200]);
  });

  test('of a stranger who has the password keep nobody out who is recognized, by address or device', async () => {
    const account = await newAccountWithFactor();
    const from = (address: string) => ({ ...context, request: { ...REQUEST, address } });
    const home = await signIn(account, codeAt(account.secret));
    const keepOut = async () => {
      for (let tried = 0; tried < 6; tried++) await codeOfError(signIn(account, 'no code', from('198.51.100.1')));
      expect(await codeOfError(signIn(account, 'no code', from('203.0.113.1')))).toBe('too_many_requests');
    };
    await keepOut();
    time.advance(STEP_MS);
    expect(await codeOfError(signIn(account, codeAt(account.secret)))).toBe('done');
    await keepOut();
    time.advance(STEP_MS);
    const request = { ...REQUEST, address: '203.0.113.2', deviceCookies: [home.device_cookie.value] };
    expect(await codeOfError(signIn(account, codeAt(account.secret), { ...context, request }))).toBe('done');
    await keepOut();
    const password = 'another horse battery';
    await resetPassword(from('203.0.113.3'), { token: await resetToken(account), password });
    time.advance(STEP_MS);
    const after = signIn({ ...account, password }, codeAt(account.secret), from('203.0.113.3'));
    expect(await codeOfError(after)).toBe('done');
  });

  test('are no more for who resets the password again and again', async () => {
    const account = await newAccountWithFactor();
    const results: string[] = [];
    for (let reset = 1; reset <= 4; reset++) {
      const by = { ...context, request: { ...REQUEST, address: `203.0.113.${reset}` } };
      const password = `another horse battery ${reset}`;
      const { device_cookie } = await resetPassword(by, { token: await resetToken(account), password });
      const known = { ...by, request: { ...by.request, deviceCookies: [device_cookie.value] } };
      for (let tried = 0; tried < 4; tried++) {
        results.push(await codeOfError(signIn({ ...account, password }, 'no code', known)));
      }
    }
    expect([count(results, 'invalid_credentials'), count(results, 'too_many_requests')]).toEqual([5, 11]);
  });

  test('and sign-ins with the password alone are counted for the audit log', async () => {
    context = open(executor, { DELETE_RETENTION_DAYS: '1' });
    const account = await newAccountWithFactor();
    const { organization_name, email } = account;
    const counted = async () => {
      const failures = await context.master.signInFailures.find({ admin_id: account.admin_id });
      return failures.map(({ action, count: times }) => `${action} ${times}`).sort();
    };
    for (const code of [undefined, 'no code', undefined]) await codeOfError(signIn(account, code));
    expect(await counted()).toEqual(['session.sign_in_failed 1', 'session.sign_in_incomplete 2']);
    await deleteOrganization(context, { principal: await account.principal(), organization_name });
    await context.master.signInFailures.deleteMany({});
    for (const code of [undefined, 'no code', undefined]) {
      await codeOfError(restoreOrganization(context, { organization_name, email, password: PASSWORD, code }));
    }
    expect(await counted()).toEqual(['session.sign_in_failed 1', 'session.sign_in_incomplete 2']);
    await recordSignInFailuresOf(context, account.organization_id);
    expect((await actionsOf(account)).filter((action) => action.startsWith('session.sign_in_')).sort()).toEqual([
      'session.sign_in_failed',
      'session.sign_in_incomplete',
    ]);
  });

  test('are few also where the limits of sign-ins are off', async () => {
    const off = open(executor, { LIMIT_LOGIN_ADDRESS: 'off', LIMIT_LOGIN_ACCOUNT: 'off' });
    const account = await newAccountWithFactor();
    for (let tried = 0; tried < 5; tried++) await codeOfError(signIn(account, 'no code', off));
    expect(await codeOfError(signIn(account, 'no code', off))).toBe('too_many_requests');
  });

  test('and the correct password alone refund nothing of the shared budgets, and make nobody known', async () => {
    const account = await newAccountWithFactor();
    const used = async () => (await context.master.budgets.find({})).map((budget) => budget.used).sort();
    await context.master.budgets.deleteMany({});
    expect(await codeOfError(signIn(account))).toBe('second_factor_required');
    const afterPassword = await used();
    await context.master.budgets.deleteMany({});
    expect(await codeOfError(signIn({ ...account, password: 'wrong' }))).toBe('invalid_credentials');
    expect(afterPassword).toEqual(await used());
    expect((await adminOf(account)).known_addresses).toBeUndefined();
    await context.master.budgets.deleteMany({});
    expect(await codeOfError(signIn(account, 'no code'))).toBe('invalid_credentials');
    expect(await used()).toEqual([...afterPassword, 1].sort());
    expect((await adminOf(account)).known_addresses).toBeUndefined();
  });
});

describe('other ways in by a password', () => {
  test('several verified accounts whose password fits are listed before any code is asked for', async () => {
    const email = 'both@example.com';
    const names = ['First', 'Second'];
    for (const organization_name of names) {
      const { organization_id, admin_id } = await createOrganization(context, {
        organization_name,
        email,
        password: PASSWORD,
      });
      await context.master.admins.updateOne({ _id: admin_id }, { $set: { email_verified: true } });
      const principal = () => principalOf(context, organization_id, admin_id);
      await setUp({ principal });
    }
    const refused = logIn(context, { email, password: PASSWORD });
    await expect(refused).rejects.toMatchObject({ code: 'organization_required', organizations: names });
    const counted = await context.master.signInFailures.find({});
    expect(counted.map(({ action, count: times }) => [action, times])).toEqual(
      names.map(() => ['session.sign_in_incomplete', 1]),
    );
    const named = logIn(context, { email, password: PASSWORD, organization_name: 'First' });
    expect(await codeOfError(named)).toBe('second_factor_required');
    expect((await context.master.admins.find({})).map(({ known_addresses }) => known_addresses)).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('a restore asks for the code too', async () => {
    context = open(executor, { DELETE_RETENTION_DAYS: '1' });
    const account = await newAccountWithFactor();
    const { organization_name, email } = account;
    await deleteOrganization(context, { principal: await account.principal(), organization_name });
    const restore = (code?: string) =>
      codeOfError(restoreOrganization(context, { organization_name, email, password: PASSWORD, code }));
    expect(await restore()).toBe('second_factor_required');
    expect(await restore('no code')).toBe('invalid_credentials');
    expect(await restore(account.recovery_codes[0])).toBe('done');
    expect(count(await actionsOf(account), 'admin.recovery_code_used')).toBe(1);
    expect(await findAuditViolations(context.master, context.seals)).toEqual([]);
  });

  test('a reset of the password leaves the second factor in force', async () => {
    const account = await newAccountWithFactor();
    const password = 'another horse battery';
    await resetPassword(context, { token: await resetToken(account), password });
    expect(await codeOfError(signIn({ ...account, password }))).toBe('second_factor_required');
    expect(await codeOfError(signIn({ ...account, password }, codeAt(account.secret)))).toBe('done');
  });

  test('the present password does not stand for a recent sign-in', async () => {
    const [account, without] = [await newAccountWithFactor(), await newAccount()];
    const [principal, other] = [await account.principal(), await without.principal()];
    const change = { current_password: PASSWORD, new_password: 'another horse battery' };
    time.advance(16 * 60 * 1000);
    expect(await codeOfError(changePassword(context, { principal, ...change }))).toBe('reauthentication_required');
    expect(await codeOfError(changePassword(context, { principal: other, ...change }))).toBe('done');
    const fresh = await account.principal();
    const guess = { ...change, current_password: 'wrong' };
    expect(await codeOfError(changePassword(context, { principal: fresh, ...guess }))).toBe(
      'reauthentication_required',
    );
    expect(await codeOfError(changePassword(context, { principal: fresh, ...change }))).toBe('done');
  });
});

describe('REQUIRE_SECOND_FACTOR=true', () => {
  test('lets an admin without one do what concerns the own account, and nothing else', async () => {
    const services = createInstance(executor, { REQUIRE_SECOND_FACTOR: 'true' }, { time });
    const app = createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
    const call = async (route: string, token: string, body?: object) => {
      const [method = '', path = ''] = route.split(' ');
      const response = await app.request(path, {
        method,
        headers: { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
      return { status: response.status, json: (await response.json()) as Record<string, unknown> };
    };
    const account = await newAccount();
    const { access_token: token } = await signIn(account);
    const invite = { email: 'guest@example.com', role: 'viewer' };
    const refused = await call('POST /org/invites', token, invite);
    expect([refused.status, refused.json['code']]).toEqual([403, 'second_factor_missing']);
    expect(refused.json['detail']).toContain('POST /admin/second-factor');
    const rename = { new_organization_name: 'Renamed' };
    expect((await call('PUT /org/update', token, rename)).json['code']).toBe('second_factor_missing');
    expect((await call(`DELETE /org/delete?organization_name=${account.organization_name}`, token)).status).toBe(403);
    expect((await call('GET /org/audit', token)).status).toBe(403);
    expect((await call('GET /admin/me', token)).json['second_factor']).toBe(false);
    expect((await call('GET /org/admins', token)).status).toBe(200);

    const begun = await call('POST /admin/second-factor', token, { current_password: PASSWORD });
    const code = codeAt(String(begun.json['secret']));
    const confirmed = await call('POST /admin/second-factor/confirm', token, { code });
    const next = String(confirmed.json['access_token']);
    expect((await call('POST /org/invites', next, invite)).status).toBe(200);
    expect((await call('PUT /org/update', next, rename)).status).toBe(200);
  });
});
