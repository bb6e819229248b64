import { describe, expect, test } from 'vitest';
import type { Answer } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { claimsOf, forge } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

/** The part of the OpenAPI document that is read here. */
type Operation = { readonly security?: readonly unknown[]; readonly responses: unknown };

/** What somebody can do who has an access token and nothing else: it never becomes a session. */
export function accessTokenAloneSuite({ service, caller }: TestEnv): void {
  const refresh = (refresh_token: string) => caller().request('POST', '/admin/refresh', { body: { refresh_token } });
  const sessionsOf = async (token: string) => (await caller().request('GET', '/admin/sessions', { token })).json.items;
  const logOf = async (token: string): Promise<{ action: string; request_id: string }[]> =>
    (await caller().request('GET', '/org/audit', { token })).json.items;

  describe('an access token alone', () => {
    test('gets a refresh token from no route', async () => {
      const { json: document } = await caller().request('GET', '/openapi.json');
      const operations = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({ route: `${method} ${path}`, ...operation })),
      );
      const giving = operations.filter(({ responses }) => JSON.stringify(responses).includes('refresh_token'));
      expect(giving.map(({ route }) => route).sort()).toEqual(['post /admin/login', 'post /admin/refresh']);
      expect(giving.flatMap(({ security = [] }) => security)).toEqual([]);
    });

    test('that asks for no change gets nothing, ends nothing and leaves no entry', async () => {
      const tenant = await caller().tenant();
      const [one, two] = [(await caller().login(tenant)).json, (await caller().login(tenant)).json];
      const before = [await sessionsOf(one.access_token), await logOf(one.access_token)];
      const asked = {
        name: { new_organization_name: tenant.name },
        email: { email: tenant.email },
        both: { organization_name: tenant.name, new_organization_name: ` ${tenant.name} `, email: tenant.email },
        password: { email: tenant.email, current_password: tenant.password },
      };
      const { json: metadata } = await caller().get(tenant.name);
      for (const [what, body] of Object.entries(asked)) {
        const { status, json } = await caller().update(one.access_token, body);
        expect([status, json], what).toEqual([200, metadata]);
      }
      expect([await sessionsOf(one.access_token), await logOf(one.access_token)]).toEqual(before);
      for (const { refresh_token } of [one, two]) expect((await refresh(refresh_token)).status).toBe(200);
    });

    test('ends when it would have ended, whatever it changes, and the log has every change', async () => {
      const tenant = await caller().tenant();
      const { json: tokens } = await caller().login(tenant);
      const claims = claimsOf(tokens.access_token);
      // A token that has ten minutes left.
      const exp = Math.floor(Date.now() / 1000) + 600;
      const lifetime = Number(claims['exp']) - Number(claims['iat']);
      const first = forge(tokens.access_token, { ...claims, iat: exp - lifetime, exp }, service().jwtSecret);
      const started = (await logOf(first)).length;

      const [password, last] = [caller().newPassword(), caller().newPassword()];
      const change = (token: string, current_password: string, new_password: string) =>
        caller().request('POST', '/admin/password/change', { token, body: { current_password, new_password } });
      const changes: readonly [string, (token: string) => Promise<Answer>][] = [
        ['organization.renamed', (token) => caller().update(token, { new_organization_name: newName() })],
        ['admin.email_changed', (token) => caller().update(token, { email: newEmail() })],
        ['admin.password_changed', (token) => caller().update(token, { password })],
        ['admin.password_changed', (token) => change(token, password, last)],
        ['organization.renamed', (token) => caller().update(token, { new_organization_name: newName() })],
      ];
      let token = first;
      const expected: { action: string; request_id: string | null }[] = [];
      for (const [action, make] of changes) {
        const { status, json, text, headers } = await make(token);
        expect(status, text).toBe(200);
        expect(Object.keys(json), action).not.toContain('refresh_token');
        expect(claimsOf(json.access_token), action).toMatchObject({ exp, sid: claims['sid'] });
        expect(json.expires_in, action).toBeLessThanOrEqual(600);
        expected.unshift({ action, request_id: headers.get('X-Request-Id') });
        token = json.access_token;
      }
      const log = await logOf(token);
      expect(log.slice(0, log.length - started)).toMatchObject(expected);
      expect((await refresh(tokens.refresh_token)).status).toBe(200);
    });

    test('is told the budgets that its changes draw on', async () => {
      const { token } = await caller().signedInTenant();
      const { headers } = await caller().update(token, { new_organization_name: newName(), email: newEmail() });
      for (const header of ['RateLimit-Policy', 'RateLimit']) {
        const names = [...(headers.get(header) ?? '').matchAll(/"([^"]+)";/g)].map(([, name]) => name);
        expect(names.sort(), header).toEqual(['change', 'change-address', 'mail', 'rename']);
      }
    });
  });
}
