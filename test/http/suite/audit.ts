import { describe, expect, test } from 'vitest';
import { until } from '../../support/deadline.ts';
import { expectProblem } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

/** The organization's log over HTTP. */
export function auditSuite({ caller, service }: TestEnv): void {
  const get = (path: string, token: string, query?: Record<string, string>) =>
    caller().request('GET', path, { token, ...(query !== undefined && { query }) });

  describe('the audit log', () => {
    /** A tenant whose log has three entries: created, signed in, and two failed sign-ins as one. */
    const tenantWithLog = async () => {
      const tenant = await caller().tenant();
      const login = await caller().login(tenant);
      for (const _ of ['one', 'two']) {
        await caller().login({ ...tenant, password: caller().newPassword() }, tenant.name);
      }
      return { tenant, token: login.json.access_token, requestId: login.headers.get('X-Request-Id') };
    };

    test('says who did what, the newest first', async () => {
      const { tenant, token, requestId } = await tenantWithLog();
      const { status, json, text, headers } = await get('/org/audit', token);
      expect(status, text).toBe(200);
      expect(headers.get('Cache-Control')).toBe('no-store');
      const entries = json.items.map((item: Record<string, unknown>) => [
        item['action'],
        item['actor'],
        item['target'],
      ]);
      expect(entries).toEqual([
        ['session.sign_in_failed', 'anonymous', tenant.adminId],
        ['session.signed_in', tenant.adminId, tenant.adminId],
        ['organization.created', tenant.adminId, tenant.organizationId],
      ]);
      expect(json.next_cursor).toBeNull();
      expect(json.items[0]).toMatchObject({ sequence: 3, outcome: 'failure', count: 2 });
      expect(json.items[1]).toMatchObject({ sequence: 2, outcome: 'success', count: 1, request_id: requestId });
    });

    test('holds no email, no name and no password', async () => {
      const { tenant, token } = await tenantWithLog();
      const { text } = await get('/org/audit', token);
      expect([tenant.email, tenant.name, tenant.password].filter((word) => text.includes(word))).toEqual([]);
    });

    test('is listed in pages, by action and by time', async () => {
      const { token } = await tenantWithLog();
      const { json } = await get('/org/audit', token);
      const first = await get('/org/audit', token, { limit: '2' });
      expect(first.json.items).toEqual(json.items.slice(0, 2));
      const next = await get('/org/audit', token, { limit: '2', cursor: first.json.next_cursor });
      expect(next.json).toEqual({ items: json.items.slice(2), next_cursor: null });
      const created = await get('/org/audit', token, { action: 'organization.created' });
      expect(created.json.items).toEqual(json.items.slice(2));
      const before = await get('/org/audit', token, { to: '2020-01-01T00:00:00Z' });
      expect(before.json).toEqual({ items: [], next_cursor: null });
      const since = await get('/org/audit', token, { from: json.items[1].at });
      expect(since.json.items).toEqual(json.items.slice(0, 2));
    });

    test('is valid, also after twenty events at once', async () => {
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
      expect(Object.keys(check).sort()).toEqual(['broken', 'from', 'head', 'next_cursor', 'to', 'valid']);
      expect(check).toMatchObject({ valid: true, from: 1, to: 4, broken: null, next_cursor: null });
      const { json: log } = await get('/org/audit', token, { limit: '1' });
      expect(check.head).toEqual({ sequence: 4, seal: log.items[0].seal });
    });

    test('is the organization’s own', async () => {
      const [one, other] = await Promise.all([caller().signedInTenant(), caller().signedInTenant()]);
      const { json } = await get('/org/audit', one.token);
      const text = JSON.stringify(json);
      expect(text).toContain(one.organizationId);
      expect(text).not.toContain(other.organizationId);
      for (const path of ['/org/audit', '/org/audit/verify']) {
        expectProblem(await caller().request('GET', path), 401, 'invalid_token');
      }
    });

    test('is beside the service’s own log, which has the reason of a refusal and the admin', async () => {
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

    test.each([
      ['/org/audit', ['action=made.up', 'from=yesterday', 'cursor=0', 'limit=101', 'x=y']],
      ['/org/audit/verify', ['cursor=-1', 'cursor=1000', 'x=y']],
    ])('refuses wrong queries of %s', async (path, queries) => {
      const { token } = await caller().signedInTenant();
      for (const query of queries) expectProblem(await get(`${path}?${query}`, token), 422, 'invalid_input');
    });
  });
}
