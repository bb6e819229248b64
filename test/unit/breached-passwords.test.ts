import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { createBreachedPasswords } from '../../src/platform/breached-passwords.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { BreachService } from '../support/breach-service.ts';
import { sha1, startBreachService } from '../support/breach-service.ts';
import { until } from '../support/deadline.ts';
import { createInstance, keptMails, virtualTime } from '../support/instance.ts';

const BREACHED = 'correct horse battery';
const COMMON = 'password123';
const OWN = 'nobody else has this';

let service: BreachService;
let logged: unknown[][];

beforeAll(async () => {
  service = await startBreachService();
  service.add(BREACHED, 3);
});

afterAll(() => service.stop());

beforeEach(() => {
  logged = [];
  service.answer('answers');
});

afterEach(() => vi.restoreAllMocks());

/** Keeps the warnings. */
const log = (level: string, ...line: unknown[]) => void (level !== 'info' && logged.push([level, ...line]));
const lookup = (url = service.url) => createBreachedPasswords({ url, log });

describe('a lookup', () => {
  test('sends five digits of the password’s SHA-1 and asks for padding, and finds the rest in the answer', async () => {
    const before = service.asked.length;
    expect(await lookup().includes(BREACHED)).toBe(true);
    expect(await lookup().includes(OWN)).toBe(false);
    const asked = service.asked.slice(before);
    expect(asked.map(({ target }) => target)).toEqual(
      [BREACHED, OWN].map((password) => `GET /range/${sha1(password).slice(0, 5)}`),
    );
    for (const { headers } of asked) expect(headers).toMatchObject({ 'add-padding': 'true', 'user-agent': 'tenantry' });
    expect(logged).toEqual([]);
  });

  test('takes padding for no breach, and letters beyond ASCII as UTF-8', async () => {
    service.add('padding, and no breach', 0);
    service.add('пароль для всех', 12);
    expect(await lookup().includes('padding, and no breach')).toBe(false);
    expect(await lookup().includes('пароль для всех')).toBe(true);
  });

  test.each(['fails', 'redirects', 'talks', 'floods'] as const)(
    'that %s finds nothing, follows nothing, and is told by the log without the hash',
    async (how) => {
      service.answer(how);
      const before = service.asked.length;
      expect(await lookup().includes(BREACHED)).toBe(false);
      expect(service.asked.length).toBe(before + 1);
      expect(logged).toEqual([['warn', 'password.breach_lookup_failed', { error: expect.any(Error) }]]);
      const [, , { error }] = logged[0] as [string, string, { error: Error & { code: unknown } }];
      expect([error.code, error.message].join(' ')).not.toContain(sha1(BREACHED).slice(0, 5));
    },
  );

  test('waits only a few seconds, for the answer and for its end', async () => {
    for (const how of ['hangs', 'stops midway'] as const) {
      const patience = new AbortController();
      const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(patience.signal);
      service.answer(how);
      const before = service.asked.length;
      const found = lookup().includes(BREACHED);
      await until('the lookup to be made', async () => (service.asked.length > before ? true : undefined));
      expect(timeout).toHaveBeenCalledExactlyOnceWith(2000);
      patience.abort();
      expect(await found).toBe(false);
      timeout.mockRestore();
    }
    expect(logged.map(([, event]) => event)).toEqual(Array(2).fill('password.breach_lookup_failed'));
  });

  test('of a service that cannot be reached finds nothing', async () => {
    const away = await startBreachService();
    await away.stop();
    expect(await lookup(away.url).includes(BREACHED)).toBe(false);
    expect(logged).toHaveLength(1);
  });
});

describe('with PASSWORD_BLOCKLIST=breached', () => {
  const time = virtualTime();
  const { platform, settled, tokenMailedTo: mailed } = keptMails();
  let made = 0;

  /** The service, as a caller meets it. Each call asserts how many lookups it takes. */
  function serve(env: Readonly<Record<string, string>> = {}) {
    const services = createInstance(
      createSqliteExecutor(openSqliteFile(':memory:')),
      { ...service.env, LIMIT_MAIL: 'off', ...env },
      { log, time, ...platform },
    );
    const app = createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
    return async (lookups: number, method: string, path: string, body: object, token?: string) => {
      const before = service.asked.length;
      const response = await app.request(path, {
        method,
        headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      await settled();
      expect(service.asked.length - before, `lookups of ${method} ${path}`).toBe(lookups);
      const json = text === '' ? {} : JSON.parse(text);
      return {
        status: response.status,
        code: json.code,
        paths: json.errors?.map((one: { path: string }) => one.path),
        json,
      };
    };
  }

  async function signedIn(send: ReturnType<typeof serve>) {
    const number = ++made;
    const account = { email: `owner-${number}@example.com`, password: OWN };
    const created = await send(1, 'POST', '/org/create', { organization_name: `Company ${number}`, ...account });
    expect(created.status).toBe(200);
    const { json } = await send(0, 'POST', '/admin/login', account);
    return { ...account, token: json.access_token as string };
  }

  const refusal = (path: string) => ({ status: 422, code: 'invalid_input', paths: [path] });

  test('every route that takes a new password refuses a breached one, and its token stays good', async () => {
    const send = serve();
    const { email, token } = await signedIn(send);
    const other = { organization_name: 'Another', email: 'another@example.com' };
    expect(await send(1, 'POST', '/org/create', { ...other, password: BREACHED })).toMatchObject(refusal('password'));
    expect((await send(1, 'POST', '/org/create', { ...other, password: OWN })).status).toBe(200);

    expect(await send(1, 'PUT', '/org/update', { password: BREACHED }, token)).toMatchObject(refusal('password'));
    const change = (new_password: string) => ({ current_password: OWN, new_password });
    const path = '/admin/password/change';
    expect(await send(1, 'POST', path, change(BREACHED), token)).toMatchObject(refusal('new_password'));
    const { json } = await send(1, 'POST', path, change(`${OWN}, nor this`), token);

    const invited = 'invited@example.com';
    await send(0, 'POST', '/org/invites', { email: invited, role: 'viewer' }, json.access_token);
    await send(0, 'POST', '/admin/password/forgot', { email });
    const byMail = [
      ['/admin/accept-invite', mailed(invited), 200],
      ['/admin/password/reset', mailed(email), 204],
    ] as const;
    for (const [route, token, status] of byMail) {
      expect(await send(1, 'POST', route, { token, password: BREACHED }), route).toMatchObject(refusal('password'));
      expect((await send(1, 'POST', route, { token, password: OWN })).status, route).toBe(status);
    }
    expect(logged).toEqual([]);
  });

  test('nothing is looked up before what costs less, before the token is good, or at a sign-in', async () => {
    const send = serve({ LIMIT_CREATE: '3/600' });
    const { email, token } = await signedIn(send);
    const create = (organization_name: string, password: string) =>
      send(0, 'POST', '/org/create', { organization_name, email, password });
    expect(await create('New', COMMON)).toMatchObject(refusal('password'));
    expect(await create('=?x?=', BREACHED)).toMatchObject(refusal('organization_name'));
    expect(await create('Many', BREACHED)).toMatchObject({ code: 'too_many_requests' });

    const spent = `01900000-0000-7000-8000-000000000000.${'a'.repeat(64)}`;
    for (const route of ['/admin/accept-invite', '/admin/password/reset']) {
      expect(await send(0, 'POST', route, { token: spent, password: BREACHED })).toMatchObject({ status: 401 });
    }
    expect(await send(0, 'PUT', '/org/update', { password: BREACHED }, 'no token')).toMatchObject({ status: 401 });
    time.advance(16 * 60_000);
    for (const body of [{ password: BREACHED }, { password: BREACHED, current_password: 'a wrong one' }]) {
      expect(await send(0, 'PUT', '/org/update', body, token)).toMatchObject({ code: 'reauthentication_required' });
    }
    expect(await send(0, 'POST', '/admin/login', { email, password: BREACHED })).toMatchObject({ status: 401 });
  });

  test('while the lookup fails, people sign up, and the most used passwords are refused all the same', async () => {
    const send = serve();
    service.answer('fails');
    const account = { organization_name: 'Away', email: 'away@example.com' };
    expect(await send(0, 'POST', '/org/create', { ...account, password: COMMON })).toMatchObject(refusal('password'));
    expect((await send(1, 'POST', '/org/create', { ...account, password: BREACHED })).status).toBe(200);
    expect(logged).toMatchObject([['warn', 'password.breach_lookup_failed', {}]]);
  });

  test.each(['common', 'off'])('and nothing is looked up with PASSWORD_BLOCKLIST=%s', async (blocklist) => {
    const send = serve({ PASSWORD_BLOCKLIST: blocklist });
    const account = { organization_name: 'Offline', email: 'offline@example.com' };
    const refused = await send(0, 'POST', '/org/create', { ...account, password: COMMON });
    expect(refused.status).toBe(blocklist === 'off' ? 200 : 422);
  });
});
