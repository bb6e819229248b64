import { describe, expect, test } from 'vitest';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { claimsOf, forge } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

const SIXTEEN_MINUTES = 16 * 60;

export function tokenSuite({ service, caller }: TestEnv): void {
  const me = (token: string) => caller().request('GET', '/admin/me', { token });
  const refresh = (refresh_token: string) => caller().request('POST', '/admin/refresh', { body: { refresh_token } });

  describe('an access token', () => {
    test('has the claims of the contract', async () => {
      const tenant = await caller().signedInTenant();
      const claims = claimsOf(tenant.token);
      expect(claims).toMatchObject({
        admin_id: tenant.adminId,
        sub: tenant.adminId,
        admin_email: tenant.email,
        organization: tenant.name,
        org_id: tenant.organizationId,
        epoch: expect.any(Number),
        auth_time: expect.any(Number),
        sid: expect.any(String),
        jti: expect.any(String),
      });
      expect(Number(claims['exp']) - Number(claims['iat'])).toBe(3600);
    });

    test('says which admin it belongs to', async () => {
      const tenant = await caller().signedInTenant();
      const { status, json } = await me(tenant.token);
      expect(status).toBe(200);
      expect(json).toMatchObject({ admin_id: tenant.adminId, admin_email: tenant.email, organization: tenant.name });
    });

    test('survives a rename, and then reads, renames and deletes', async () => {
      const tenant = await caller().signedInTenant();
      const name = newName();
      expect((await caller().update(tenant.token, { new_organization_name: newName() })).status).toBe(200);
      expect((await me(tenant.token)).status).toBe(200);
      expect((await caller().update(tenant.token, { new_organization_name: name })).status).toBe(200);
      expect((await caller().remove(tenant.token, name)).status).toBe(200);
    });

    test('ends with the organization', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      expectProblem(await me(tenant.token), 401, 'invalid_token');
      expectProblem(await caller().update(tenant.token, { new_organization_name: newName() }), 401, 'invalid_token');
      expectProblem(await caller().remove(tenant.token, newName()), 401, 'invalid_token');
    });

    test('does nothing to the next organization of the name', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      const next = await caller().tenant(tenant.name);
      const update = { organization_name: tenant.name, new_organization_name: newName() };
      expectProblem(await caller().update(tenant.token, update), 401, 'invalid_token');
      expectProblem(await caller().remove(tenant.token, tenant.name), 401, 'invalid_token');
      expect((await caller().get(tenant.name)).json.organization_id).toBe(next.organizationId);
    });

    test('ends with another password or email, and only the new ones sign in', async () => {
      const tenant = await caller().signedInTenant();
      const next = { email: newEmail(), password: caller().newPassword() };
      const changed = await caller().update(tenant.token, next);
      expect(changed.status, changed.text).toBe(200);
      expectProblem(await me(tenant.token), 401, 'invalid_token');
      expect((await me(changed.json.access_token)).json.admin_email).toBe(next.email);
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expectProblem(await caller().login({ ...next, password: tenant.password }), 401, 'invalid_credentials');
      expectProblem(await caller().login({ ...next, email: tenant.email }), 401, 'invalid_credentials');
      expect((await caller().login(next)).status).toBe(200);
    });
  });

  describe('a refresh token', () => {
    test('is good once, and presenting a spent one ends the session', async () => {
      const tenant = await caller().tenant();
      const first = (await caller().login(tenant)).json;
      const second = await refresh(first.refresh_token);
      expect(second.status).toBe(200);
      expect((await me(second.json.access_token)).json.admin_id).toBe(tenant.adminId);
      expectProblem(await refresh(first.refresh_token), 401, 'invalid_token');
      expectProblem(await refresh(second.json.refresh_token), 401, 'invalid_token');
    });

    test('is exchanged by exactly one of ten that ask at once', async () => {
      const { refresh_token } = (await caller().login(await caller().tenant())).json;
      const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(refresh_token)));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 9 }, () => 401)]);
    });

    test('that was made up is refused, and ends nothing', async () => {
      const { refresh_token } = (await caller().login(await caller().tenant())).json;
      const [id, family = ''] = refresh_token.split('.');
      for (const made of [`${id}.${'0'.repeat(family.length)}.${'0'.repeat(64)}`, `${id}.x`, id, 'x']) {
        expectProblem(await refresh(made), 401, 'invalid_token');
      }
      expect((await refresh(refresh_token)).status).toBe(200);
    });

    test('ends with a logout, and so does the access token', async () => {
      const { access_token, refresh_token } = (await caller().login(await caller().tenant())).json;
      for (const _ of ['once', 'again']) {
        const answer = await caller().request('POST', '/admin/logout', { body: { refresh_token } });
        expect([answer.status, answer.text]).toEqual([204, '']);
      }
      expectProblem(await refresh(refresh_token), 401, 'invalid_token');
      expectProblem(await me(access_token), 401, 'invalid_token');
    });
  });

  describe('another email or password', () => {
    /** A token of the tenant, from a sign-in of 16 minutes ago. */
    const staleToken = (token: string) => {
      const claims = claimsOf(token);
      const auth_time = Number(claims['auth_time']) - SIXTEEN_MINUTES;
      return forge(token, { ...claims, auth_time }, service().jwtSecret);
    };

    test.each([
      ['password', () => ({ password: caller().newPassword() })],
      ['email', () => ({ email: newEmail() })],
      ['name and password', () => ({ new_organization_name: newName(), password: caller().newPassword() })],
    ])('needs a sign-in of the last 15 minutes, or the current password: %s', async (_, change) => {
      const tenant = await caller().signedInTenant();
      const token = staleToken(tenant.token);
      expectProblem(await caller().update(token, change()), 403, 'reauthentication_required');
      const wrong = { ...change(), current_password: caller().newPassword() };
      expectProblem(await caller().update(token, wrong), 403, 'reauthentication_required');
      expect((await caller().get(tenant.name)).json.collection_name).toBe(tenant.collection);
      expect((await caller().login(tenant)).status).toBe(200);

      const changed = await caller().update(token, { ...change(), current_password: tenant.password });
      expect(changed.status, changed.text).toBe(200);
    });

    test('is needed for neither to rename', async () => {
      const tenant = await caller().signedInTenant();
      const renamed = await caller().update(staleToken(tenant.token), { new_organization_name: newName() });
      expect(renamed.status, renamed.text).toBe(200);
    });
  });
}
