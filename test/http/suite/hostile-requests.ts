import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { beforeAll, describe, expect, test } from 'vitest';
import type { SignedInTenant } from '../../support/caller.ts';
import { createCaller, newEmail, newName } from '../../support/caller.ts';
import { until } from '../../support/deadline.ts';
import { hostileBody, operationsOf } from '../../support/hostile-bodies.ts';
import { expectProblem } from '../../support/problem.ts';
import { createRandom } from '../../support/random.ts';
import type { TestEnv } from './test-env.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };

/** How many bodies are sent; `npm run campaign:bodies` sends 10,000. */
const BODIES = 150;
const SEED = 10;

/** The most that an answer takes to tell what is wrong, whatever was sent. */
const MAX_ANSWER = 6000;

/** Spellings of POST /org/create that a proxy may take for another path. */
const SPELLINGS = [
  '/org/%63reate',
  '/%6frg/create',
  '/org%2fcreate',
  '/org%2Fcreate',
  '/org/create%20',
  '/org/create%00',
  '/org/create/',
  '/org//create',
  '//org/create',
  '/ORG/create',
  '/org/create;x=1',
  '/org/create%3fx',
];

/** Bun and workerd make `/health/live` of these before the service sees them: see docs/operating.md. */
const NORMALIZED = [
  '/x/../health/live',
  '/./health/live',
  '/health/./live',
  '/x/%2e%2e/health/live',
  '/x/%2E./health/live',
];

export function hostileRequestSuite({ service, caller }: TestEnv): void {
  describe('a hostile request', () => {
    let tenant: SignedInTenant;

    beforeAll(async () => {
      tenant = await caller().signedInTenant();
    });

    const create = (path: string) => {
      const body = JSON.stringify({
        organization_name: newName(),
        email: newEmail(),
        password: caller().newPassword(),
      });
      const lines = ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`];
      return caller().raw('POST', path, lines, body);
    };

    test.each(SPELLINGS)('reaches no route by the path %s', async (path) => {
      expect((await create(path)).status).toBe(404);
    });

    test.each(NORMALIZED)('reaches no route on Node by the path %s', async (path) => {
      // Where the runtime normalizes the path, the answer is one that /openapi.json does not know under that path.
      const { status } = await createCaller(caller().url).raw('GET', path, []);
      expect(service().runtime === 'node' ? [404] : [200, 404]).toContain(status);
    });

    test('reaches no route on Node and Bun by a target with a fragment', async () => {
      for (const target of ['/health/live#', '/health/live#x', '/health/live#?x']) {
        const { status } = await createCaller(caller().url).raw('GET', target, []);
        expect(service().runtime === 'workerd' ? [200, 404] : [404]).toContain(status);
      }
    });

    test(`of ${BODIES} bodies that no route takes is refused`, async () => {
      const random = createRandom(SEED);
      const operations = operationsOf((await caller().request('GET', '/openapi.json')).json);
      expect(operations.length).toBeGreaterThan(10);
      for (let sent = 0; sent < BODIES; sent++) {
        const operation = operations[sent % operations.length];
        if (operation === undefined) continue;
        const { kind, bytes } = hostileBody(random, operation);
        const { method, path, isPublic, valid } = operation;
        const token = isPublic || valid === undefined ? {} : { token: tenant.token };
        const answer = await caller().request(method, path, { ...token, raw: bytes, headers: JSON_TYPE });
        const where = `${kind} (number ${sent}) at ${method} ${path}: ${answer.text.slice(0, 300)}`;
        expect(answer.status, where).toBeGreaterThanOrEqual(400);
        expect(answer.status, where).toBeLessThan(500);
        expect(answer.text.length, where).toBeLessThan(MAX_ANSWER);
      }
    });

    test('with a byte order mark, bytes that are not UTF-8, or a name twice, is 400 where it would be valid', async () => {
      const password = caller().newPassword();
      const text = () => JSON.stringify({ organization_name: newName(), email: newEmail(), password });
      const bodies = [
        `\ufeff${text()}`,
        Buffer.concat([Buffer.from(text().slice(0, -2)), Buffer.from([0xff]), Buffer.from('"}')]),
        `${text().slice(0, -1)},"password":${JSON.stringify(password)}}`,
        `${text().slice(0, -1)},"p\\u0061ssword":${JSON.stringify(password)}}`,
      ];
      for (const raw of bodies) {
        const answer = await caller().request('POST', '/org/create', { raw: Buffer.from(raw), headers: JSON_TYPE });
        expectProblem(answer, 400, 'malformed_json');
      }
    });

    test('with a token of another form is 401, whatever the token holds', async () => {
      const ID = '01900000-0000-7000-8000-000000000000';
      const secret = '0'.repeat(64);
      const password = caller().newPassword();
      for (const token of [
        'x',
        '\0',
        `${ID}.\0`,
        `\0.${secret}`,
        '\ud800',
        `${ID}.${secret}\udc00`,
        `${ID}.${secret}`,
      ]) {
        for (const path of ['/admin/verify-email', '/admin/password/reset', '/admin/accept-invite']) {
          const body = path.endsWith('email') ? { token } : { token, password };
          expectProblem(await caller().request('POST', path, { body }), 401, 'invalid_one_time_token');
        }
        const body = { refresh_token: token };
        for (const path of ['/admin/refresh', '/admin/logout']) {
          expectProblem(await caller().request('POST', path, { body }), 401, 'invalid_token');
        }
      }
    });

    test.each(['http://user:password@example.com/admin/login', 'http://user@example.com/admin/login'])(
      'for the target %s is no failure of the service',
      async (target) => {
        const body = '{"email":"a@example.com","password":"x"}';
        const lines = ['Content-Type: application/json', `Content-Length: ${body.length}`];
        const { status } = await createCaller(caller().url).raw('POST', target, lines, body);
        expect(status).toBe(service().runtime === 'node' ? 400 : 401);
      },
    );

    test.each(['', 'a b', 'x/y', 'user:password@x', '[::1'])('for the host "%s" is refused on Bun', async (host) => {
      const { hostname, port } = new URL(caller().url);
      const socket = connect(Number(port), hostname);
      const head = [
        'POST /admin/login HTTP/1.1',
        `Host: ${host}`,
        'Content-Type: application/json',
        'Connection: close',
      ];
      socket.write([...head, 'Transfer-Encoding: chunked', '', '2', '{}', '0', '', ''].join('\r\n'));
      const answer = await text(socket);
      // Elsewhere, it is refused before the service sees it, or gets another host.
      if (service().runtime === 'bun') expect(answer).toMatch(/^HTTP\/1\.1 400 .*"malformed_request"/s);
    });

    test.each(['Content-Length: 3000\r\n\r\n{"a"', 'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n'])(
      'whose caller leaves in the middle of the body is no failure of the service: %j',
      async (rest) => {
        // The proxy of `wrangler dev` need not pass on what such a caller sent: see test/unit/body.test.ts.
        if (service().runtime === 'workerd') return;
        const own = `left-${newName('x').slice(2)}`;
        const { hostname, port, host } = new URL(caller().url);
        const socket = connect(Number(port), hostname);
        const head = ['POST /admin/login HTTP/1.1', `Host: ${host}`, 'Content-Type: application/json'];
        socket.write([...head, `X-Request-Id: ${own}`, rest].join('\r\n'), () => socket.destroy());
        const lines = () => service().logs().split('\n');
        const line = await until('its line', () => lines().find((each) => each.includes(own)));
        const { level, status, request_id } = JSON.parse(line);
        expect([level, status]).toEqual(['info', 400]);
        expect(lines().filter((each) => each.includes(request_id))).toEqual([line]);
      },
    );

    test('with an odd User-Agent signs in, and the session shows it well-formed', async () => {
      // Where the header's bytes are read as UTF-8, the cut at 256 units goes through a surrogate pair.
      for (const device of [`${'x'.repeat(255)}\u{1F600}`, '\u{1F600}'.repeat(200), `${'x'.repeat(255)}\u00e9`]) {
        const latin1 = Buffer.from(device).toString('latin1');
        const body = JSON.stringify({ email: tenant.email, password: tenant.password });
        const lines = [`User-Agent: ${latin1}`, 'Content-Type: application/json', `Content-Length: ${body.length}`];
        expect((await caller().raw('POST', '/admin/login', lines, body)).status).toBe(200);
      }
      const { json } = await caller().request('GET', '/admin/sessions', { token: tenant.token });
      const devices: string[] = json.items.map((session: { device: string }) => session.device);
      expect(devices.length).toBeGreaterThan(3);
      for (const device of devices) expect(device.isWellFormed()).toBe(true);
    });

    test('has an id of the service’s own; the caller’s stands beside it in the log alone', async () => {
      const own = `caller-${newName('x').slice(2)}`;
      const headers = { 'X-Request-Id': own };
      const first = await caller().request('GET', '/admin/me', { headers });
      const second = await caller().request('GET', '/admin/me', { headers });
      const ids = [first, second].map((answer) => answer.headers.get('X-Request-Id'));
      expect(new Set([...ids, own]).size).toBe(3);
      expect([first.json.request_id, second.json.request_id]).toEqual(ids);
      const logged = () =>
        service()
          .logs()
          .split('\n')
          .filter((line) => line.includes(own));
      const lines = await until('both in the log', () => (logged().length === 2 ? logged() : undefined));
      for (const [index, line] of lines.entries()) {
        expect(line).toContain(`"request_id":"${ids[index]}"`);
        expect(line).toContain(`"client_request_id":"${own}"`);
      }
    });
  });
}
