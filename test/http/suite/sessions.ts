import { describe, expect, test } from 'vitest';
import { newEmail } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

export function sessionSuite({ caller, mailbox }: TestEnv): void {
  const refresh = (refresh_token: string) => caller().request('POST', '/admin/refresh', { body: { refresh_token } });

  describe('an admin’s sessions', () => {
    const sessionsOf = async (token: string) => {
      const { status, json, text } = await caller().request('GET', '/admin/sessions', { token });
      expect(status, text).toBe(200);
      return json;
    };

    /** An admin with two sessions. */
    const signInTwice = async () => {
      const { email, password } = await caller().tenant();
      const signIn = async (device: string) => {
        const headers = { 'User-Agent': device };
        return (await caller().request('POST', '/admin/login', { body: { email, password }, headers })).json;
      };
      return [await signIn('Device one'), await signIn('Device two')];
    };

    test('are listed with the device, the address and the times, and the caller’s own is marked', async () => {
      const [one] = await signInTwice();
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
    });

    test('are listed in pages', async () => {
      const [, two] = await signInTwice();
      const page = (query: Record<string, string>) =>
        caller().request('GET', '/admin/sessions', { token: two.access_token, query });
      const first = await page({ limit: '1' });
      expect(first.json.items).toMatchObject([{ device: 'Device one', current: false }]);
      const second = await page({ limit: '1', cursor: first.json.next_cursor });
      expect(second.json).toMatchObject({ items: [{ device: 'Device two', current: true }], next_cursor: null });
    });

    test('are not listed by a wrong query', async () => {
      const { token } = await caller().signedInTenant();
      for (const query of ['limit=0', 'limit=101', 'cursor=x', 'of=x']) {
        expectProblem(await caller().request('GET', `/admin/sessions?${query}`, { token }), 422, 'invalid_input');
      }
    });

    test('end one by one, at once, and nobody ends another’s', async () => {
      const [tenant, stranger] = await Promise.all([caller().signedInTenant(), caller().signedInTenant()]);
      const other = (await caller().login(tenant)).json;
      const { items } = await sessionsOf(tenant.token);
      const target = items.find(({ current }: { current: boolean }) => !current).session_id;
      const end = (token: string) =>
        caller().request('DELETE', '/admin/sessions', { token, query: { session_id: target } });

      expect((await end(stranger.token)).status).toBe(204);
      expect((await sessionsOf(tenant.token)).items).toHaveLength(2);
      for (const _ of ['once', 'again']) expect((await end(tenant.token)).status).toBe(204);
      expectProblem(await caller().request('GET', '/admin/me', { token: other.access_token }), 401, 'invalid_token');
      expectProblem(await refresh(other.refresh_token), 401, 'invalid_token');
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
      expectProblem(await refresh(other.refresh_token), 401, 'invalid_token');
      expect((await sessionsOf((await caller().login(tenant)).json.access_token)).items).toHaveLength(1);
    });
  });

  describe('another admin’s sessions', () => {
    const ofAdmin = (method: 'GET' | 'DELETE', token: string, admin_id: string) =>
      caller().request(method, '/org/sessions', { token, query: { admin_id } });

    /** An admin who came by invitation, signed in twice. */
    const addMember = async (token: string) => {
      const member = { email: newEmail(), password: caller().newPassword() };
      await caller().request('POST', '/org/invites', { token, body: { email: member.email, role: 'admin' } });
      const invitation = tokenIn(await awaitMail(mailbox(), member.email, /^You are invited/));
      const body = { token: invitation, password: member.password };
      const { json } = await caller().request('POST', '/admin/accept-invite', { body });
      const signedIn = [(await caller().login(member)).json, (await caller().login(member)).json];
      return { ...member, adminId: json.admin_id as string, signedIn };
    };

    test('are listed and ended by an owner: every token ends, the password does not, and the log names both', async () => {
      const owner = await caller().signedInTenant();
      const member = await addMember(owner.token);
      const [first, second] = member.signedIn;
      const own = await caller().request('GET', '/admin/sessions', { token: first.access_token });
      const seen = await ofAdmin('GET', owner.token, member.adminId);
      expect(seen.status, seen.text).toBe(200);
      const notCurrent = own.json.items.map((item: object) => ({ ...item, current: false }));
      expect(seen.json).toEqual({ items: notCurrent, next_cursor: null });
      expect(seen.json.items).toHaveLength(2);

      const ended = await ofAdmin('DELETE', owner.token, member.adminId);
      expect(ended.status, ended.text).toBe(204);
      for (const { access_token, refresh_token } of [first, second]) {
        expectProblem(await caller().request('GET', '/admin/me', { token: access_token }), 401, 'invalid_token');
        expectProblem(await refresh(refresh_token), 401, 'invalid_token');
      }
      expect((await ofAdmin('GET', owner.token, member.adminId)).json.items).toEqual([]);
      expect((await ofAdmin('GET', owner.token, owner.adminId)).json.items).toMatchObject([{ current: true }]);
      const { json: log } = await caller().request('GET', '/org/audit', { token: owner.token });
      expect(log.items[0]).toMatchObject({
        action: 'session.signed_out_everywhere',
        actor: owner.adminId,
        target: member.adminId,
        request_id: ended.headers.get('X-Request-Id'),
      });
      expect((await caller().login(member)).status).toBe(200);
    });

    test('are nothing to one who is no owner, nor to another organization’s', async () => {
      const [owner, stranger] = await Promise.all([caller().signedInTenant(), caller().signedInTenant()]);
      const { signedIn, adminId } = await addMember(owner.token);
      const [{ access_token }] = signedIn;
      for (const method of ['GET', 'DELETE'] as const) {
        expectProblem(await ofAdmin(method, access_token, owner.adminId), 403, 'forbidden');
        expectProblem(await ofAdmin(method, stranger.token, adminId), 404, 'admin_not_found');
        expectProblem(await ofAdmin(method, owner.token, 'no-id'), 422, 'invalid_input');
      }
      for (const token of [owner.token, access_token]) {
        expect((await caller().request('GET', '/admin/me', { token })).status).toBe(200);
      }
    });
  });
}
