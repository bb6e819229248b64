import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { connect } from 'node:net';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Answer, SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { claimsOf, headerOf, respell, signToken, unsign, withHeader } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

/** The routes that anyone may call. */
const PUBLIC = [
  'GET /.well-known/jwks.json',
  'GET /health/live',
  'GET /health/ready',
  'GET /org/erasure',
  'GET /org/get',
  'POST /admin/accept-invite',
  'POST /admin/login',
  'POST /admin/logout',
  'POST /admin/password/forgot',
  'POST /admin/password/reset',
  'POST /admin/refresh',
  'POST /admin/undo',
  'POST /admin/verify-email',
  'POST /org/create',
  'POST /org/restore',
];

/** The protected routes. A route of /openapi.json that is in neither list fails. */
const PROTECTED = [
  'DELETE /admin/second-factor',
  'DELETE /admin/sessions',
  'DELETE /org/admins',
  'DELETE /org/delete',
  'DELETE /org/invites',
  'DELETE /org/sessions',
  'GET /admin/me',
  'GET /admin/sessions',
  'GET /org/admins',
  'GET /org/audit',
  'GET /org/audit/verify',
  'GET /org/invites',
  'GET /org/sessions',
  'POST /admin/logout-all',
  'POST /admin/password/change',
  'POST /admin/second-factor',
  'POST /admin/second-factor/confirm',
  'POST /admin/verify-email/resend',
  'POST /org/invites',
  'PUT /org/admins',
  'PUT /org/update',
];

/** The routes of which a request names what it reads or changes. */
const AIMED = [
  'DELETE /admin/sessions',
  'DELETE /org/admins',
  'DELETE /org/delete',
  'DELETE /org/sessions',
  'GET /org/sessions',
  'PUT /org/admins',
  'PUT /org/update',
];

/** The route that the long lists of tokens are tried on: the other routes get a token of each kind. */
const ONE_ROUTE = 'GET /admin/me';

type Fields = Readonly<Record<string, string>>;

type Headers = Readonly<Record<string, string | undefined>>;

/** What the fields of the protected routes may be; each route gets the fields that it knows. */
const FIELDS: Readonly<Record<string, { readonly in: 'query' | 'body'; readonly names: readonly string[] }>> = {
  'DELETE /admin/sessions': { in: 'query', names: ['session_id'] },
  'DELETE /org/admins': { in: 'query', names: ['admin_id'] },
  'DELETE /org/delete': { in: 'query', names: ['organization_name'] },
  'DELETE /org/invites': { in: 'query', names: ['invitation_id'] },
  'DELETE /org/sessions': { in: 'query', names: ['admin_id'] },
  'GET /org/sessions': { in: 'query', names: ['admin_id'] },
  'DELETE /admin/second-factor': { in: 'body', names: ['current_password', 'code'] },
  'POST /admin/password/change': { in: 'body', names: ['current_password', 'new_password'] },
  'POST /admin/second-factor': { in: 'body', names: ['current_password'] },
  'POST /admin/second-factor/confirm': { in: 'body', names: ['code'] },
  'POST /org/invites': { in: 'body', names: ['email', 'role'] },
  'PUT /org/admins': { in: 'body', names: ['admin_id', 'role'] },
  'PUT /org/update': { in: 'body', names: ['organization_name', 'new_organization_name'] },
};

/** Requests with tokens that are not good, on every protected route. */
export function bearerTokenSuite({ service, caller }: TestEnv): void {
  describe('a protected route', () => {
    let target: SignedInTenant;
    let targetFields: Fields;

    beforeAll(async () => {
      target = await caller().signedInTenant();
      targetFields = {
        organization_name: target.name,
        admin_id: target.adminId,
        session_id: String(claimsOf(target.token)['sid']),
        invitation_id: randomUUID(),
        new_organization_name: newName('Stolen'),
        email: newEmail(),
        role: 'viewer',
        current_password: target.password,
        new_password: caller().newPassword(),
        code: '123456',
      };
    });

    const call = (route: string, fields: Fields, headers: Readonly<Record<string, string>>) => {
      const [method = '', path = ''] = route.split(' ');
      const { in: where, names } = FIELDS[route] ?? { in: 'query', names: [] };
      const sent = Object.fromEntries(names.map((name) => [name, fields[name] ?? '']));
      return caller().request(method, path, { headers, ...(where === 'body' ? { body: sent } : { query: sent }) });
    };

    /** Sends a request for each header, and expects that the route refuses all of them in the same way. */
    const expectRefused = async (route: string, cases: Headers) => {
      const answers = await Promise.all(
        Object.entries(cases).map(async ([what, header]) => {
          const answer = await call(route, targetFields, header === undefined ? {} : { Authorization: header });
          return { what, answer };
        }),
      );
      const others = answers.filter(({ answer }) => answer.status !== 401 || answer.json?.code !== 'invalid_token');
      expect(others.map(({ what, answer }) => `${what}: ${answer.status} ${answer.text}`)).toEqual([]);
      for (const { answer } of answers) expectProblem(answer, 401, 'invalid_token');
      await expectUntouched(target);
    };

    const expectUntouched = async ({ token, name, collection, adminId, email }: SignedInTenant) => {
      const me = await caller().request('GET', '/admin/me', { token });
      expect([me.status, me.json?.admin_id, me.json?.admin_email]).toEqual([200, adminId, email]);
      expect((await caller().get(name)).json.collection_name).toBe(collection);
    };

    const bearing = (tokens: Readonly<Record<string, string>>): Headers =>
      Object.fromEntries(Object.entries(tokens).map(([what, token]) => [what, `Bearer ${token}`]));

    /** A token as the service would sign it, but for what is changed. */
    const signed = (claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, unknown>> = {}) =>
      signToken(
        { ...headerOf(target.token), ...header },
        { ...claimsOf(target.token), ...claims },
        service().jwtSecret,
      );

    test('is in the list here, or is public', async () => {
      const { json: document } = await caller().request('GET', '/openapi.json');
      const routes = Object.entries<Record<string, { security?: unknown[] }>>(document.paths).flatMap(
        ([path, methods]) =>
          Object.entries(methods).map(([method, { security = [] }]) => ({
            route: `${method.toUpperCase()} ${path}`,
            isProtected: security.length > 0,
          })),
      );
      const named = (wanted: boolean) =>
        routes.filter(({ isProtected }) => isProtected === wanted).map(({ route }) => route);
      expect(named(true).sort()).toEqual(PROTECTED);
      expect(named(false).sort()).toEqual(PUBLIC);
    });

    test('takes a token that is signed as the refused ones of these tests are', async () => {
      const { status, text } = await call(ONE_ROUTE, {}, { Authorization: `Bearer ${signed({ jti: randomUUID() })}` });
      expect(status, text).toBe(200);
    });

    test.each(PROTECTED)('%s refuses a token of each bad kind', async (route) => {
      const [header, payload, signature] = target.token.split('.');
      const claims = claimsOf(target.token);
      const ended = Math.floor(Date.now() / 1000) - 60;
      await expectRefused(route, {
        'no header': undefined,
        Basic: `Basic ${Buffer.from(`${target.email}:${target.password}`).toString('base64')}`,
        ...bearing({
          'no token at all': 'x',
          'two parts': `${header}.${payload}`,
          'a very long token': `${header}.${'x'.repeat(12_000)}.${signature}`,
          'no algorithm and no signature': unsign(target.token),
          'no signature': withHeader(target.token, headerOf(target.token), ''),
          'another secret': signToken(headerOf(target.token), claims, 'x'.repeat(48)),
          'another session': signed({ sid: randomUUID() }),
          'exp that is past': signed({ iat: ended - 60, exp: ended }),
          'no exp': signed({ exp: undefined }),
          null: signToken(headerOf(target.token), null, service().jwtSecret),
        }),
      });
    });

    test.each(PROTECTED)('%s refuses two Authorization headers, also of one token', async (route) => {
      const [method = '', path = ''] = route.split(' ');
      const line = `Authorization: Bearer ${target.token}`;
      for (const lines of [
        [line, line],
        [line, 'Authorization: Basic eA=='],
        ['Authorization: Basic eA==', line],
      ]) {
        expectProblem(await caller().raw(method, path, [...lines, 'Content-Length: 0']), 401, 'invalid_token');
      }
      await expectUntouched(target);
    });

    test('refuses a header of 1 MB, and the service goes on', async () => {
      const status = await sendHuge(service().url, 'GET', '/admin/me', `Bearer ${'x'.repeat(1024 * 1024)}`);
      expect(status ?? 431).toBeGreaterThanOrEqual(400);
      expect(status ?? 431).toBeLessThan(500);
      await expectUntouched(target);
    });

    test('refuses what is no bearer token', async () => {
      const [header, payload, signature] = target.token.split('.');
      await expectRefused(ONE_ROUTE, {
        'no header': undefined,
        'an empty header': '',
        'a scheme alone': 'Bearer',
        Basic: `Basic ${Buffer.from(`${target.email}:${target.password}`).toString('base64')}`,
        'another scheme': `Token ${target.token}`,
        'the token alone': target.token,
        'two tokens': `Bearer ${target.token} ${target.token}`,
        'two tokens by a comma': `Bearer ${target.token}, Bearer ${target.token}`,
        'a token and a parameter': `Bearer ${target.token}, realm="x"`,
        ...bearing({
          'no token at all': 'x',
          dots: '..',
          'two parts': `${header}.${payload}`,
          'four parts': `${target.token}.${signature}`,
          'five parts': `${target.token}.${signature}.x`,
          'a header that is no JSON': `x.${payload}.${signature}`,
          'a header that is null': withHeader(target.token, null),
          'a payload that is no JSON': `${header}.x.${signature}`,
          padding: `${target.token}=`,
          'base64 that is not for addresses': `${header}.${payload}.++//${signature}`,
          'a very long token': `${header}.${'x'.repeat(12_000)}.${signature}`,
        }),
      });
    });

    test('refuses a token of no key, another key, or another algorithm than the key’s', async () => {
      const { jwtSecret } = service();
      const claims = claimsOf(target.token);
      const header = headerOf(target.token);
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const by = (alg: string, key: typeof privateKey, extra: object = {}) => {
        const unsigned = withHeader(target.token, { ...header, alg, ...extra }, '');
        const signature = sign('sha256', Buffer.from(unsigned.slice(0, -1)), { key, dsaEncoding: 'ieee-p1363' });
        return `${unsigned}${signature.toString('base64url')}`;
      };
      const pem = String(publicKey.export({ type: 'spki', format: 'pem' }));
      await expectRefused(
        ONE_ROUTE,
        bearing({
          'no algorithm': `${unsign(target.token)}x`,
          'no algorithm and no signature': unsign(target.token),
          'none under the key’s name': withHeader(target.token, { ...header, alg: 'none' }, 'x'),
          None: withHeader(target.token, { ...header, alg: 'None' }),
          'no signature': withHeader(target.token, header, ''),
          'the signature of another token': withHeader(
            target.token,
            header,
            signed({ jti: randomUUID() }).split('.')[2],
          ),
          'another payload': target.token.replace(
            /\.[^.]+\./,
            `.${Buffer.from(JSON.stringify({ ...claims, role: 'admin' })).toString('base64url')}.`,
          ),
          'another secret': signToken(header, claims, 'x'.repeat(48)),
          'an empty secret': signToken(header, claims, ''),
          'the kid as secret': signToken(header, claims, String(header['kid'])),
          'HS384 by the same secret': signToken({ ...header, alg: 'HS384' }, claims, jwtSecret, 'sha384'),
          'HS512 by the same secret': signToken({ ...header, alg: 'HS512' }, claims, jwtSecret, 'sha512'),
          'HS256 that was made as HS512': signToken(header, claims, jwtSecret, 'sha512'),
          RS256: by('RS256', privateKey),
          ES256: by('ES256', ec.privateKey),
          'HS256 by a public key': signToken(header, claims, pem),
          'a key that it brings': by('ES256', ec.privateKey, { jwk: ec.publicKey.export({ format: 'jwk' }) }),
          'a key elsewhere': by('RS256', privateKey, { jku: `${service().url}/.well-known/jwks.json` }),
          'an extension that must be understood': signed({}, { crit: ['x'], x: 1 }),
          'another kind of token': signed({}, { typ: 'dpop+jwt' }),
          'no kid': signed({}, { kid: undefined }),
          'another kid': signed({}, { kid: 'another' }),
          'an empty kid': signed({}, { kid: '' }),
          'a kid that is a path': signed({}, { kid: '../../../../dev/null' }),
          'a kid that every object has': signed({}, { kid: 'constructor' }),
          'a kid that is a list': signed({}, { kid: [header['kid']] }),
          'a kid that is an operator': signed({}, { kid: { $ne: null } }),
          'no alg': signed({}, { alg: undefined }),
        }),
      );
    });

    test('refuses a token with wrong claims', async () => {
      const now = Math.floor(Date.now() / 1000);
      const { jwtSecret } = service();
      const payload = (value: unknown) => signToken(headerOf(target.token), value, jwtSecret);
      const without = Object.fromEntries(
        Object.keys(claimsOf(target.token)).map((name) => [`no ${name}`, signed({ [name]: undefined })]),
      );
      const claims = claimsOf(target.token);
      await expectRefused(
        ONE_ROUTE,
        bearing({
          ...without,
          null: payload(null),
          'an array': payload([]),
          'an array of claims': payload([claims]),
          'a string': payload('x'),
          'a number': payload(1),
          'exp as a string': signed({ exp: String(claims['exp']) }),
          'exp of 1e308': signed({ exp: 1e308 }),
          'exp that is null': signed({ exp: null }),
          'exp that is negative': signed({ exp: -1 }),
          'exp that is past': signed({ exp: now - 1 }),
          'exp of a part of a second': signed({ exp: now + 60.5 }),
          'exp in milliseconds': signed({ exp: (now + 60) * 1000 }),
          'exp of now': signed({ exp: now }),
          'exp later than any of ours': signed({ exp: now + 86_400 * 365 }),
          'iat in the future': signed({ iat: now + 60, exp: now + 120 }),
          'iat as a string': signed({ iat: String(now) }),
          'nbf in the future': signed({ nbf: now + 60 }),
          'nbf as a string': signed({ nbf: String(now) }),
          'another iss': signed({ iss: 'another' }),
          'iss as a list': signed({ iss: ['tenantry'] }),
          'another aud': signed({ aud: 'another' }),
          'aud as a list': signed({ aud: ['tenantry', 'another'] }),
          'another sub': signed({ sub: randomUUID() }),
          'a role that there is not': signed({ role: 'root' }),
          'an epoch to come': signed({ epoch: Number(claims['epoch']) + 1 }),
          'an epoch gone by': signed({ epoch: Number(claims['epoch']) - 1 }),
          'an epoch as a string': signed({ epoch: String(claims['epoch']) }),
          'another organization': signed({ org_id: randomUUID() }),
          'another admin': signed({ admin_id: randomUUID(), sub: randomUUID() }),
          'another session': signed({ sid: randomUUID() }),
          'an operator for the organization': signed({ org_id: { $ne: null } }),
          'an operator for the admin': signed({ admin_id: { $ne: null }, sub: { $ne: null } }),
          'an operator for the session': signed({ sid: { $ne: null } }),
        }),
      );
    });

    test('refuses a token of one admin with the session or the organization of another', async () => {
      const other = claimsOf((await caller().signedInTenant()).token);
      const { sid, org_id, admin_id } = other;
      await expectRefused(
        ONE_ROUTE,
        bearing({
          'another’s session': signed({ sid }),
          'another’s organization': signed({ org_id }),
          'another’s organization and session': signed({ org_id, sid }),
          'another admin': signed({ admin_id, sub: admin_id }),
        }),
      );
    });

    test.each(['email', 'password'] as const)('refuses a token of before another %s', async (what) => {
      const tenant = await caller().signedInTenant();
      const change = what === 'email' ? { email: newEmail() } : { password: caller().newPassword() };
      expect((await caller().update(tenant.token, change)).status).toBe(200);
      await expectEnded(tenant.token);
    });

    test('refuses a token of a session that logged out', async () => {
      const { json } = await caller().login(await caller().tenant());
      await caller().request('POST', '/admin/logout', { body: { refresh_token: json.refresh_token } });
      await expectEnded(json.access_token);
    });

    test('refuses a token of a deleted organization, also where it was created again', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      await expectEnded(tenant.token);
      expect((await caller().create(tenant.name, tenant)).status).toBe(200);
      await expectEnded(tenant.token);
    });

    const expectEnded = (token: string) =>
      expectRefused(ONE_ROUTE, bearing({ 'the token': token, 'the token in another spelling': respell(token) }));

    test.each(AIMED)('%s tells an admin of another organization nothing of what is there', async (route) => {
      const other = await caller().signedInTenant();
      const headers = { Authorization: `Bearer ${other.token}` };
      const missing = { organization_name: newName('Nobody'), admin_id: randomUUID(), session_id: randomUUID() };
      const essence = ({ status, json }: Answer) => [status, { ...json, request_id: undefined }];
      const there = await call(route, targetFields, headers);
      const notThere = await call(route, { ...targetFields, ...missing }, headers);
      expect(essence(notThere)).toEqual(essence(there));
      if (FIELDS[route]?.names.includes('organization_name')) expectProblem(there, 403, 'forbidden');
      else expect([204, 404]).toContain(there.status);
      await expectUntouched(target);
      await expectUntouched(other);
    });

    test.each(['$x', '\u{1F600}'])('answers the same for the name %s, which no organization can have', async (name) => {
      const other = await caller().signedInTenant();
      const update = { organization_name: name, new_organization_name: newName() };
      expectProblem(await caller().update(other.token, update), 403, 'forbidden');
      expectProblem(await caller().remove(other.token, name), 403, 'forbidden');
      await expectUntouched(other);
    });
  });
}

/** The status of the answer, or undefined when the connection was closed instead. */
function sendHuge(url: string, method: string, path: string, authorization: string): Promise<number | undefined> {
  const { hostname, port, host } = new URL(url);
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => {
      const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close', 'Content-Length: 0'];
      socket.write([...head, `Authorization: ${authorization}`, '', ''].join('\r\n'));
    });
    const end = () => {
      const status = /^HTTP\/1\.1 (\d{3})/.exec(received)?.[1];
      socket.destroy();
      resolve(status === undefined ? undefined : Number(status));
    };
    socket.on('data', (data) => {
      received += data.toString('latin1');
      if (received.includes('\r\n')) end();
    });
    socket.on('error', end);
    socket.on('close', end);
    socket.setTimeout(10_000, end);
  });
}
