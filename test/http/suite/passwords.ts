import { describe, expect, test } from 'vitest';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import type { Cell } from './cell.ts';

const FIVE_MEGABYTES = 5 * 1024 * 1024;

export function passwordPromises({ caller }: Cell): void {
  const change = (token: string, body: Readonly<Record<string, unknown>>) =>
    caller().request('POST', '/admin/password/change', { token, body });

  describe('a password', () => {
    test.each([
      ['72 bytes', 'x'.repeat(72)],
      ['72 bytes of which the last two are one letter', `${'x'.repeat(70)}é`],
      ['72 bytes of which the last four are one character', `${'x'.repeat(68)}\u{1F600}`],
    ])('of %s opens its account, and no longer one that begins with it does', async (_, password) => {
      const email = newEmail();
      expect((await caller().create(newName(), { email, password })).status).toBe(200);
      for (const longer of [`${password}x`, `${password}é`, `${password}\0`]) {
        expectProblem(await caller().login({ email, password: longer }), 401, 'invalid_credentials');
        expectProblem(await caller().create(newName(), { password: longer }), 422, 'invalid_input');
      }
      expect((await caller().login({ email, password })).status).toBe(200);
    });

    test('does not end at a NUL', async () => {
      const tenant = await caller().tenant();
      for (const password of [`${tenant.password}\0`, `${tenant.password}\0x`]) {
        expectProblem(await caller().login({ ...tenant, password }), 401, 'invalid_credentials');
      }
    });

    test('of 5 MB is refused unread', async () => {
      const tenant = await caller().tenant();
      const password = tenant.password.padEnd(FIVE_MEGABYTES, 'x');
      const login = { email: tenant.email, password };
      expectProblem(await caller().request('POST', '/admin/login', { body: login }), 413, 'body_too_large');
      const body = { organization_name: newName(), ...login };
      expectProblem(await caller().request('POST', '/org/create', { body }), 413, 'body_too_large');
    });

    test('that many use, or that is its owner’s name, is refused with advice, wherever one is chosen', async () => {
      const tenant = await caller().signedInTenant(newName('Big Corporation'));
      const own = [tenant.name.toUpperCase(), tenant.email, tenant.email.split('@')[0] ?? ''];
      for (const password of ['12345678', 'PassWord123', 'iloveyou1', ...own]) {
        const answers = [
          await caller().create(tenant.name, { email: tenant.email, password }),
          await caller().update(tenant.token, { password }),
          await change(tenant.token, { current_password: tenant.password, new_password: password }),
        ];
        for (const answer of answers) {
          expectProblem(answer, 422, 'invalid_input');
          expect(answer.json.errors[0].path).toMatch(/^(new_)?password$/);
          expect(answer.json.errors[0].message).toContain('Use several words');
        }
      }
    });

    test('is changed with the current one, which ends the other sessions', async () => {
      const tenant = await caller().signedInTenant();
      const other = (await caller().login(tenant)).json;
      const new_password = caller().newPassword();
      const guess = await change(tenant.token, { current_password: caller().newPassword(), new_password });
      expectProblem(guess, 403, 'reauthentication_required');
      expect((await caller().request('GET', '/admin/me', { token: tenant.token })).status).toBe(200);

      const changed = await change(tenant.token, { current_password: tenant.password, new_password });
      expect(changed.status, changed.text).toBe(200);
      expect(Object.keys(changed.json).sort()).toEqual(['access_token', 'expires_in', 'refresh_token', 'token_type']);
      const me = await caller().request('GET', '/admin/me', { token: changed.json.access_token });
      expect(me.json.admin_id).toBe(tenant.adminId);
      for (const token of [tenant.token, other.access_token]) {
        expectProblem(await caller().request('GET', '/admin/me', { token }), 401, 'invalid_token');
      }
      const refresh = { body: { refresh_token: other.refresh_token } };
      expectProblem(await caller().request('POST', '/admin/refresh', refresh), 401, 'invalid_token');
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expect((await caller().login({ ...tenant, password: new_password })).status).toBe(200);
      expectProblem(await change('', { current_password: new_password, new_password }), 401, 'invalid_token');
    });
  });

  describe('a sign-in', () => {
    test('says what is left of its budgets', async () => {
      const { headers } = await caller().login({ email: newEmail(), password: caller().newPassword() });
      expect(headers.get('RateLimit-Policy')).toMatch(/"login-address";q=\d+;w=60, "login-account";q=\d+;w=60/);
      expect(headers.get('RateLimit')).toMatch(/"login-address";r=\d+;t=\d+, "login-account";r=\d+;t=\d+/);
    });
  });
}
