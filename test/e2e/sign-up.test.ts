import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import type { CaptchaVerifier } from '../support/captcha-verifier.ts';
import { startCaptchaVerifier } from '../support/captcha-verifier.ts';
import { expectProblem, sameForAll } from '../support/problem.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

const KEYS = ['the-key-of-the-first-customer', 'the-key-of-the-second-customer'] as const;

/** Creates that each address has. */
const CREATES = 5;

/** Sign-up by key and CAPTCHA, look-ups by members alone, and sign-up that is closed. */
describe.each(['node', 'bun', 'workerd'] as const)('on %s', (runtime) => {
  let verifier: CaptchaVerifier;
  let services: RunningService[] = [];
  let guarded: Caller;
  let closed: Caller;

  beforeAll(async () => {
    verifier = await startCaptchaVerifier();
    const environments = [
      {
        ...{ SIGNUP: 'key', SIGNUP_KEYS: KEYS.join(', '), ...verifier.env, ORG_LOOKUP: 'members' },
        ...{ NAME_LEASE_DAYS: '1', LIMIT_CREATE: `${CREATES}/600`, TRUSTED_PROXIES: '127.0.0.1' },
      },
      { SIGNUP: 'closed' },
    ];
    services = await Promise.all(
      environments.map((env) => startService({ runtime, store: { kind: 'embedded' }, env })),
    );
    const [first, second] = services;
    guarded = createCaller(first?.url ?? '');
    closed = createCaller(second?.url ?? '');
  });

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await verifier.stop();
  });

  let subscribers = 0;
  /** Headers that come from an address of its own, as a trusted proxy or Cloudflare says. */
  const from = (): Record<string, string> => {
    const address = `198.51.100.${++subscribers}`;
    return { 'X-Forwarded-For': address, 'CF-Connecting-IP': address };
  };
  const newBody = () => ({ organization_name: newName(), email: newEmail(), password: guarded.newPassword() });
  const create = (headers: Readonly<Record<string, string>>, body = newBody()) =>
    guarded.request('POST', '/org/create', { headers, body });
  const admitted = () => ({ 'X-Signup-Key': KEYS[1], 'X-Captcha-Token': verifier.newToken() });

  const signedIn = async () => {
    const body = newBody();
    const created = await create({ ...from(), ...admitted() }, body);
    expect(created.status, created.text).toBe(200);
    return { name: body.organization_name, token: await guarded.tokenFor(body) };
  };

  test('an organization is created with a sign-up key and a solved CAPTCHA, and with nothing less', async () => {
    const own = from();
    const body = newBody();
    const { 'X-Signup-Key': key, 'X-Captcha-Token': token } = admitted();
    const [none, wrong] = [
      await create({ ...own, 'X-Captcha-Token': token }, body),
      await create({ ...own, 'X-Captcha-Token': token, 'X-Signup-Key': `${key}x` }, body),
    ];
    expectProblem(none, 403, 'sign_up_key_required');
    expect(sameForAll(wrong)).toEqual(sameForAll(none));
    expectProblem(await create({ ...own, 'X-Signup-Key': key }, body), 403, 'captcha_required');
    const made = { ...own, 'X-Signup-Key': key, 'X-Captcha-Token': 'made.up' };
    expectProblem(await create(made, body), 403, 'captcha_required');
    const created = await create({ ...own, 'X-Signup-Key': key, 'X-Captcha-Token': token }, body);
    expect(created.status, created.text).toBe(200);
    const asked = verifier.received.find(({ response }) => response === token);
    expect(asked).toEqual({ secret: verifier.secret, response: token, remoteip: own['X-Forwarded-For'] });
  });

  test('keys are guessed no faster than organizations are created', async () => {
    const own = from();
    for (let guess = 0; guess < CREATES; guess++) {
      const headers = { ...own, 'X-Signup-Key': `a guess at a key, ${guess}` };
      expectProblem(await create(headers), 403, 'sign_up_key_required');
    }
    expectProblem(await create({ ...own, ...admitted() }), 429, 'too_many_requests');
  });

  test('while the verifier fails, nobody gets in', async () => {
    verifier.answer('redirects');
    const refused = await create({ ...from(), ...admitted() });
    verifier.answer('answers');
    expectProblem(refused, 503, 'unavailable');
    expect(refused.headers.get('Retry-After')).toMatch(/^\d+$/);
  });

  test('a repeat with the Idempotency-Key gets its answer, though its token is spent; a stranger with the key does not', async () => {
    const body = newBody();
    const key = { 'Idempotency-Key': body.email };
    const headers = { ...from(), ...admitted(), ...key };
    const first = await create(headers, body);
    expect(first.status, first.text).toBe(200);
    const again = await create(headers, { ...body, password: guarded.newPassword() });
    expect([again.status, again.json]).toEqual([200, first.json]);
    const stranger = { ...from(), ...key };
    expectProblem(await create({ ...stranger, ...admitted() }, body), 409, 'organization_name_taken');
    expect((await create({ ...stranger, ...admitted() })).status).toBe(200);
  });

  test('only its own admins look an organization up, by its name or a former one', async () => {
    const [own, other] = [await signedIn(), await signedIn()];
    const look = (name: string, token?: string) =>
      guarded.request('GET', '/org/get', {
        query: { organization_name: name },
        ...(token !== undefined && { token }),
      });
    expectProblem(await look(own.name), 401, 'invalid_token');
    const shown = await look(own.name.toUpperCase(), own.token);
    expect([shown.status, shown.json.organization_name]).toEqual([200, own.name]);
    expect(shown.headers.get('ETag')).toMatch(/^"/);
    const absent = await look(newName(), own.token);
    expectProblem(absent, 404, 'organization_not_found');
    expect(sameForAll(await look(other.name, own.token))).toEqual(sameForAll(absent));

    const renamed = await guarded.update(other.token, { new_organization_name: newName() });
    expect(renamed.status, renamed.text).toBe(200);
    expect(sameForAll(await look(other.name, own.token))).toEqual(sameForAll(absent));
    const led = await guarded.raw('GET', `/org/get?${new URLSearchParams({ organization_name: other.name })}`, [
      `Authorization: Bearer ${other.token}`,
    ]);
    expectProblem(led, 308, 'organization_renamed');
  });

  test('neither a sign-up key nor the secret of the verifier is in the log', () => {
    const logs = services.map((service) => service.logs()).join('');
    expect(logs).toContain('sign_up_key_required');
    for (const secret of [...KEYS, verifier.secret]) expect(logs.includes(secret)).toBe(false);
  });

  test('where sign-up is closed, nothing is created', async () => {
    const body = newBody();
    expectProblem(await closed.create(body.organization_name, body), 403, 'sign_up_closed');
    expectProblem(await closed.get(body.organization_name), 404, 'organization_not_found');
  });
});
