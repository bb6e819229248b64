import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { tokenText } from '../../src/domain/one-time-token/one-time-token.ts';
import { createCaptcha } from '../../src/platform/captcha.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { CaptchaVerifier } from '../support/captcha-verifier.ts';
import { startCaptchaVerifier } from '../support/captcha-verifier.ts';
import { until } from '../support/deadline.ts';
import { createInstance, ownerOf } from '../support/instance.ts';

const ADDRESS = '192.0.2.1';
const KEY = 'a-key-for-the-first-customer';

let executor: Executor;
let verifier: CaptchaVerifier;
let logged: unknown[];

beforeAll(async () => {
  verifier = await startCaptchaVerifier();
});

afterAll(() => verifier.stop());

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  await createInstance(executor).prepare();
  logged = [];
  verifier.answer('answers');
});

afterEach(() => vi.restoreAllMocks());

/** The service with these variables, as a caller meets it. */
function serve(env: Readonly<Record<string, string>> = {}) {
  const services = createInstance(executor, env, { log: (...line) => void logged.push(line) });
  const app = createApp(services, () => ({ remote: { address: ADDRESS } }));
  const send = async (method: string, path: string, headers: Readonly<Record<string, string>>, body?: unknown) => {
    const json = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await app.request(path, {
      method,
      headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
      ...json,
    });
    const text = await response.text();
    const answer = text === '' ? {} : JSON.parse(text);
    return { status: response.status, code: answer.code as string | undefined, answer, headers: response.headers };
  };
  return { services, send };
}

const body = (organization_name: string, password = 'correct horse battery') => ({
  organization_name,
  email: 'owner@example.com',
  password,
});

const organizations = () => createInstance(executor).context.master.organizations.count({});

describe('sign-up', () => {
  test('is open to anyone by default', async () => {
    expect(await serve().send('POST', '/org/create', {}, body('Open'))).toMatchObject({ status: 200 });
  });

  test('that is closed creates nothing, and leaves restoring and accepting an invitation', async () => {
    const open = serve({ DELETE_RETENTION_DAYS: '1' });
    const owner = await ownerOf(open.services.context, 'Here');
    const credentials = { email: owner.admin.email, password: 'TestPass123' };
    const invited = { principal: owner, email: 'invited@example.com', role: 'admin' } as const;
    const { invitation_id } = await inviteAdmin(open.services.context, invited);
    const mail = await open.services.context.master.mails.findOne({ _id: invitation_id });
    const { text: token } = mail?.token ? await tokenText(open.services.context, mail, mail.token) : { text: '' };

    const { send } = serve({ SIGNUP: 'closed', SIGNUP_KEYS: KEY, DELETE_RETENTION_DAYS: '1' });
    const headers = { 'X-Signup-Key': KEY, 'Idempotency-Key': 'once' };
    for (const asked of [body('Closed'), {}]) {
      expect(await send('POST', '/org/create', headers, asked)).toMatchObject({ status: 403, code: 'sign_up_closed' });
    }
    expect(await organizations()).toBe(1);
    const accept = { token, password: 'TestPass123' };
    expect(await send('POST', '/admin/accept-invite', {}, accept)).toMatchObject({ status: 200 });
    const { answer } = await send('POST', '/admin/login', {}, credentials);
    const authorization = { Authorization: `Bearer ${answer.access_token}` };
    await send('DELETE', '/org/delete?organization_name=Here', authorization);
    const restored = await send('POST', '/org/restore', {}, { organization_name: 'Here', ...credentials });
    expect(restored).toMatchObject({ status: 200 });
  });

  test('by key takes any of the keys, and nothing else', async () => {
    const { send } = serve({ SIGNUP: 'key', SIGNUP_KEYS: `another-key-of-16, ${KEY}` });
    const wrong: Record<string, string>[] = [
      {},
      ...['', 'wrong', KEY.slice(1), `${KEY}x`, KEY.toUpperCase(), `another-key-of-16, ${KEY}`].map((key) => ({
        'X-Signup-Key': key,
      })),
    ];
    const answers = [];
    for (const headers of wrong) {
      const { status, answer } = await send('POST', '/org/create', headers, body('By key'));
      answers.push({ status, code: answer.code, detail: answer.detail });
    }
    expect(answers[0]).toMatchObject({ status: 403, code: 'sign_up_key_required' });
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(await organizations()).toBe(0);
    for (const key of ['another-key-of-16', KEY]) {
      expect(await send('POST', '/org/create', { 'X-Signup-Key': key }, body(key))).toMatchObject({ status: 200 });
    }
    expect(JSON.stringify(logged)).not.toContain(KEY);
  });

  test('asks for the key after the address’s budget, and before it looks at the input', async () => {
    const { send } = serve({ SIGNUP: 'key', SIGNUP_KEYS: KEY, LIMIT_CREATE: '2/600' });
    for (const _ of ['first', 'second']) {
      expect(await send('POST', '/org/create', {}, {})).toMatchObject({ code: 'sign_up_key_required' });
    }
    const right = await send('POST', '/org/create', { 'X-Signup-Key': KEY }, body('Too late'));
    expect(right).toMatchObject({ status: 429, code: 'too_many_requests' });
  });
});

describe('a CAPTCHA', () => {
  const captcha = (token?: string, more = {}) => ({
    ...(token !== undefined && { 'X-Captcha-Token': token }),
    ...more,
  });

  test('must be solved for each organization', async () => {
    const { send } = serve(verifier.env);
    const token = verifier.newToken();
    for (const headers of [captcha(), captcha('made.up')]) {
      const refused = await send('POST', '/org/create', headers, body('Solved'));
      expect(refused).toMatchObject({ status: 403, code: 'captcha_required' });
    }
    expect(await organizations()).toBe(0);
    expect(await send('POST', '/org/create', captcha(token), body('Solved'))).toMatchObject({ status: 200 });
    expect(verifier.received.at(-1)).toEqual({ secret: verifier.secret, response: token, remoteip: ADDRESS });
    const again = await send('POST', '/org/create', captcha(token), body('Solved once'));
    expect(again).toMatchObject({ status: 403, code: 'captcha_required' });
    expect(await organizations()).toBe(1);
  });

  test('is asked about after the sign-up key and the form of the input', async () => {
    const { send } = serve({ ...verifier.env, SIGNUP: 'key', SIGNUP_KEYS: KEY });
    const token = verifier.newToken();
    const before = verifier.received.length;
    const key = { 'X-Signup-Key': KEY };
    expect(await send('POST', '/org/create', captcha(token), body('x'))).toMatchObject({
      code: 'sign_up_key_required',
    });
    const invalid = [
      [captcha(token, key), body('x'.repeat(65))],
      [captcha(token, key), body('Common', 'password')],
      [captcha('x'.repeat(8193), key), body('Long')],
    ] as const;
    for (const [headers, asked] of invalid) {
      expect(await send('POST', '/org/create', headers, asked)).toMatchObject({ status: 422, code: 'invalid_input' });
    }
    expect(verifier.received.length).toBe(before);
    expect(await send('POST', '/org/create', captcha(token, key), body('Valid'))).toMatchObject({ status: 200 });
  });

  test('is not asked about again for a repeat with the Idempotency-Key of a create that was answered', async () => {
    const { send } = serve(verifier.env);
    const headers = captcha(verifier.newToken(), { 'Idempotency-Key': 'once' });
    const first = await send('POST', '/org/create', headers, body('Once'));
    expect(first).toMatchObject({ status: 200 });
    expect(await send('POST', '/org/create', headers, body('Once'))).toMatchObject({
      status: 200,
      answer: first.answer,
    });
  });

  test('that was not solved leaves the Idempotency-Key free', async () => {
    const { send } = serve(verifier.env);
    const key = { 'Idempotency-Key': 'free' };
    expect(await send('POST', '/org/create', captcha('made.up', key), body('Free'))).toMatchObject({ status: 403 });
    const solved = captcha(verifier.newToken(), key);
    expect(await send('POST', '/org/create', solved, body('Free'))).toMatchObject({ status: 200 });
  });

  test.each(['fails', 'redirects', 'talks', 'refuses the secret', 'knows another site'] as const)(
    'lets nobody in while its verifier %s: 503, and the log says so',
    async (how) => {
      const { send } = serve(verifier.env);
      verifier.answer(how);
      const before = verifier.received.length;
      const refused = await send('POST', '/org/create', captcha(verifier.newToken()), body('Away'));
      expect(refused).toMatchObject({ status: 503, code: 'unavailable' });
      expect(refused.headers.get('Retry-After')).toMatch(/^\d+$/);
      // No redirect is followed.
      expect(verifier.received.length).toBe(before + 1);
      expect(await organizations()).toBe(0);
      expect(logged).toContainEqual(['warn', 'captcha.unavailable', expect.anything()]);
    },
  );

  test('waits for its verifier only a few seconds', async () => {
    const patience = new AbortController();
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(patience.signal);
    const captcha = createCaptcha({ url: verifier.url, secret: verifier.secret, log: () => {} });
    verifier.answer('hangs');
    const before = verifier.received.length;
    const asked = captcha.verify('a token', null);
    await until('the verifier to be asked', async () => (verifier.received.length > before ? true : undefined));
    expect(verifier.received.at(-1)).toEqual({ secret: verifier.secret, response: 'a token' });
    expect(timeout).toHaveBeenCalledExactlyOnceWith(3000);
    patience.abort();
    await expect(asked).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('whose verifier cannot be reached lets nobody in', async () => {
    const away = await startCaptchaVerifier();
    await away.stop();
    const { verify } = createCaptcha({ url: away.url, secret: away.secret, log: () => {} });
    await expect(verify('a token', ADDRESS)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('GET /org/get with ORG_LOOKUP=members', () => {
  const MEMBERS = { ORG_LOOKUP: 'members', NAME_LEASE_DAYS: '1' };
  const at = (name: string) => `/org/get?organization_name=${encodeURIComponent(name)}`;

  /** Two organizations; `former` is the name that each one left. */
  async function world() {
    const { send, services } = serve(MEMBERS);
    const create = async (stem: string) => {
      const former = `${stem} before`;
      const { admin } = await ownerOf(services.context, former);
      const signIn = await send('POST', '/admin/login', {}, { email: admin.email, password: 'TestPass123' });
      const headers = { Authorization: `Bearer ${signIn.answer.access_token}` };
      const renamed = await send('PUT', '/org/update', headers, { new_organization_name: stem });
      expect(renamed.status).toBe(200);
      return { name: stem, former, headers };
    };
    return { send, own: await create('Own'), other: await create('Other') };
  }

  test('shows an admin the own organization, as with ORG_LOOKUP=public, and not without a token', async () => {
    const { send, own } = await world();
    const shown = await send('GET', at('  OWN '), own.headers);
    const seen = await serve().send('GET', at('own'), {});
    expect([shown.status, shown.answer]).toEqual([200, seen.answer]);
    const tag = shown.headers.get('ETag') ?? '';
    expect(tag).toBe(seen.headers.get('ETag'));
    expect(shown.headers.get('Cache-Control')).toBe('private, no-cache');
    expect(await send('GET', at('Own'), { ...own.headers, 'If-None-Match': tag })).toMatchObject({ status: 304 });
    for (const headers of [{}, { 'If-None-Match': tag }, { 'If-None-Match': '*' }]) {
      expect(await send('GET', at('Own'), headers)).toMatchObject({ status: 401, code: 'invalid_token' });
    }
  });

  test('leads only its own admins from a former name to the present one', async () => {
    const { send, own, other } = await world();
    const led = await send('GET', at(own.former), own.headers);
    expect(led).toMatchObject({ status: 308, code: 'organization_renamed' });
    expect(led.headers.get('Location')).toBe('/org/get?organization_name=Own');
    expect(await send('GET', at(own.former), {})).toMatchObject({ status: 401 });
    expect(await send('GET', at(own.former), other.headers)).toMatchObject({ status: 404 });
  });

  test('answers any other name like one that nobody has, with as many calls of the store', async () => {
    const { send, own, other } = await world();
    const execute = vi.spyOn(executor, 'execute');
    const answers = [];
    for (const name of ['Nobody', other.name, other.former]) {
      execute.mockClear();
      const { status, answer, headers } = await send('GET', at(name), own.headers);
      const { request_id: _, ...rest } = answer;
      expect(execute).toHaveBeenCalled();
      answers.push(JSON.stringify([status, rest, [...headers.keys()].sort(), execute.mock.calls.length]));
    }
    expect(JSON.parse(answers[0] ?? '').slice(0, 2)).toMatchObject([404, { code: 'organization_not_found' }]);
    expect(new Set(answers).size).toBe(1);
  });

  test('is described with its token in /openapi.json, and without one otherwise', async () => {
    const described = async (env: Readonly<Record<string, string>>) => {
      const { answer } = await serve(env).send('GET', '/openapi.json', {});
      const { security, responses } = answer.paths['/org/get'].get;
      return { security, refuses: Object.keys(responses).includes('401') };
    };
    expect(await described(MEMBERS)).toEqual({ security: [{ bearer: [] }], refuses: true });
    expect(await described({})).toEqual({ security: undefined, refuses: false });
  });
});
