import { describe, expect, test } from 'vitest';
import { newEmail } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem } from '../../support/problem.ts';
import { codeOf, setUpSecondFactor } from '../../support/second-factor.ts';
import { claimsOf, forge } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

/** A sign-in is recent for a quarter of an hour. */
const STALE_SECONDS = 16 * 60;

export function secondFactorSuite({ service, caller, mailbox }: TestEnv): void {
  const remove = (token: string, current_password: string, code: string) =>
    caller().request('DELETE', '/admin/second-factor', { token, body: { current_password, code } });
  const me = (token: string) => caller().request('GET', '/admin/me', { token });

  describe('a second factor', () => {
    test('is in force from its first code on, and asked for after the correct password alone', async () => {
      const tenant = await caller().signedInTenant();
      const other = await caller().tokenFor(tenant);
      expect((await me(tenant.token)).json.second_factor).toBe(false);
      const set = await setUpSecondFactor(caller(), tenant);
      expect(set.status, set.text).toBe(200);
      expect(new Set(set.json.recovery_codes).size).toBe(10);
      for (const ended of [tenant.token, other]) expectProblem(await me(ended), 401, 'invalid_token');
      expect((await me(set.json.access_token)).json.second_factor).toBe(true);
      await awaitMail(mailbox(), tenant.email, /^Your account has a second factor/);

      expectProblem(await caller().login(tenant), 401, 'second_factor_required');
      const guess = { ...tenant, password: caller().newPassword() };
      expectProblem(await caller().login(guess), 401, 'invalid_credentials');
      // Of the next step: the present one's is used.
      const code = codeOf(set.secret, { steps: 1 });
      expectProblem(await caller().login({ ...guess, code }), 401, 'invalid_credentials');
      const signedIn = await caller().login({ ...tenant, code });
      expect(signedIn.status, signedIn.text).toBe(200);
      expectProblem(await caller().login({ ...tenant, code }), 401, 'invalid_credentials');
    });

    test('takes each recovery code once, and ends with the password and a code', async () => {
      const tenant = await caller().signedInTenant();
      const { json } = await setUpSecondFactor(caller(), tenant);
      const [first, second] = json.recovery_codes;
      const token = await caller().tokenFor({ ...tenant, code: first.toUpperCase() });
      expectProblem(await caller().login({ ...tenant, code: first }), 401, 'invalid_credentials');

      expectProblem(await remove(token, caller().newPassword(), second), 403, 'reauthentication_required');
      expectProblem(await remove(token, tenant.password, first), 403, 'reauthentication_required');
      const removed = await remove(token, tenant.password, second);
      expect(removed.status, removed.text).toBe(200);
      expectProblem(await me(json.access_token), 401, 'invalid_token');
      expect((await me(removed.json.access_token)).json.second_factor).toBe(false);
      expect((await caller().login(tenant)).status).toBe(200);
      await awaitMail(mailbox(), tenant.email, /^Your account has no second factor/);
    });

    test('of somebody else is removed by the token of the notice, once', async () => {
      const tenant = await caller().signedInTenant();
      const { json } = await setUpSecondFactor(caller(), tenant);
      expect((await me(json.access_token)).json.recovery_codes_left).toBe(10);
      const token = tokenIn(await awaitMail(mailbox(), tenant.email, /^Your account has a second factor/));
      const post = (path: string, body: unknown) => caller().request('POST', path, { body });
      expect((await post('/admin/undo', { token })).status).toBe(204);
      expectProblem(await post('/admin/undo', { token }), 401, 'invalid_one_time_token');
      expectProblem(await me(json.access_token), 401, 'invalid_token');
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expect((await post('/admin/password/forgot', { email: tenant.email })).status).toBe(202);
      const password = caller().newPassword();
      const reset = { token: tokenIn(await awaitMail(mailbox(), tenant.email, /^Choose/)), password };
      expect((await post('/admin/password/reset', reset)).status).toBe(204);
      const signedIn = await caller().login({ ...tenant, password });
      expect(signedIn.status, signedIn.text).toBe(200);
      const { json: admin } = await me(signedIn.json.access_token);
      expect(admin.second_factor).toBe(false);
      expect(admin).not.toHaveProperty('recovery_codes_left');
    });

    test('is set up with the password, by one secret at a time', async () => {
      const tenant = await caller().signedInTenant();
      const begin = (current_password: string, token = tenant.token) =>
        caller().request('POST', '/admin/second-factor', { token, body: { current_password } });
      const confirm = (secret: string, token = tenant.token) =>
        caller().request('POST', '/admin/second-factor/confirm', { token, body: { code: codeOf(secret) } });
      expectProblem(await begin(caller().newPassword()), 403, 'reauthentication_required');
      expectProblem(await confirm('JBSWY3DPEHPK3PXP'), 404, 'second_factor_not_found');
      expectProblem(await remove(tenant.token, tenant.password, '123456'), 404, 'second_factor_not_found');
      const replaced = await begin(tenant.password);
      let waiting = await begin(tenant.password);
      const codesOf = (secret: string) => [-1, 0, 1, 2].map((steps) => codeOf(secret, { steps }));
      const shareCode = () => codesOf(waiting.json.secret).some((code) => codesOf(replaced.json.secret).includes(code));
      while (shareCode()) waiting = await begin(tenant.password);
      expect(waiting.json.uri).toMatch(/^otpauth:\/\/totp\/Tenantry:/);
      expectProblem(await confirm(replaced.json.secret), 422, 'invalid_input');
      expect((await caller().login(tenant)).status).toBe(200);
      const confirmed = await confirm(waiting.json.secret);
      expect(confirmed.status, confirmed.text).toBe(200);
      expectProblem(await begin(tenant.password, confirmed.json.access_token), 409, 'second_factor_in_force');
    });

    test('is a part of a recent sign-in: the password alone does not stand for one', async () => {
      const tenant = await caller().signedInTenant();
      const { json } = await setUpSecondFactor(caller(), tenant);
      const claims = claimsOf(json.access_token);
      const auth_time = Math.floor(Date.now() / 1000) - STALE_SECONDS;
      const token = forge(json.access_token, { ...claims, auth_time }, service().jwtSecret);
      const next = { current_password: tenant.password, new_password: caller().newPassword() };
      const change = (by: string) => caller().request('POST', '/admin/password/change', { token: by, body: next });
      expectProblem(await change(token), 403, 'reauthentication_required');
      const update = { current_password: tenant.password, email: newEmail() };
      expectProblem(await caller().update(token, update), 403, 'reauthentication_required');
      const changed = await change(json.access_token);
      expect(changed.status, changed.text).toBe(200);
    });
  });
}
