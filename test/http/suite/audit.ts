import { describe, expect, test } from 'vitest';
import { until } from '../../support/deadline.ts';
import { expectProblem } from '../../support/problem.ts';
import type { Cell } from './cell.ts';

/** The organization's log over HTTP. */
export function auditPromises({ caller, service }: Cell): void {
  const get = (path: string, token: string, query: Record<string, string> = {}) =>
    caller().request('GET', path, { token, query });

  describe('the audit log', () => {
    test('says who did what, the newest first, by action and by time, in pages', async () => {
      const tenant = await caller().signedInTenant();
      await caller().login({ ...tenant, password: caller().newPassword() }, tenant.name);
      await caller().login({ ...tenant, password: caller().newPassword() }, tenant.name);
      const { status, json, text, headers } = await get('/org/audit', tenant.token);
      expect(status, text).toBe(200);
      expect(headers.get('Cache-Control')).toBe('no-store');
      expect(json.next_cursor).toBeNull();
      const said = json.items.map((item: Record<string, unknown>) => [item['action'], item['actor'], item['target']]);
      expect(said).toEqual([
        ['session.sign_in_failed', 'anonymous', tenant.adminId],
        ['session.signed_in', tenant.adminId, tenant.adminId],
        ['organization.created', tenant.adminId, tenant.organizationId],
      ]);
      expect(json.items[0]).toMatchObject({ sequence: 3, outcome: 'failure', count: 2 });
      const login = caller().calls.find(({ answer }) => answer.json?.access_token === tenant.token);
      expect(json.items[1]).toMatchObject({
        sequence: 2,
        outcome: 'success',
        count: 1,
        request_id: login?.answer.headers.get('X-Request-Id'),
      });
      for (const word of [tenant.email, tenant.name, tenant.password]) expect(text.includes(word)).toBe(false);

      const first = await get('/org/audit', tenant.token, { limit: '2' });
      expect(first.json.items).toEqual(json.items.slice(0, 2));
      const next = await get('/org/audit', tenant.token, { limit: '2', cursor: first.json.next_cursor });
      expect(next.json).toEqual({ items: json.items.slice(2), next_cursor: null });
      const created = await get('/org/audit', tenant.token, { action: 'organization.created' });
      expect(created.json.items).toEqual(json.items.slice(2));
      const before = await get('/org/audit', tenant.token, { to: '2020-01-01T00:00:00Z' });
      expect(before.json).toEqual({ items: [], next_cursor: null });
      const since = await get('/org/audit', tenant.token, { from: json.items[1].at });
      expect(since.json.items).toEqual(json.items.slice(0, 2));
    });

    test('is whole, also after twenty events at once', async () => {
      const { token, ...tenant } = await caller().signedInTenant();
      const { json } = await caller().login(tenant);
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          index % 2 === 0
            ? get('/org/audit', token)
            : caller().request('POST', '/admin/logout', { body: { refresh_token: json.refresh_token } }),
        ),
      );
      const { status, json: check, text } = await get('/org/audit/verify', token);
      expect(status, text).toBe(200);
      expect(check).toMatchObject({ whole: true, from: 1, to: 4, broken: null, next_cursor: null });
      const { json: log } = await get('/org/audit', token, { limit: '1' });
      expect(check.head).toEqual({ sequence: 4, seal: log.items[0].seal });
    });

    test('is its organization’s own', async () => {
      const [one, other] = [await caller().signedInTenant(), await caller().signedInTenant()];
      const { json } = await get('/org/audit', one.token);
      const text = JSON.stringify(json);
      expect(text).toContain(one.organizationId);
      expect(text).not.toContain(other.organizationId);
      for (const path of ['/org/audit', '/org/audit/verify']) {
        expectProblem(await caller().request('GET', path), 401, 'invalid_token');
      }
    });

    test('is beside the service’s own log, which says of a refusal why, and to whom', async () => {
      const tenant = await caller().signedInTenant();
      const answers = [
        [await get('/org/audit', `${tenant.token}x`), 401, 'invalid_token'],
        [await caller().update(tenant.token, { organization_name: 'Not Mine', email: tenant.email }), 403, 'forbidden'],
      ] as const;
      for (const [answer, status, code] of answers) {
        const id = answer.headers.get('X-Request-Id') ?? '';
        const line = await until('the refusal to be in the log', async () =>
          service()
            .logs()
            .split('\n')
            .find((text) => text.includes('"event":"request"') && text.includes(id)),
        );
        const said = JSON.parse(line.slice(line.indexOf('{')));
        expect(said).toMatchObject({ status, code, address: expect.stringMatching(/./) });
        if (status === 403) {
          expect(said).toMatchObject({ admin_id: tenant.adminId, organization_id: tenant.organizationId });
        }
      }
    });

    test('refuses what it does not know', async () => {
      const { token } = await caller().signedInTenant();
      for (const query of [
        { action: 'made.up' },
        { from: 'yesterday' },
        { cursor: '0' },
        { limit: '101' },
        { x: 'y' },
      ]) {
        expectProblem(await get('/org/audit', token, query as Record<string, string>), 422, 'invalid_input');
      }
      expectProblem(await get('/org/audit/verify', token, { cursor: '-1' }), 422, 'invalid_input');
    });
  });
}
