import { describe, expect, test } from 'vitest';
import type { SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

const FIVE_MEGABYTES = 5 * 1024 * 1024;

export function passwordSuite({ caller }: TestEnv): void {
  const change = (token: string, current_password: string, new_password: string) =>
    caller().request('POST', '/admin/password/change', { token, body: { current_password, new_password } });
  const me = (token: string) => caller().request('GET', '/admin/me', { token });

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

    test.each(['/admin/login', '/org/create'])('of 5 MB is refused unread by %s', async (path) => {
      const credentials = { email: newEmail(), password: 'x'.repeat(FIVE_MEGABYTES) };
      const body = path === '/org/create' ? { organization_name: newName(), ...credentials } : credentials;
      expectProblem(await caller().request('POST', path, { body }), 413, 'body_too_large');
    });

    test.each([
      ['a create', (tenant: SignedInTenant, password: string) => caller().create(tenant.name, { ...tenant, password })],
      ['an update', ({ token }: SignedInTenant, password: string) => caller().update(token, { password })],
      ['a change', (tenant: SignedInTenant, password: string) => change(tenant.token, tenant.password, password)],
    ])('that many use, or that is its owner’s name or email, is refused with advice by %s', async (_, choose) => {
      const tenant = await caller().signedInTenant(newName('Big Corporation'));
      const own = [tenant.name.toUpperCase(), tenant.email, tenant.email.split('@')[0] ?? ''];
      for (const password of ['12345678', 'PassWord123', 'iloveyou1', ...own]) {
        const answer = await choose(tenant, password);
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path).toMatch(/^(new_)?password$/);
        expect(answer.json.errors[0].message).toContain('Use several words');
      }
    });
  });

  describe('a change of the password', () => {
    test('with the current one answers an access token of the same session', async () => {
      const tenant = await caller().tenant();
      const { json: tokens } = await caller().login(tenant);
      const password = caller().newPassword();
      const changed = await change(tokens.access_token, tenant.password, password);
      expect(changed.status, changed.text).toBe(200);
      expect(Object.keys(changed.json).sort()).toEqual(['access_token', 'expires_in', 'token_type']);
      expect((await me(changed.json.access_token)).json.admin_id).toBe(tenant.adminId);
      const { refresh_token } = tokens;
      expect((await caller().request('POST', '/admin/refresh', { body: { refresh_token } })).status).toBe(200);
      expect((await caller().login({ ...tenant, password })).status).toBe(200);
    });

    test('ends the other sessions, the earlier tokens and the earlier password', async () => {
      const tenant = await caller().signedInTenant();
      const { json: other } = await caller().login(tenant);
      expect((await change(tenant.token, tenant.password, caller().newPassword())).status).toBe(200);
      for (const token of [tenant.token, other.access_token]) expectProblem(await me(token), 401, 'invalid_token');
      const { refresh_token } = other;
      const refreshed = await caller().request('POST', '/admin/refresh', { body: { refresh_token } });
      expectProblem(refreshed, 401, 'invalid_token');
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
    });

    test('with a wrong one is refused, and ends nothing', async () => {
      const tenant = await caller().signedInTenant();
      const guess = await change(tenant.token, caller().newPassword(), caller().newPassword());
      expectProblem(guess, 403, 'reauthentication_required');
      expect((await me(tenant.token)).status).toBe(200);
      expect((await caller().login(tenant)).status).toBe(200);
    });

    test('without a token is refused', async () => {
      const { password } = await caller().tenant();
      expectProblem(await change('', password, caller().newPassword()), 401, 'invalid_token');
    });
  });
}
