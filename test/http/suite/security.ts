import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { connect } from 'node:net';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Answer, SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { claimsOf, headerOf, respell, signToken, unsign, withHeader } from '../../support/token.ts';
import type { Cell } from './cell.ts';

/** Routes that anyone may call. A route that is neither here nor protected fails, and so does one that is gone. */
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
  'POST /admin/verify-email',
  'POST /org/create',
  'POST /org/restore',
];

/** Fields that name what is to be read or changed: with another organization's token, what is there is not told. */
const TARGETS = ['organization_name', 'organization_id', 'admin_id', 'session_id'] as const;

/** How many calls are under way at once. */
const BATCH = 16;

type Operation = {
  readonly method: string;
  readonly path: string;
  readonly query: readonly string[];
  readonly body: readonly string[];
};

type Fields = Readonly<Record<string, string>>;

/** Walks every protected route that /openapi.json has, those of tomorrow too. */
export function securityPromises({ service, caller }: Cell): void {
  describe('every protected route', () => {
    let operations: Operation[];
    let target: SignedInTenant;
    let targetFields: Fields;

    beforeAll(async () => {
      operations = (await describedOperations()).filter(({ isProtected }) => isProtected);
      target = await caller().signedInTenant();
      targetFields = fieldsOf(target);
    });

    const describedOperations = async () => {
      const { json: document } = await caller().request('GET', '/openapi.json');
      return Object.entries<Record<string, OpenApiOperation>>(document.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, { security = [], parameters = [], requestBody }]) => ({
          method: method.toUpperCase(),
          path,
          isProtected: security.length > 0,
          query: parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name),
          body: Object.keys(requestBody?.content['application/json']?.schema.properties ?? {}),
        })),
      );
    };

    const fieldsOf = (tenant: SignedInTenant): Fields => ({
      organization_name: tenant.name,
      organization_id: tenant.organizationId,
      admin_id: tenant.adminId,
      session_id: String(claimsOf(tenant.token)['sid']),
      new_organization_name: newName('Stolen'),
      email: newEmail(),
      role: 'viewer',
    });

    const call = (operation: Operation, fields: Fields, headers: Readonly<Record<string, string>>) => {
      const pick = (names: readonly string[]) =>
        Object.fromEntries(names.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])));
      return caller().request(operation.method, operation.path, {
        query: pick(operation.query),
        headers,
        ...(operation.body.length > 0 && { body: pick(operation.body) }),
      });
    };

    /** Every route refuses every one of these headers, with the same words. */
    const expectRefused = async (headers: Readonly<Record<string, string | undefined>>) => {
      for (const operation of operations) {
        const cases = Object.entries(headers);
        for (let start = 0; start < cases.length; start += BATCH) {
          await Promise.all(
            cases.slice(start, start + BATCH).map(async ([what, header]) => {
              const sent = header === undefined ? {} : { Authorization: header };
              const answer = await call(operation, targetFields, sent);
              const where = `${operation.method} ${operation.path} with ${what}: ${answer.status} ${answer.text}`;
              expect([answer.status, answer.json?.code], where).toEqual([401, 'invalid_token']);
              expectProblem(answer, 401, 'invalid_token');
            }),
          );
        }
      }
      await expectUntouched(target);
    };

    const expectUntouched = async ({ token, name, collection, adminId, email }: SignedInTenant) => {
      const me = await caller().request('GET', '/admin/me', { token });
      expect([me.status, me.json?.admin_id, me.json?.admin_email]).toEqual([200, adminId, email]);
      expect((await caller().get(name)).json.collection_name).toBe(collection);
    };

    const bearing = (tokens: Readonly<Record<string, string>>) =>
      Object.fromEntries(Object.entries(tokens).map(([what, token]) => [what, `Bearer ${token}`]));

    /** A token as the service would sign it, but for what is changed. */
    const signed = (claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, unknown>> = {}) =>
      signToken(
        { ...headerOf(target.token), ...header },
        { ...claimsOf(target.token), ...claims },
        service().jwtSecret,
      );

    test('is described, and is the only kind there is beside the public ones', async () => {
      const open = (await describedOperations()).filter(({ isProtected }) => !isProtected);
      expect(open.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(PUBLIC);
      expect(operations.length).toBeGreaterThan(5);
    });

    test('takes the token that the refused ones below are made from', async () => {
      const control = await caller().signedInTenant();
      let { token } = control;
      for (const operation of operations) {
        const own = signToken(headerOf(token), { ...claimsOf(token), jti: randomUUID() }, service().jwtSecret);
        const answer = await call(operation, {}, { Authorization: `Bearer ${own}` });
        expect(answer.status, `${operation.method} ${operation.path}: ${answer.text}`).not.toBe(401);
        expect(answer.status, `${operation.method} ${operation.path}: ${answer.text}`).not.toBe(403);
        const { status } = await caller().request('GET', '/admin/me', { token });
        if (status === 401) token = (await caller().login(control)).json.access_token;
      }
    });

    test('refuses what is no bearer token', async () => {
      const [header, payload, signature] = target.token.split('.');
      await expectRefused({
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

    test('refuses two Authorization headers, also of one token', async () => {
      const line = `Authorization: Bearer ${target.token}`;
      for (const { method, path } of operations) {
        for (const lines of [
          [line, line],
          [line, 'Authorization: Basic eA=='],
          ['Authorization: Basic eA==', line],
        ]) {
          expectProblem(await caller().raw(method, path, [...lines, 'Content-Length: 0']), 401, 'invalid_token');
        }
      }
      await expectUntouched(target);
    });

    test('refuses a header of 1 MB, and the service goes on', async () => {
      for (const { method, path } of operations) {
        const status = await sendHuge(service().url, method, path, `Bearer ${'x'.repeat(1024 * 1024)}`);
        expect(status ?? 431).toBeGreaterThanOrEqual(400);
        expect(status ?? 431).toBeLessThan(500);
      }
      await expectUntouched(target);
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

    test('refuses a token that does not say what one of ours says', async () => {
      const now = Math.floor(Date.now() / 1000);
      const { jwtSecret } = service();
      const payload = (value: unknown) => signToken(headerOf(target.token), value, jwtSecret);
      const without = Object.fromEntries(
        Object.keys(claimsOf(target.token)).map((name) => [`no ${name}`, signed({ [name]: undefined })]),
      );
      const claims = claimsOf(target.token);
      await expectRefused(
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
        bearing({
          'another’s session': signed({ sid }),
          'another’s organization': signed({ org_id }),
          'another’s organization and session': signed({ org_id, sid }),
          'another admin': signed({ admin_id, sub: admin_id }),
        }),
      );
    });

    test('refuses tokens from before a logout, another password, a rename, a deletion and a recreation', async () => {
      const tenant = await caller().tenant();
      const { name } = tenant;
      let { json: tokens } = await caller().login(tenant);
      const ended: Record<string, string> = {};
      /** Remembers the newest token, and goes on with another of the same session. */
      const retire = async (what: string) => {
        ended[what] = tokens.access_token;
        ended[`${what}, in another spelling`] = respell(tokens.access_token);
        const answer = await caller().request('POST', '/admin/refresh', {
          body: { refresh_token: tokens.refresh_token },
        });
        expect(answer.status, answer.text).toBe(200);
        tokens = answer.json;
      };
      const update = async (body: Record<string, unknown>) => {
        const answer = await caller().update(tokens.access_token, body);
        expect(answer.status, answer.text).toBe(200);
        tokens = answer.json;
      };
      await retire('a token from before a rename');
      await update({ new_organization_name: newName() });
      await retire('a token from before another email');
      const email = newEmail();
      await update({ email });
      await retire('a token from before another password');
      const password = caller().newPassword();
      await update({ password });
      await retire('a token from before going back to the name');
      await update({ new_organization_name: name, email: tenant.email });

      const second = (await caller().login({ email: tenant.email, password })).json;
      await caller().request('POST', '/admin/logout', { body: { refresh_token: second.refresh_token } });
      ended['a token of a session that logged out'] = second.access_token;
      await retire('a token from before the deletion');
      expect((await caller().remove(tokens.access_token, name)).status).toBe(200);
      await expectRefused(bearing(ended));

      expect((await caller().create(name, { email: tenant.email, password })).status).toBe(200);
      await expectRefused(bearing(ended));
    });

    test('tells an admin of another organization nothing of what is there', async () => {
      const other = await caller().signedInTenant();
      const headers = { Authorization: `Bearer ${other.token}` };
      const missing = {
        organization_name: newName('Nobody'),
        organization_id: randomUUID(),
        admin_id: randomUUID(),
        session_id: randomUUID(),
      };
      const essence = ({ status, json }: Answer) => [status, { ...json, request_id: undefined }];
      for (const operation of operations) {
        const aimed = TARGETS.filter((name) => operation.query.includes(name) || operation.body.includes(name));
        if (aimed.length === 0) continue;
        const there = await call(operation, targetFields, headers);
        const notThere = await call(operation, { ...targetFields, ...missing }, headers);
        expect(essence(notThere), `${operation.method} ${operation.path}`).toEqual(essence(there));
        if (aimed.includes('organization_name')) expectProblem(there, 403, 'forbidden');
        else expect([204, 403, 404]).toContain(there.status);
      }
      await expectUntouched(target);
      await expectUntouched(other);
    });
  });
}

/** What is looked at of an operation in the OpenAPI document. */
type OpenApiOperation = {
  readonly security?: readonly unknown[];
  readonly parameters?: readonly { readonly in: string; readonly name: string }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: { readonly properties?: object } }>>;
  };
};

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
