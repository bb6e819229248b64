import { describe, expect, test } from 'vitest';
import { expectProblem } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

const ROUTES = [
  ['/org/create', 'POST'],
  ['/org/get', 'GET'],
  ['/org/update', 'PUT'],
  ['/org/delete', 'DELETE'],
  ['/admin/login', 'POST'],
  ['/openapi.json', 'GET'],
  ['/health/live', 'GET'],
  ['/health/ready', 'GET'],
] as const;

const UNKNOWN = ['/', '/org', '/org/create/', '/org/list', '/admin', '/.env', '/ORG/GET', '/%00', '/%ff'];

export function surfaceSuite({ caller }: TestEnv): void {
  describe('the surface', () => {
    test.each(UNKNOWN)('answers 404 for %s', async (path) => {
      for (const method of METHODS) expectProblem(await caller().request(method, path), 404, 'not_found');
    });

    test.each(ROUTES)('answers 405 for another method of %s, and says that %s is allowed', async (path, allowed) => {
      for (const method of METHODS.filter((candidate) => candidate !== allowed)) {
        const answer = await caller().request(method, path);
        expectProblem(answer, 405, 'method_not_allowed');
        expect(answer.headers.get('Allow')?.split(', ')).toContain(allowed);
        expect(answer.headers.get('Allow')?.split(', ')).not.toContain(method);
      }
    });

    test.each([undefined, 'my-own-request-id', 'x'.repeat(5000), 'a b', '{"$ne":null}', '<script>'])(
      'gives every answer an id of its own where the caller sends %s',
      async (sent) => {
        const headers = sent === undefined ? {} : { 'X-Request-Id': sent };
        const send = async () => (await caller().request('GET', '/health/live', { headers })).headers;
        const ids = [(await send()).get('X-Request-Id'), (await send()).get('X-Request-Id')];
        expect(new Set([...ids, sent]).size).toBe(3);
      },
    );

    test.each(['/health/live', '/health/ready'])('answers 200 for %s', async (path) => {
      const { status, json } = await caller().request('GET', path);
      expect([status, json]).toEqual([200, { status: 'ok' }]);
    });

    test('is described in OpenAPI 3.1', async () => {
      const { status, json } = await caller().request('GET', '/openapi.json');
      expect([status, json.openapi]).toEqual([200, expect.stringMatching(/^3\.1\./)]);
    });
  });
}
