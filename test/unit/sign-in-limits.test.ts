import { beforeEach, describe, expect, test } from 'vitest';
import { isCurrentPassword } from '../../src/domain/admin/credentials.ts';
import { changePassword, forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import { verifyEmail } from '../../src/domain/admin/verify-email.ts';
import type { Context } from '../../src/domain/context.ts';
import type { DomainError } from '../../src/domain/errors.ts';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { sendDueMail } from '../../src/domain/outbox/outbox.ts';
import type { Message } from '../../src/domain/outbox/schema.ts';
import { limitByAddress } from '../../src/domain/rate-limit/by-address.ts';
import type { DeviceCookie } from '../../src/domain/rate-limit/device-cookie.ts';
import type { LimitedAction, Remaining } from '../../src/domain/rate-limit/schema.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { logOutEverywhere } from '../../src/domain/session/sessions.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, principalOf, virtualTime } from '../support/instance.ts';

const EMAIL = 'owner@example.com';
const PASSWORD = 'correct horse battery';
const HOME = '198.51.100.1';
const MINUTE_MS = 60_000;
const REFUSED = { code: 'too_many_requests' };
const INVALID = { code: 'invalid_credentials' };

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let context: Context;
let sent: Message[];

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  sent = [];
  const { context: base, prepare } = createInstance(executor, {}, { time });
  await prepare();
  const send = async (message: Message) => {
    sent.push(message);
    return 'sent' as const;
  };
  context = { ...base, mailer: { send } };
});

const from = (address: string, cookie?: DeviceCookie): Context => ({
  ...context,
  request: { id: 'test', address, device: null, deviceCookies: cookie === undefined ? [] : [cookie.value] },
});

const create = (organization_name = 'Owned', email = EMAIL) =>
  createOrganization(context, { organization_name, email, password: PASSWORD });

const signIn = (address: string, cookie?: DeviceCookie, email = EMAIL) =>
  logIn(from(address, cookie), { email, password: PASSWORD });

/** @returns how many of the guesses reached the password */
async function guess(addresses: readonly string[], email = EMAIL): Promise<number> {
  let tried = 0;
  for (const address of addresses) {
    const { code } = await logIn(from(address), { email, password: 'a guess' }).then(
      () => ({ code: 'signed in' }),
      (error: DomainError) => error,
    );
    if (code !== 'too_many_requests') tried++;
    expect(['invalid_credentials', 'too_many_requests']).toContain(code);
  }
  return tried;
}

/** The tokens of the mails to this address, the newest last. */
async function mailed(to: string): Promise<string[]> {
  time.advance(MINUTE_MS);
  const due = await context.master.mails.find({ due_at: { $lt: context.clock() } }, { sort: { due_at: 1 } });
  for (const mail of due) await sendDueMail(context, mail);
  return sent.flatMap((mail) => (mail.to === to ? [/^Token: (\S+)$/m.exec(mail.text)?.[1] ?? ''] : []));
}

const hex = (number: number) => number.toString(16);
/** Addresses of one /48, each in a /64 of its own. */
const neighbours = (count: number) => Array.from({ length: count }, (_, index) => `2001:db8:bad:${hex(index)}::1`);
/** Addresses of blocks that no other call gives. */
let blocks = 0;
const strangers = (count: number) =>
  Array.from({ length: count }, () => `${20 + ((++blocks >> 8) & 63)}.7.${blocks & 255}.1`);

describe('a /48 of IPv6', () => {
  test('has four times what one block has for an account: its guesses keep no unknown device elsewhere out', async () => {
    await create();
    for (const [round, count] of [1000, 100, 100].entries()) {
      expect(await guess(neighbours(count))).toBeLessThanOrEqual(40);
      expect((await signIn(strangers(1)[0] ?? '')).admin_email).toBe(EMAIL);
      expect((await signIn(`2001:db8:600d:${round}::1`)).admin_email).toBe(EMAIL);
      time.advance(MINUTE_MS);
    }
  });

  test.each(['create', 'mail', 'refresh', 'loginAddress'] satisfies LimitedAction[])(
    'has four times what one /64 has for %s, and one /64 takes no more of it than its own',
    async (action) => {
      const limits = { ...context.settings.limits, [action]: { count: 5, seconds: 60 } };
      const limited = (address: string) =>
        limitByAddress({ ...from(address), settings: { ...context.settings, limits } }, action).then(
          () => 1,
          () => 0,
        );
      const granted = async (addresses: readonly string[]) => {
        let sum = 0;
        for (const address of addresses) sum += await limited(address);
        return sum;
      };
      expect(await granted(Array.from({ length: 30 }, (_, index) => `2001:db8:bad:ffff::${hex(index)}`))).toBe(5);
      expect(await granted(neighbours(100))).toBe(15);
      expect(await granted(['2001:db8:600d::1', '::ffff:192.0.2.1', '192.0.2.2'])).toBe(3);
      expect(await granted(strangers(100))).toBe(100);
    },
  );
});

describe('what strangers can use up together', () => {
  test.each([
    ['an address', Array<string>(100).fill('192.0.2.1')],
    ['a /48', neighbours(400)],
  ])('is closed to a known device for one window, which never grows: %s', async (_, addresses) => {
    await create();
    const cookie = (await signIn(HOME)).device_cookie;
    const home = addresses.at(-1) ?? '';
    for (let round = 0; round < 4; round++) {
      expect((await signIn(home, cookie)).admin_email).toBe(EMAIL);
      const strangersOf = addresses.map((address, index) => guess([address], `${round}-${index}@example.com`));
      expect((await Promise.all(strangersOf)).filter((tried) => tried === 1)).toHaveLength(addresses.length - 1);
      await expect(signIn(home, cookie)).rejects.toMatchObject({ ...REFUSED, retryAfterSeconds: 60 });
      time.advance(MINUTE_MS);
    }
  });
});

describe('guesses at one account from one known device, or in one session', () => {
  test('wait longer each time they are used up', async () => {
    const { organization_id, admin_id } = await create();
    const { device_cookie: cookie } = await signIn(HOME);
    const principal = await principalOf(context, organization_id, admin_id);
    const fromDevice = () => logIn(from(HOME, cookie), { email: EMAIL, password: 'a guess' });
    const inSession = () => isCurrentPassword(context, { ...principal, password: 'a guess' });
    const waitAfter = (guess: () => Promise<unknown>) =>
      guess().then(
        () => 0,
        (error: DomainError) => error.retryAfterSeconds ?? 0,
      );
    for (const wait of [60, 120, 240]) {
      for (const make of [fromDevice, inSession]) {
        const waits: number[] = [];
        for (let tried = 0; tried < 11; tried++) waits.push(await waitAfter(make));
        expect(waits).toEqual([...Array(10).fill(0), wait]);
      }
      time.advance(wait * 1000);
    }
  });
});

describe('a stranger who guesses from ever new blocks', () => {
  /** Uses up what all blocks together have, in this window. */
  const attack = () => guess(strangers(120));

  test('keeps an unknown device out for one window, which never grows', async () => {
    await create();
    for (let round = 0; round < 8; round++) {
      expect(await attack()).toBe(100);
      const refusal = await signIn(HOME).catch((error: DomainError) => error);
      expect(refusal).toMatchObject({ ...REFUSED, retryAfterSeconds: 60 });
      time.advance(MINUTE_MS);
    }
    expect((await signIn(HOME)).admin_email).toBe(EMAIL);
  });

  test('does not keep out who has reset the password, verified the email or accepted an invitation', async () => {
    const created = await create();
    const [first] = await mailed(EMAIL);
    const forgetful = 'forgetful@example.com';
    await create('Forgotten', forgetful);
    await forgotPassword(context, { email: forgetful });
    const owner = await principalOf(context, created.organization_id, created.admin_id);
    const invited = 'invited@example.com';
    await inviteAdmin(context, { principal: owner, email: invited, role: 'viewer' });
    const reset = (await mailed(forgetful)).at(-1);
    const invitation = (await mailed(invited)).at(-1);
    const [home, office, phone] = [HOME, '203.0.113.1', '192.0.2.1'];
    const verified = await verifyEmail(from(home), { token: first ?? '' });
    const changed = await resetPassword(from(office), { token: reset ?? '', password: PASSWORD });
    const joined = await acceptInvitation(from(phone), { token: invitation ?? '', password: PASSWORD });
    const known = [
      { email: EMAIL, address: home, ...verified },
      { email: forgetful, address: office, ...changed },
      { email: invited, address: phone, ...joined },
    ];
    for (const { email } of known) {
      await guess(strangers(120), email);
      await expect(signIn('192.0.2.99', undefined, email)).rejects.toMatchObject(REFUSED);
    }
    for (const { email, address, device_cookie } of known) {
      expect((await signIn(address, undefined, email)).admin_email).toBe(email);
      expect((await signIn(strangers(1)[0] ?? '', device_cookie, email)).admin_email).toBe(email);
      for (const other of known.filter((one) => one.email !== email)) {
        const elsewhere = signIn(strangers(1)[0] ?? '', device_cookie, other.email);
        await expect(elsewhere).rejects.toMatchObject(REFUSED);
      }
    }
  });
});

describe('a device and an address that are known', () => {
  const attack = () => guess(strangers(120));
  const OFFICE = '203.0.113.1';

  test.each(['changed', 'reset'])('are forgotten when the password is %s, and who does it is known', async (how) => {
    const created = await create();
    const before = await signIn(HOME);
    const owner = await principalOf(context, created.organization_id, created.admin_id);
    if (how === 'reset') await forgotPassword(context, { email: EMAIL });
    const token = (await mailed(EMAIL)).at(-1) ?? '';
    const { device_cookie } =
      how === 'reset'
        ? await resetPassword(from(OFFICE), { token, password: PASSWORD })
        : await changePassword(from(OFFICE), { principal: owner, current_password: PASSWORD, new_password: PASSWORD });
    await attack();
    await expect(signIn(HOME)).rejects.toMatchObject(REFUSED);
    await expect(signIn(strangers(1)[0] ?? '', before.device_cookie)).rejects.toMatchObject(REFUSED);
    expect((await signIn(OFFICE)).admin_email).toBe(EMAIL);
    expect((await signIn(strangers(1)[0] ?? '', device_cookie)).admin_email).toBe(EMAIL);
  });

  test('stay known after a stronger hash of the password, and after a logout from everywhere', async () => {
    const created = await create();
    const before = await signIn(HOME);
    const passwords = { ...context.passwords, hash: async () => 'a stronger hash', isOutdated: () => true };
    await logIn({ ...from(HOME), passwords }, { email: EMAIL, password: PASSWORD });
    const owner = await principalOf(context, created.organization_id, created.admin_id);
    expect(owner.admin.password_hash).toBe('a stronger hash');
    await logOutEverywhere(context, { principal: owner });
    await attack();
    // They get as far as the password, which is of the former hash here.
    await expect(signIn(HOME)).rejects.toMatchObject(INVALID);
    await expect(signIn(strangers(1)[0] ?? '', before.device_cookie)).rejects.toMatchObject(INVALID);
    await expect(signIn(OFFICE)).rejects.toMatchObject(REFUSED);
  });
});

describe('a restore over a limit', () => {
  test('is counted for the audit log as a sign-in is', async () => {
    const { organization_id, admin_id } = await create();
    const principal = await principalOf(context, organization_id, admin_id);
    const { settings } = context;
    await deleteOrganization(
      { ...context, settings: { ...settings, retentionMs: 24 * 60 * MINUTE_MS } },
      { principal, organization_name: 'Owned' },
    );
    const restore = () =>
      restoreOrganization(from(HOME), { organization_name: 'Owned', email: EMAIL, password: 'a guess' });
    for (let tried = 0; tried < 10; tried++) await expect(restore()).rejects.toMatchObject(INVALID);
    for (let tried = 0; tried < 3; tried++) await expect(restore()).rejects.toMatchObject(REFUSED);
    const counted = await context.master.signInFailures.find({ admin_id }, { sort: { count: 1 } });
    expect(counted.map(({ action, count }) => [action, count])).toEqual([
      ['session.sign_in_throttled', 3],
      ['session.sign_in_failed', 10],
    ]);
  });
});

describe('a stranger who registered the email before', () => {
  test('keeps no owner who has verified it from resetting the password', async () => {
    for (let bait = 1; bait <= 9; bait++) await create(`Bait ${bait}`);
    const { admin_id: _id } = await create();
    await context.master.admins.updateOne({ _id }, { $set: { email_verified: true } });
    await context.master.mails.deleteMany({});
    await context.master.budgets.deleteMany({});
    await forgotPassword(context, { email: EMAIL });
    for (const token of await mailed(EMAIL)) await resetPassword(context, { token, password: 'another good password' });
    const changed = await context.master.admins.findOne({ _id });
    expect(changed?.password_hash).toBe('plain:another good password');
  });
});

describe('the headers of a sign-in', () => {
  test('name the same budgets for a known device, an unknown one, and one that is refused', async () => {
    await create();
    const cookie = (await signIn(HOME)).device_cookie;
    const namesOf = async (address: string, device?: DeviceCookie) => {
      const noted: string[] = [];
      const noteBudget = ({ name, limit }: Remaining) => noted.push(`${name} ${JSON.stringify(limit)}`);
      const wrong = { email: EMAIL, password: 'wrong' };
      await expect(logIn({ ...from(address, device), noteBudget }, wrong)).rejects.toBeDefined();
      return [...new Set(noted)];
    };
    const unknown = await namesOf('192.0.2.1');
    expect(unknown.map((name) => name.split(' ')[0])).toEqual(['login-address', 'login-account']);
    expect(await namesOf(HOME)).toEqual(unknown);
    expect(await namesOf('192.0.2.2', cookie)).toEqual(unknown);
    expect(await namesOf('2001:db8::1')).toEqual(unknown);
    await guess(strangers(120));
    expect(await namesOf('203.0.113.1')).toEqual(unknown);
  });
});

describe('a correct password', () => {
  test('refunds one attempt, also where it fits several accounts', async () => {
    for (const name of ['First', 'Second']) {
      const { admin_id: _id } = await create(name);
      await context.master.admins.updateOne({ _id }, { $set: { email_verified: true } });
    }
    await context.master.budgets.deleteMany({});
    expect(await guess(Array(4).fill(HOME))).toBe(4);
    await expect(signIn(HOME)).rejects.toMatchObject({ code: 'organization_required' });
    const used = (await context.master.budgets.find({})).map((budget) => budget.used);
    // The address's, which is not refunded; the block's; that of all blocks.
    expect(used.sort()).toEqual([4, 4, 5]);
    await expect(logIn(from(HOME), { email: EMAIL, password: 'wrong' })).rejects.toMatchObject(INVALID);
  });
});
