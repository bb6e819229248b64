import { randomBytes } from 'node:crypto';
import type { Context as HonoContext } from 'hono';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import type { Context } from '../../src/domain/context.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createServices } from '../../src/services.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { newEmail, newName } from '../support/caller.ts';

const EMBEDDED = 'the embedded store';
const TIMEOUT_MS = 10_000;
const PASSWORD = 'correct horse battery';
const SECRET = randomBytes(32).toString('hex');
const MINUTE_MS = 60_000;

/** The connections of two instances to one store. */
const stores: Record<string, (() => [Executor, Executor]) | undefined> = {
  [EMBEDDED]: () => shared(createSqliteExecutor(openSqliteFile(':memory:'))),
  SecantusDB: atUri(inject('secantusUri'), (connect) => [connect(), connect()]),
};

const shared = (executor: Executor): [Executor, Executor] => [executor, executor];

function atUri(uri: string | undefined, open: (connect: () => Executor) => [Executor, Executor]) {
  return uri === undefined ? undefined : () => open(() => createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS }));
}

type Answer = { status: number; headers: Headers; code: string | undefined };

type Tenant = { name: string; email: string };

describe.each(Object.entries(stores))('rate limits over two instances on %s', (storeName, open) => {
  let executors: readonly Executor[] = [];
  let apps: ReturnType<typeof createApp>[] = [];
  const contexts: Context[] = [];
  /** What the clock shows after the real one. */
  let ahead = 0;
  /** Passwords that were compared with a hash since the test began. */
  let hashed = 0;
  let turn = 0;
  const logged: string[] = [];

  beforeAll(() => {
    if (open === undefined) return;
    executors = open();
    const config = parseConfig({
      MASTER_DB: `throttle_${randomBytes(6).toString('hex')}`,
      LIMIT_LOGIN_ADDRESS: '60/60',
      LIMIT_LOGIN_ACCOUNT: '5/60',
      LIMIT_CREATE: '6/60',
      LIMIT_REFRESH: '3/60',
      TRUSTED_PROXIES: '10.0.0.0/8, fd00::1',
    });
    apps = executors.map((executor) => {
      const services = createServices(config, {
        executor,
        hasher: {
          hash: async (password) => `hash of ${password}`,
          verify: async (password, hash) => {
            hashed++;
            return hash === `hash of ${password}`;
          },
        },
        jwtSecret: SECRET,
        time: {
          clock: () => new Date(Date.now() + ahead),
          wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        },
        log: (level, event, particulars) => logged.push(JSON.stringify({ level, event, ...particulars })),
      });
      const peer = (c: HonoContext) => ({ remote: { address: c.env.peer } });
      contexts.push(services.context);
      return createApp(services, peer);
    });
  });

  beforeEach(() => {
    hashed = 0;
    ahead = 0;
    logged.length = 0;
  });

  afterAll(async () => {
    await Promise.all([...new Set(executors)].map((executor) => executor.close()));
  });

  /** Each request goes to the other instance. */
  const post = async (
    path: string,
    body: unknown,
    { from, headers = {} }: { from: string | undefined; headers?: Readonly<Record<string, string>> },
  ): Promise<Answer & { json: Record<string, string> }> => {
    const app = apps[turn++ % apps.length];
    if (app === undefined) throw new Error('There is no instance.');
    const init = {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { ...headers, 'Content-Type': 'application/json' },
    };
    const response = await app.request(path, init, { peer: from });
    const json = (await response.json()) as Record<string, string>;
    return { status: response.status, headers: response.headers, code: json['code'], json };
  };
  const login = (
    email: string,
    from: string | undefined,
    password = 'wrong password',
    more: Record<string, unknown> = {},
  ) => post('/admin/login', { email, password, ...more }, { from });
  const tenant = async (email = newEmail()): Promise<Tenant> => {
    const name = newName();
    const body = { organization_name: name, email, password: PASSWORD };
    const { status } = await post('/org/create', body, { from: newAddress() });
    expect(status).toBe(200);
    return { name, email };
  };
  const times = <T>(count: number, act: (index: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: count }, (_, index) => act(index)));
  const count = (answers: readonly Answer[], status: number) =>
    answers.filter((answer) => answer.status === status).length;

  describe.skipIf(open === undefined)('a sign-in', () => {
    test.each(['known', 'unknown'])(
      'of 50 wrong ones at once for an account that is %s, as many as are allowed reach the hasher',
      async (which) => {
        const email = which === 'known' ? (await tenant()).email : newEmail();
        const from = newAddress();
        const answers = await times(50, () => login(email, from));
        expect(hashed).toBe(5);
        expect(count(answers, 401)).toBe(5);
        expect(count(answers, 429)).toBe(45);
        for (const { status, headers, code } of answers) {
          expect(code).toBe(status === 429 ? 'too_many_requests' : 'invalid_credentials');
          expect(headers.get('RateLimit-Policy')).toContain('"login-account";q=5;w=60');
          expect(headers.get('RateLimit')).toMatch(/"login-account";r=[0-4];t=\d+/);
          if (status === 429) expect(Number(headers.get('Retry-After'))).toBeGreaterThan(50);
          else expect(headers.has('Retry-After')).toBe(false);
        }
        expect(logged.filter((line) => line.includes('rate_limit.refused'))).toHaveLength(45);
        expect(logged.join('\n')).not.toContain(email);
      },
    );

    test('of the victim goes through from elsewhere while one address hammers the account', async () => {
      const { email } = await tenant();
      await times(50, () => login(email, '198.51.100.7'));
      expect((await login(email, '198.51.100.8')).status).toBe(429);
      expect((await login(email, newAddress(), PASSWORD)).status).toBe(200);
    });

    test('with a correct password resets the budget of its address', async () => {
      const { email } = await tenant();
      const home = newAddress();
      for (const _ of ['unrecognized', 'recognized', 'and again']) {
        expect(count(await times(4, () => login(email, home)), 401)).toBe(4);
        expect((await login(email, home, PASSWORD)).status).toBe(200);
      }
      expect(count(await times(9, () => login(email, home)), 401)).toBe(5);
    });
  });

  describe.skipIf(open === undefined)('a budget', () => {
    test('bounds what one address creates, refreshes, and tries to restore', async () => {
      const from = newAddress();
      const created = await times(20, () =>
        post('/org/create', { organization_name: newName(), email: newEmail(), password: PASSWORD }, { from }),
      );
      expect([count(created, 200), count(created, 429)]).toEqual([6, 14]);
      const refreshed = await times(9, () => post('/admin/refresh', { refresh_token: 'x' }, { from }));
      expect([count(refreshed, 401), count(refreshed, 429)]).toEqual([3, 6]);
      hashed = 0;
      const body = { organization_name: newName(), email: newEmail(), password: 'wrong password' };
      const restored = await times(9, () => post('/org/restore', body, { from }));
      expect([count(restored, 401), count(restored, 429), hashed]).toEqual([5, 4, 5]);
    });
  });

  // What is no matter of the store is tried on the quickest.
  if (storeName !== EMBEDDED) return;

  describe('a sign-in, besides,', () => {
    test('by unrecognized callers everywhere is allowed ten times as often as from one block, known account or not', async () => {
      for (const email of [(await tenant()).email, newEmail()]) {
        hashed = 0;
        const answers = await times(70, () => login(email, newAddress()));
        expect(hashed).toBe(50);
        expect(count(answers, 429)).toBe(20);
      }
    });

    test('from an address that signed in before goes through while unrecognized callers are refused', async () => {
      const { email, name } = await tenant();
      const home = newAddress();
      expect((await login(email, home, PASSWORD)).status).toBe(200);
      await times(70, () => login(email, newAddress()));
      expect((await login(email, newAddress(), PASSWORD)).status).toBe(429);
      hashed = 0;
      expect((await login(email, home, PASSWORD)).status).toBe(200);
      expect((await login(email, home, PASSWORD, { organization_name: name })).status).toBe(200);
      // And has no more tries than another.
      const answers = await times(20, () => login(email, home));
      expect(count(answers, 401)).toBe(5);
      expect(hashed).toBe(7);
    });

    test('from a device that signed in before goes through, wherever it is, while unrecognized callers are refused', async () => {
      const { email } = await tenant();
      const other = await tenant();
      const cookieOf = async (of: string) => {
        const { status, headers } = await login(of, newAddress(), PASSWORD);
        expect(status).toBe(200);
        const cookie = headers.get('Set-Cookie') ?? '';
        expect(cookie).toMatch(/; Path=\/admin\/login; HttpOnly; Secure; SameSite=Strict$/);
        expect(cookie).not.toContain(of);
        return cookie.split(';')[0] ?? '';
      };
      const own = await cookieOf(email);
      const others = await cookieOf(other.email);
      const withCookie = (Cookie: string, password = PASSWORD, from = newAddress()) =>
        post('/admin/login', { email, password }, { from, headers: { Cookie } });
      const attacker = newAddress();
      await times(70, (index) => login(email, index < 20 ? attacker : newAddress()));

      const forged = own.replace(/=\d/, (digit) => `=${(Number(digit.slice(1)) + 1) % 10}`);
      for (const useless of ['', others, forged, `${own}0`, own.slice(0, -1), own.replace(/\.[^.]*$/, '.')]) {
        expect((await withCookie(useless)).status, useless).toBe(429);
      }
      expect((await withCookie(`${others}; theme=dark; ${own}`, PASSWORD, attacker)).status).toBe(200);
      // And has no more tries than another, from however many addresses.
      expect(count(await times(12, () => withCookie(own, 'a guess')), 401)).toBe(5);

      ahead += 91 * 24 * 60 * MINUTE_MS;
      await times(70, () => login(email, newAddress()));
      expect((await withCookie(own)).status).toBe(429);
    });

    test('to an organization of one’s own for the victim’s email buys no more guesses', async () => {
      const { email, name } = await tenant();
      const bait = newName();
      const attacker = newAddress();
      const body = { organization_name: bait, email, password: 'the password of the bait' };
      expect((await post('/org/create', body, { from: newAddress() })).status).toBe(200);
      const own = () => login(email, attacker, 'the password of the bait', { organization_name: bait });
      const guess = () => login(email, attacker, 'a guess', { organization_name: name });
      const guesses: Answer[] = [];
      for (let round = 0; round < 4; round++) {
        await own();
        guesses.push(await guess(), await guess(), await guess());
      }
      expect(count(guesses, 401)).toBe(5);
    });

    test('waits longer each time, and is forgotten in the end', async () => {
      const { email } = await tenant();
      const from = newAddress();
      const waits: number[] = [];
      for (let round = 0; round < 8; round++) {
        expect(count(await times(9, () => login(email, from)), 401)).toBe(5);
        const wait = Number((await login(email, from)).headers.get('Retry-After'));
        waits.push(Math.round(wait / 60));
        ahead += wait * 1000;
      }
      expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
      ahead += 61 * MINUTE_MS;
      await times(9, () => login(email, from));
      expect(Number((await login(email, from)).headers.get('Retry-After'))).toBeLessThanOrEqual(60);
    });

    test('from one address is bounded, whatever accounts it tries', async () => {
      const from = newAddress();
      const answers = await times(80, () => login(newEmail(), from));
      expect(hashed).toBe(60);
      expect(count(answers, 429)).toBe(20);
    });

    test('counts a /24 of IPv4 and a /64 of IPv6 as one for an account', async () => {
      for (const of of [
        (index: number) => `203.0.113.${index}`,
        (index: number) => `2001:db8:1:2::${index.toString(16)}`,
        (index: number) => `::ffff:192.0.2.${index}`,
      ]) {
        const email = newEmail();
        expect(count(await times(12, (index) => login(email, of(index + 1))), 401)).toBe(5);
      }
      const email = newEmail();
      expect(count(await times(12, (index) => login(email, `2001:db8:${index}::1`)), 401)).toBe(12);
    });

    test('leaves nothing behind that is not forgotten in time', async () => {
      const [context] = contexts;
      if (context === undefined) throw new Error('There is no instance.');
      await times(7, () => login(newEmail(), newAddress()));
      expect(await context.master.budgets.count({})).toBeGreaterThanOrEqual(21);
      // What has expired is cleared a kind a round.
      const rounds = async () => {
        for (let round = 0; round < 4; round++) await reconcile(context, round);
      };
      await rounds();
      expect(await context.master.budgets.count({})).toBeGreaterThanOrEqual(21);
      ahead = 365 * 24 * 60 * MINUTE_MS;
      await rounds();
      expect(await context.master.budgets.count({})).toBe(0);
    });

    test('counts those without an address as one', async () => {
      const email = newEmail();
      expect(count(await times(12, () => login(email, undefined)), 401)).toBe(5);
    });

    test('with a made-up X-Forwarded-For is counted as what it is', async () => {
      const email = newEmail();
      const from = newAddress();
      const spoofed = (index: number) =>
        post(
          '/admin/login',
          { email, password: 'wrong password' },
          { from, headers: { 'X-Forwarded-For': `8.8.${index}.8` } },
        );
      expect(count(await times(12, spoofed), 401)).toBe(5);
    });

    test('through trusted proxies is counted for the client that the outermost of them saw', async () => {
      const email = newEmail();
      const through = (forwarded: string) =>
        post(
          '/admin/login',
          { email, password: 'wrong password' },
          { from: '::ffff:10.1.2.3', headers: { 'X-Forwarded-For': forwarded } },
        );
      const spoofed = await times(12, (index) => through(`8.8.${index}.8, 192.0.2.99, fd00::1, 10.9.9.9`));
      expect(count(spoofed, 401)).toBe(5);
      expect(count(await times(3, (index) => through(`9.9.${index}.9, 10.9.9.9`)), 401)).toBe(3);
    });

    test('of a token’s holder who guesses the password is bounded in the session, from all addresses', async () => {
      const { email } = await tenant();
      const { json } = await login(email, newAddress(), PASSWORD);
      hashed = 0;
      const answers = await times(
        20,
        (index) =>
          apps[index % 2]?.request(
            '/org/update',
            {
              method: 'PUT',
              body: JSON.stringify({ password: 'another password', current_password: 'a guess' }),
              headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${json['access_token']}` },
            },
            { peer: newAddress() },
          ) as Promise<Response>,
      );
      expect(answers.filter(({ status }) => status === 403)).toHaveLength(5);
      expect(answers.filter(({ status }) => status === 429)).toHaveLength(15);
      expect(hashed).toBe(5);
    });
  });
});

/** An address of a /24 that no other test uses. */
function newAddress(): string {
  const [a = 0, b = 0, c = 0] = randomBytes(3);
  return `${20 + (a % 100)}.${b}.${c}.1`;
}
