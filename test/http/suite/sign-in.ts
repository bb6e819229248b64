import { describe, expect, test } from 'vitest';
import type { Tenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem, sameForAll } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

export function signInSuite({ caller, mailbox }: TestEnv): void {
  describe('a sign-in', () => {
    test('answers tokens, the admin and the organization, and nothing else', async () => {
      const tenant = await caller().tenant();
      const { status, json, headers } = await caller().login({ ...tenant, email: tenant.email.toUpperCase() });
      expect(status).toBe(200);
      expect(headers.get('Cache-Control')).toContain('no-store');
      expect(json).toEqual({
        access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        token_type: 'bearer',
        expires_in: 3600,
        refresh_token: expect.stringMatching(/^\S{32,}$/),
        admin_id: tenant.adminId,
        admin_email: tenant.email,
        organization: tenant.name,
      });
    });

    test('is refused with the same words for a wrong password, an unknown email and another organization', async () => {
      const [tenant, stranger] = await Promise.all([caller().tenant(), caller().tenant()]);
      const password = caller().newPassword();
      const wrongPassword = await caller().login({ ...tenant, password });
      expectProblem(wrongPassword, 401, 'invalid_credentials');
      const others = [
        await caller().login({ email: newEmail(), password }),
        await caller().login(tenant, stranger.name),
        await caller().login(tenant, newName('Nobody')),
        await caller().login({ ...tenant, password }, tenant.name),
      ];
      expect(others.map(sameForAll)).toEqual(others.map(() => sameForAll(wrongPassword)));
    });

    test('that names the organization tells the accounts of one email apart', async () => {
      const email = newEmail();
      const [one, two] = [newName(), newName()];
      const [password, otherPassword] = [caller().newPassword(), caller().newPassword()];
      expect((await caller().create(one, { email, password })).status).toBe(200);
      expect((await caller().create(two, { email, password: otherPassword })).status).toBe(200);
      expect((await caller().login({ email, password }, one.toUpperCase())).json.organization).toBe(one);
      expect((await caller().login({ email, password: otherPassword }, two)).json.organization).toBe(two);
      expectProblem(await caller().login({ email, password }, two), 401, 'invalid_credentials');
    });

    test('that fits several verified accounts is 409 with their organizations, and is settled by naming one', async () => {
      const credentials = { email: newEmail(), password: caller().newPassword() };
      const names = [newName(), newName()];
      for (const [index, name] of names.entries()) {
        expect((await caller().create(name, credentials)).status).toBe(200);
        const token = tokenIn(await awaitMail(mailbox(), credentials.email, /^Confirm your email/, index + 1));
        expect((await caller().request('POST', '/admin/verify-email', { body: { token } })).status).toBe(204);
      }
      const answer = await caller().login(credentials);
      expectProblem(answer, 409, 'organization_required');
      expect([...answer.json.organizations].sort()).toEqual([...names].sort());
      expect((await caller().login(credentials, names[1])).json.organization).toBe(names[1]);
    });

    test('goes to the owner where others register the email, and tells nobody that they or the owner did', async () => {
      const [owned, baited, bait] = [await caller().tenant(), await caller().tenant(), newEmail()];
      const password = caller().newPassword();
      for (const email of [baited.email, bait]) {
        const name = newName('Bait');
        expect((await caller().create(name, { email, password })).status).toBe(200);
        // The bait knows the caller now.
        expect((await caller().login({ email, password }, name)).status).toBe(200);
      }
      const wrong = caller().newPassword();
      const seen: unknown[] = [];
      for (const email of [newEmail(), owned.email, baited.email, bait]) {
        const answer = await caller().login({ email, password: wrong });
        expectProblem(answer, 401, 'invalid_credentials');
        seen.push([sameForAll(answer), [...answer.headers.keys()].sort(), answer.headers.get('RateLimit-Policy')]);
      }
      expect(seen).toEqual(seen.map(() => seen[0]));
      expect((await caller().login({ email: baited.email, password })).status).toBe(401);
      expect((await caller().login(baited)).json.organization).toBe(baited.name);
    });

    test.each([
      [
        'verified the email',
        async ({ email }: Tenant) => {
          const token = tokenIn(await awaitMail(mailbox(), email, /^Confirm your email/));
          return caller().request('POST', '/admin/verify-email', { body: { token } });
        },
      ],
      [
        'reset the password',
        async ({ email, password }: Tenant) => {
          await caller().request('POST', '/admin/password/forgot', { body: { email } });
          const token = tokenIn(await awaitMail(mailbox(), email, /^Choose a new password/));
          return caller().request('POST', '/admin/password/reset', { body: { token, password } });
        },
      ],
      [
        'changed the password',
        async ({ email, password }: Tenant) => {
          const { access_token: token } = (await caller().login({ email, password })).json;
          const body = { current_password: password, new_password: password };
          return caller().request('POST', '/admin/password/change', { token, body });
        },
      ],
      [
        'changed the password with PUT /org/update',
        async ({ email, password }: Tenant) => {
          const { access_token: token } = (await caller().login({ email, password })).json;
          return caller().update(token, { password });
        },
      ],
    ])('has a budget of its own on the device that has %s', async (_, prove) => {
      const tenant = await caller().tenant();
      const left = async (headers: Readonly<Record<string, string>> = {}) => {
        const body = { email: tenant.email, password: 'not the password' };
        const answer = await caller().request('POST', '/admin/login', { body, headers });
        expectProblem(answer, 401, 'invalid_credentials');
        return Number(/"login-account";r=(\d+)/.exec(answer.headers.get('RateLimit') ?? '')?.[1]);
      };
      expect((await left()) - (await left())).toBe(1);
      const { status, headers } = await prove(tenant);
      expect([200, 204]).toContain(status);
      const cookie = headers.get('Set-Cookie') ?? '';
      expect(cookie).toMatch(
        /^__Secure-tenantry_device_[^;]+; Max-Age=7776000; Path=\/admin\/login; HttpOnly; Secure; SameSite=Strict$/,
      );
      const [byAddress, byDevice] = [await left(), await left({ Cookie: cookie.split(';')[0] ?? '' })];
      // Nobody has drawn on either of them.
      expect(byDevice).toBe(byAddress);
    });

    test('says what is left of its budgets', async () => {
      const { headers } = await caller().login({ email: newEmail(), password: caller().newPassword() });
      expect(headers.get('RateLimit-Policy')).toMatch(/"login-address";q=\d+;w=60, "login-account";q=\d+;w=60/);
      expect(headers.get('RateLimit')).toMatch(/"login-address";r=\d+;t=\d+, "login-account";r=\d+;t=\d+/);
    });
  });
}
