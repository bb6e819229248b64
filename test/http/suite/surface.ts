import { describe, expect, test } from 'vitest';
import { expectProblem } from '../../support/problem.ts';
import type { Cell } from './cell.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

const ROUTES: Readonly<Record<string, string>> = {
  '/org/create': 'POST',
  '/org/get': 'GET',
  '/org/update': 'PUT',
  '/org/delete': 'DELETE',
  '/admin/login': 'POST',
  '/openapi.json': 'GET',
  '/health/live': 'GET',
  '/health/ready': 'GET',
};

export function surfacePromises({ caller }: Cell): void {
  describe('the surface', () => {
    test('answers 404 for an address that is not there', async () => {
      for (const path of ['/', '/org', '/org/create/', '/org/list', '/admin', '/.env', '/ORG/GET', '/%00', '/%ff']) {
        for (const method of METHODS) expectProblem(await caller().request(method, path), 404, 'not_found');
      }
    });

    test('answers 405 for another method, and says which are allowed', async () => {
      for (const [path, right] of Object.entries(ROUTES)) {
        for (const method of METHODS.filter((candidate) => candidate !== right)) {
          const answer = await caller().request(method, path);
          expectProblem(answer, 405, 'method_not_allowed');
          expect(answer.headers.get('Allow')?.split(', ')).toContain(right);
          expect(answer.headers.get('Allow')?.split(', ')).not.toContain(method);
        }
      }
    });

    test('gives every answer an id of its own, whatever id the caller sends', async () => {
      const ids = new Set<string | null>();
      for (const sent of [undefined, 'my-own-request-id', 'x'.repeat(5000), 'a b', '{"$ne":null}', '<script>']) {
        const headers = sent === undefined ? {} : { 'X-Request-Id': sent };
        const { status, headers: got } = await caller().request('GET', '/health/live', { headers });
        expect(status).toBe(200);
        ids.add(got.get('X-Request-Id'));
      }
      expect(ids.size).toBe(6);
    });

    test('says that it is alive and ready', async () => {
      for (const path of ['/health/live', '/health/ready']) {
        const { status, json } = await caller().request('GET', path);
        expect([status, json]).toEqual([200, { status: 'ok' }]);
      }
    });
  });
}
