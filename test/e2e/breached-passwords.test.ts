import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BreachService } from '../support/breach-service.ts';
import { sha1, startBreachService } from '../support/breach-service.ts';
import type { Caller } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

/** PASSWORD_BLOCKLIST=breached, with a breach service on this machine. */
describe.each(['node', 'bun', 'workerd'] as const)('on %s', (runtime) => {
  let breaches: BreachService;
  let service: RunningService;
  let caller: Caller;
  let breached: string;

  beforeAll(async () => {
    breaches = await startBreachService();
    service = await startService({ runtime, store: { kind: 'embedded' }, env: breaches.env });
    caller = createCaller(service.url);
    breached = caller.newPassword();
    breaches.add(breached, 1);
  });

  afterAll(async () => {
    await service?.stop();
    await breaches?.stop();
  });

  /** The lookups that are made meanwhile. */
  const lookupsOf = async (work: () => Promise<unknown>) => {
    const before = breaches.asked.length;
    await work();
    return breaches.asked.slice(before);
  };

  test('a breached password is refused for a new account and for an old one, with advice', async () => {
    const { token, password } = await caller.signedInTenant();
    const body = { current_password: password, new_password: breached };
    const refusals = [
      await caller.create(newName(), { password: breached }),
      await caller.update(token, { password: breached }),
      await caller.request('POST', '/admin/password/change', { token, body }),
    ];
    for (const refused of refusals) {
      expectProblem(refused, 422, 'invalid_input');
      expect(refused.json.errors).toMatchObject([{ message: expect.stringContaining('Use several words') }]);
    }
    expect(refusals.map(({ json }) => json.errors[0].path)).toEqual(['password', 'password', 'new_password']);
    expect((await caller.update(token, { password: caller.newPassword() })).status).toBe(200);
  });

  test('five digits of a hash are sent for a new password, and nothing at a sign-in', async () => {
    const credentials = { email: newEmail(), password: caller.newPassword() };
    const asked = await lookupsOf(() => caller.create(newName(), credentials));
    expect(asked.map(({ target }) => target)).toEqual([`GET /range/${sha1(credentials.password).slice(0, 5)}`]);
    expect(asked[0]?.headers).toMatchObject({ 'add-padding': 'true', 'user-agent': 'tenantry' });
    const signIns = async () => {
      await caller.tokenFor(credentials);
      expectProblem(await caller.login({ ...credentials, password: breached }), 401, 'invalid_credentials');
    };
    expect(await lookupsOf(signIns)).toEqual([]);
  });

  test.each(['fails', 'redirects', 'talks', 'floods', 'stops midway'] as const)(
    'while the breach service %s, people sign up, and the log says so',
    async (how) => {
      const failures = () => service.logs().split('password.breach_lookup_failed').length - 1;
      const before = failures();
      breaches.answer(how);
      const asked = await lookupsOf(async () => {
        expectProblem(await caller.create(newName(), { password: 'password123' }), 422, 'invalid_input');
        const created = await caller.create(newName(), { password: breached });
        expect(created.status, created.text).toBe(200);
      });
      breaches.answer('answers');
      expect(asked).toHaveLength(1);
      await until('the line in the log', () => (failures() > before ? true : undefined));
      expect(failures()).toBe(before + 1);
    },
  );

  test('nothing of a password is in the log', () => {
    const logs = service.logs();
    for (const password of caller.secrets) {
      expect(logs.includes(password)).toBe(false);
      expect(logs.toUpperCase().includes(sha1(password))).toBe(false);
    }
    expect(logs.includes(breaches.url)).toBe(false);
  });
});
