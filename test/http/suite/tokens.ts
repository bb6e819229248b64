import { beforeAll, describe, expect, test } from 'vitest';
import type { Answer, SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem, sameForAll } from '../../support/problem.ts';
import { claimsOf, forge, unsign } from '../../support/token.ts';
import type { Cell } from './cell.ts';

const SIXTEEN_MINUTES = 16 * 60;

export function tokenPromises({ service, caller }: Cell): void {
  describe('who may change an organization', () => {
    let target: SignedInTenant;
    let other: SignedInTenant;

    beforeAll(async () => {
      [target, other] = await Promise.all([caller().signedInTenant(), caller().signedInTenant()]);
    });

    /** Header lines that are no credentials for the target, and the status each is answered with. */
    const refused = (): Record<string, { status: 401 | 403; lines: string[] }> => {
      const [header, payload, signature] = target.token.split('.');
      const claims = claimsOf(target.token);
      const now = Math.floor(Date.now() / 1000);
      const { jwtSecret } = service();
      const bearer = (token: string) => ({ status: 401 as const, lines: [`Authorization: Bearer ${token}`] });
      return {
        'another organization’s token': { status: 403, lines: [`Authorization: Bearer ${other.token}`] },
        'no token': { status: 401, lines: [] },
        'an empty header': { status: 401, lines: ['Authorization:'] },
        'a scheme without a token': { status: 401, lines: ['Authorization: Bearer'] },
        'a malformed token': bearer('not-a-token'),
        'a token of two parts': bearer(`${header}.${payload}`),
        'a token of dots': bearer('..'),
        'a very long token': bearer(`${header}.${'x'.repeat(8000)}.${signature}`),
        'a token without its last character': bearer(target.token.slice(0, -1)),
        'a token of another payload': bearer(`${header}.${other.token.split('.')[1]}.${signature}`),
        'a token of another secret': bearer(forge(target.token, claims, 'x'.repeat(48))),
        'a token of no algorithm': bearer(unsign(target.token)),
        'a token that has run out': bearer(forge(target.token, { ...claims, exp: now - 60 }, jwtSecret)),
        'a token that never runs out': bearer(forge(target.token, { ...claims, exp: undefined }, jwtSecret)),
        'a token that runs out at 1e308': bearer(forge(target.token, { ...claims, exp: 1e308 }, jwtSecret)),
        'a token that says null': bearer(forge(target.token, null, jwtSecret)),
        'a token that says an array': bearer(forge(target.token, [], jwtSecret)),
        'a token of an operator': bearer(forge(target.token, { ...claims, org_id: { $ne: null } }, jwtSecret)),
        Basic: {
          status: 401,
          lines: [`Authorization: Basic ${Buffer.from(`${target.email}:${target.password}`).toString('base64')}`],
        },
        'a token under another scheme': { status: 401, lines: [`Authorization: Token ${target.token}`] },
        'two headers': {
          status: 401,
          lines: [`Authorization: Bearer ${target.token}`, `Authorization: Bearer ${other.token}`],
        },
        'two headers that are the same': {
          status: 401,
          lines: [`Authorization: Bearer ${target.token}`, `Authorization: Bearer ${target.token}`],
        },
        'two tokens in a header': { status: 401, lines: [`Authorization: Bearer ${target.token} ${target.token}`] },
      };
    };

    const update = (lines: string[], name: string): Promise<Answer> => {
      const body = JSON.stringify({ organization_name: name, new_organization_name: newName('Stolen') });
      const length = `Content-Length: ${Buffer.byteLength(body)}`;
      return caller().raw('PUT', '/org/update', [...lines, 'Content-Type: application/json', length], body);
    };
    const remove = (lines: string[], name: string): Promise<Answer> =>
      caller().raw('DELETE', `/org/delete?organization_name=${encodeURIComponent(name)}`, lines);

    test('is told by its own admin’s token alone: every other answer is the same, target there or not', async () => {
      for (const [what, { status, lines }] of Object.entries(refused())) {
        for (const attempt of [update, remove]) {
          const there = await attempt(lines, target.name);
          expectProblem(there, status);
          for (const name of [newName('Nobody'), '$x', '\u{1F600}']) {
            const missing = await attempt(lines, name);
            expect(sameForAll(missing), what).toEqual(sameForAll(there));
          }
        }
      }
      expect((await caller().get(target.name)).json.collection_name).toBe(target.collection);
    });

    test('a token says who it is of, and refuses who has none', async () => {
      const { status, json } = await caller().request('GET', '/admin/me', { token: target.token });
      expect(status).toBe(200);
      expect(json).toMatchObject({ admin_id: target.adminId, admin_email: target.email, organization: target.name });
      expectProblem(await caller().request('GET', '/admin/me'), 401, 'invalid_token');
    });
  });

  describe('a token', () => {
    test('has what the contract says in it', async () => {
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

    test('ends with a rename, and the one in the answer is good', async () => {
      const tenant = await caller().signedInTenant();
      const renamed = await caller().update(tenant.token, { new_organization_name: newName() });
      expect(renamed.status).toBe(200);
      expectProblem(await caller().request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
      expectProblem(await caller().update(tenant.token, { new_organization_name: newName() }), 401, 'invalid_token');
      expectProblem(await caller().remove(tenant.token, tenant.name), 401, 'invalid_token');
      const again = await caller().update(renamed.json.access_token, { new_organization_name: newName() });
      expect(again.status).toBe(200);
      expect((await caller().remove(again.json.access_token, again.json.organization_name)).status).toBe(200);
    });

    test('ends with the organization, also where another takes the name', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      expectProblem(await caller().request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
      expectProblem(await caller().update(tenant.token, { new_organization_name: newName() }), 401, 'invalid_token');
      await caller().tenant(tenant.name);
      // The same request again gives the same answer, and does nothing to who has the name now.
      const again = await caller().remove(tenant.token, tenant.name);
      expect(again.json).toEqual({ deleted: true, organization_name: tenant.name });
      expectProblem(await caller().remove(tenant.token, newName()), 401, 'invalid_token');
      expectProblem(await caller().request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
      expect((await caller().get(tenant.name)).status).toBe(200);
    });

    test('ends with another password or email, and only the new ones sign in', async () => {
      const tenant = await caller().signedInTenant();
      const next = { email: newEmail(), password: caller().newPassword() };
      const changed = await caller().update(tenant.token, next);
      expect(changed.status, changed.text).toBe(200);
      expectProblem(await caller().request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
      const me = await caller().request('GET', '/admin/me', { token: changed.json.access_token });
      expect(me.json.admin_email).toBe(next.email);
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expectProblem(await caller().login({ ...next, password: tenant.password }), 401, 'invalid_credentials');
      expectProblem(await caller().login({ ...next, email: tenant.email }), 401, 'invalid_credentials');
      expect((await caller().login(next)).status).toBe(200);
    });

    test('for refreshing is good once, and presenting a spent one ends the session', async () => {
      const tenant = await caller().tenant();
      const first = (await caller().login(tenant)).json;
      const refresh = (refresh_token: string) =>
        caller().request('POST', '/admin/refresh', { body: { refresh_token } });
      const second = await refresh(first.refresh_token);
      expect(second.status).toBe(200);
      const me = await caller().request('GET', '/admin/me', { token: second.json.access_token });
      expect(me.json.admin_id).toBe(tenant.adminId);
      expectProblem(await refresh(first.refresh_token), 401, 'invalid_token');
      expectProblem(await refresh(second.json.refresh_token), 401, 'invalid_token');
      expectProblem(await refresh('x'), 401, 'invalid_token');
    });

    test('for refreshing is traded by exactly one of ten that ask at once', async () => {
      const { refresh_token } = (await caller().login(await caller().tenant())).json;
      const refresh = () => caller().request('POST', '/admin/refresh', { body: { refresh_token } });
      const answers = await Promise.all(Array.from({ length: 10 }, refresh));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 9 }, () => 401)]);
    });

    test('for refreshing that was made up ends nothing', async () => {
      const { refresh_token } = (await caller().login(await caller().tenant())).json;
      const [id, family = ''] = refresh_token.split('.');
      const refresh = (token: string) => caller().request('POST', '/admin/refresh', { body: { refresh_token: token } });
      for (const made of [`${id}.${'0'.repeat(family.length)}.${'0'.repeat(64)}`, `${id}.x`, id]) {
        expectProblem(await refresh(made), 401, 'invalid_token');
      }
      expect((await refresh(refresh_token)).status).toBe(200);
    });

    test('of either kind ends with a logout', async () => {
      const tenant = await caller().tenant();
      const { access_token, refresh_token } = (await caller().login(tenant)).json;
      for (const _ of ['once', 'again']) {
        const answer = await caller().request('POST', '/admin/logout', { body: { refresh_token } });
        expect([answer.status, answer.text]).toEqual([204, '']);
      }
      expectProblem(await caller().request('POST', '/admin/refresh', { body: { refresh_token } }), 401);
      expectProblem(await caller().request('GET', '/admin/me', { token: access_token }), 401, 'invalid_token');
    });
  });

  describe('an admin’s sessions', () => {
    const sessionsOf = async (token: string) => {
      const { status, json, text } = await caller().request('GET', '/admin/sessions', { token });
      expect(status, text).toBe(200);
      return json;
    };

    test('are listed, a page at a time, with where they were used and which one asks', async () => {
      const tenant = await caller().tenant();
      const signIn = (device: string) =>
        caller().request('POST', '/admin/login', {
          body: { email: tenant.email, password: tenant.password },
          headers: { 'User-Agent': device },
        });
      const [one, two] = [(await signIn('Device one')).json, (await signIn('Device two')).json];
      const { items, next_cursor } = await sessionsOf(one.access_token);
      expect(next_cursor).toBeNull();
      expect(items).toMatchObject([
        { device: 'Device one', current: true },
        { device: 'Device two', current: false },
      ]);
      for (const item of items) {
        expect(Object.keys(item).sort()).toEqual(
          ['address', 'current', 'device', 'expires_at', 'last_used_at', 'session_id', 'signed_in_at'].sort(),
        );
      }

      const page = (query: Record<string, string>) =>
        caller().request('GET', '/admin/sessions', { token: two.access_token, query });
      const first = await page({ limit: '1' });
      expect(first.json.items).toMatchObject([{ device: 'Device one', current: false }]);
      const second = await page({ limit: '1', cursor: first.json.next_cursor });
      expect(second.json).toMatchObject({ items: [{ device: 'Device two', current: true }], next_cursor: null });
      for (const query of [{ limit: '0' }, { limit: '101' }, { cursor: 'x' }, { of: 'x' }]) {
        expectProblem(await page(query as Record<string, string>), 422, 'invalid_input');
      }
    });

    test('end one by one, at once, and nobody ends another’s', async () => {
      const tenant = await caller().signedInTenant();
      const stranger = await caller().signedInTenant();
      const other = (await caller().login(tenant)).json;
      const { items } = await sessionsOf(tenant.token);
      const target = items.find(({ current }: { current: boolean }) => !current).session_id;
      const end = (token: string) =>
        caller().request('DELETE', '/admin/sessions', { token, query: { session_id: target } });

      expect((await end(stranger.token)).status).toBe(204);
      expect((await sessionsOf(tenant.token)).items).toHaveLength(2);
      for (const _ of ['once', 'again']) expect((await end(tenant.token)).status).toBe(204);
      expectProblem(await caller().request('GET', '/admin/me', { token: other.access_token }), 401, 'invalid_token');
      const refresh = { body: { refresh_token: other.refresh_token } };
      expectProblem(await caller().request('POST', '/admin/refresh', refresh), 401, 'invalid_token');
      expect((await sessionsOf(tenant.token)).items).toMatchObject([{ current: true }]);
    });

    test('all end with a logout from everywhere', async () => {
      const tenant = await caller().signedInTenant();
      const other = (await caller().login(tenant)).json;
      expect((await caller().request('POST', '/admin/logout-all', { token: tenant.token })).status).toBe(204);
      for (const token of [tenant.token, other.access_token]) {
        expectProblem(await caller().request('GET', '/admin/sessions', { token }), 401, 'invalid_token');
        expectProblem(await caller().request('POST', '/admin/logout-all', { token }), 401, 'invalid_token');
      }
      const refresh = { body: { refresh_token: other.refresh_token } };
      expectProblem(await caller().request('POST', '/admin/refresh', refresh), 401, 'invalid_token');
      expect((await sessionsOf((await caller().login(tenant)).json.access_token)).items).toHaveLength(1);
    });
  });

  describe('another email or password', () => {
    test('needs a sign-in of the last 15 minutes, or the current password', async () => {
      const tenant = await caller().signedInTenant();
      const claims = claimsOf(tenant.token);
      const signedInAt = Number(claims['auth_time']) - SIXTEEN_MINUTES;
      const stale = forge(tenant.token, { ...claims, auth_time: signedInAt }, service().jwtSecret);
      const password = caller().newPassword();
      for (const change of [{ password }, { email: newEmail() }, { new_organization_name: newName(), password }]) {
        expectProblem(await caller().update(stale, change), 403, 'reauthentication_required');
        const guess = { ...change, current_password: caller().newPassword() };
        expectProblem(await caller().update(stale, guess), 403, 'reauthentication_required');
      }
      expect((await caller().login(tenant)).status).toBe(200);

      const renamed = await caller().update(stale, { new_organization_name: newName() });
      expect(renamed.status).toBe(200);
      const login = await caller().login(tenant);
      const fresh = claimsOf(login.json.access_token);
      const staleAgain = forge(login.json.access_token, { ...fresh, auth_time: signedInAt }, service().jwtSecret);
      const changed = await caller().update(staleAgain, { password, current_password: tenant.password });
      expect(changed.status, changed.text).toBe(200);
      expect((await caller().login({ ...tenant, password })).status).toBe(200);
    });
  });

  describe('a sign-in', () => {
    test('is refused with the same words for a wrong password, an unknown email and another organization', async () => {
      const tenant = await caller().tenant();
      const stranger = await caller().tenant();
      const password = caller().newPassword();
      const answers = [
        await caller().login({ ...tenant, password }),
        await caller().login({ email: newEmail(), password }),
        await caller().login(tenant, stranger.name),
        await caller().login(tenant, newName('Nobody')),
        await caller().login({ ...tenant, password }, tenant.name),
      ];
      for (const answer of answers) {
        expectProblem(answer, 401, 'invalid_credentials');
        expect(sameForAll(answer)).toEqual(sameForAll(answers[0] as Answer));
      }
    });

    test('that fits several organizations says which, and is settled by naming one', async () => {
      const credentials = { email: newEmail(), password: caller().newPassword() };
      const [one, two, otherPassword] = [newName(), newName(), newName()];
      for (const name of [one, two]) expect((await caller().create(name, credentials)).status).toBe(200);
      expect((await caller().create(otherPassword, { email: credentials.email })).status).toBe(200);

      const answer = await caller().login(credentials);
      expectProblem(answer, 409, 'organization_required');
      expect([...answer.json.organizations].sort()).toEqual([one, two].sort());

      const settled = await caller().login(credentials, two.toUpperCase());
      expect(settled.status).toBe(200);
      expect(settled.json.organization).toBe(two);
    });

    test('tells organizations of one email apart by the password', async () => {
      const email = newEmail();
      const passwords = [caller().newPassword(), caller().newPassword()];
      const names = [newName(), newName()];
      for (const [index, name] of names.entries()) {
        expect((await caller().create(name, { email, password: passwords[index] ?? '' })).status).toBe(200);
      }
      for (const [index, name] of names.entries()) {
        expect((await caller().login({ email, password: passwords[index] ?? '' })).json.organization).toBe(name);
      }
    });
  });
}
