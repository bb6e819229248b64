import { describe, expect, test } from 'vitest';
import type { Answer, SignedInTenant } from '../../support/caller.ts';
import { newEmail } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

const INVITED = /^You are invited/;

export function invitationSuite({ caller, mailbox }: TestEnv): void {
  const send = ({ token }: SignedInTenant, email: string, role: string): Promise<Answer> =>
    caller().request('POST', '/org/invites', { token, body: { email, role } });
  const invite = async (owner: SignedInTenant, email: string, role: string, count = 1) => {
    const answer = await send(owner, email, role);
    expect(answer.status, answer.text).toBe(200);
    return { invitation: answer.json, token: tokenIn(await awaitMail(mailbox(), email, INVITED, count)) };
  };
  const accept = (token: string, password = caller().newPassword()) =>
    caller().request('POST', '/admin/accept-invite', { body: { token, password } });
  const invitations = async ({ token }: SignedInTenant) =>
    (await caller().request('GET', '/org/invites', { token })).json.items;
  const withdraw = ({ token }: SignedInTenant, invitation_id: string) =>
    caller().request('DELETE', '/org/invites', { token, query: { invitation_id } });
  const me = (token: string) => caller().request('GET', '/admin/me', { token });

  /** An owner and an admin of this role who accepted an invitation. */
  const withMember = async (role: string) => {
    const owner = await caller().signedInTenant();
    const member = { email: newEmail(), password: caller().newPassword() };
    const { token } = await invite(owner, member.email, role);
    const accepted = await accept(token, member.password);
    expect(accepted.status, accepted.text).toBe(200);
    return { owner, member, accepted: accepted.json, token: await caller().tokenFor(member) };
  };

  describe('an invitation', () => {
    test('is listed until it is accepted', async () => {
      const owner = await caller().signedInTenant();
      const { invitation, token } = await invite(owner, newEmail(), 'viewer');
      expect(await invitations(owner)).toEqual([invitation]);
      expect((await accept(token)).status).toBe(200);
      expect(await invitations(owner)).toEqual([]);
    });

    test('makes the holder of its token an admin of that role', async () => {
      const { owner, member, accepted, token } = await withMember('viewer');
      expect(accepted).toMatchObject({ organization: owner.name, admin_email: member.email, role: 'viewer' });
      expect((await me(token)).json).toMatchObject({ role: 'viewer', email_verified: true, organization: owner.name });
    });

    test('is good once', async () => {
      const owner = await caller().signedInTenant();
      const { token } = await invite(owner, newEmail(), 'viewer');
      expect((await accept(token)).status).toBe(200);
      expectProblem(await accept(token), 401, 'invalid_one_time_token');
    });

    test('of an admin of the organization is refused', async () => {
      const owner = await caller().signedInTenant();
      expectProblem(await send(owner, owner.email, 'admin'), 409, 'admin_email_taken');
    });

    test('ends when another is sent', async () => {
      const owner = await caller().signedInTenant();
      const email = newEmail();
      const first = await invite(owner, email, 'viewer');
      const second = await invite(owner, email, 'admin', 2);
      expect(await invitations(owner)).toMatchObject([{ email, role: 'admin' }]);
      expectProblem(await accept(first.token), 401, 'invalid_one_time_token');
      expect((await accept(second.token)).json.role).toBe('admin');
    });

    test('ends when it is withdrawn, which another organization cannot do', async () => {
      const [owner, stranger] = await Promise.all([caller().signedInTenant(), caller().signedInTenant()]);
      const { invitation, token } = await invite(owner, newEmail(), 'viewer');
      expectProblem(await withdraw(stranger, invitation.invitation_id), 404, 'invitation_not_found');
      expect((await withdraw(owner, invitation.invitation_id)).status).toBe(204);
      expectProblem(await withdraw(owner, invitation.invitation_id), 404, 'invitation_not_found');
      expectProblem(await accept(token), 401, 'invalid_one_time_token');
    });

    test('ends with the organization', async () => {
      const owner = await caller().signedInTenant();
      const { token } = await invite(owner, newEmail(), 'viewer');
      expect((await caller().remove(owner.token, owner.name)).status).toBe(200);
      expectProblem(await accept(token), 401, 'invalid_one_time_token');
    });

    test('is good for an address that administers another organization, with a password of its own', async () => {
      const [owner, elsewhere] = await Promise.all([caller().signedInTenant(), caller().tenant()]);
      const { token } = await invite(owner, elsewhere.email, 'admin');
      const password = caller().newPassword();
      expect((await accept(token, password)).status).toBe(200);
      expect((await caller().login({ ...elsewhere, password }, owner.name)).json.organization).toBe(owner.name);
      expect((await caller().login(elsewhere, elsewhere.name)).json.organization).toBe(elsewhere.name);
    });
  });

  describe('an organization’s admins', () => {
    test('are listed in pages', async () => {
      const { owner, member, token } = await withMember('viewer');
      const list = (query: Record<string, string>) => caller().request('GET', '/org/admins', { token, query });
      const first = await list({ limit: '1' });
      expect(first.json.items.map((admin: { email: string }) => admin.email)).toEqual([owner.email]);
      const rest = await list({ cursor: first.json.next_cursor });
      expect(rest.json).toMatchObject({ items: [{ email: member.email, role: 'viewer' }], next_cursor: null });
    });

    test('get another role, which ends their tokens', async () => {
      const { owner, accepted, token } = await withMember('viewer');
      const promoted = await caller().request('PUT', '/org/admins', {
        token: owner.token,
        body: { admin_id: accepted.admin_id, role: 'owner' },
      });
      expect([promoted.status, promoted.json]).toMatchObject([200, { admin_id: accepted.admin_id, role: 'owner' }]);
      expectProblem(await me(token), 401, 'invalid_token');
    });

    test('are removed, which ends their tokens and their sign-in', async () => {
      const { owner, member, accepted, token } = await withMember('admin');
      const remove = (admin_id: string) =>
        caller().request('DELETE', '/org/admins', { token: owner.token, query: { admin_id } });
      expect((await remove(accepted.admin_id)).status).toBe(204);
      expectProblem(await me(token), 401, 'invalid_token');
      expectProblem(await caller().login(member), 401, 'invalid_credentials');
      expectProblem(await remove(accepted.admin_id), 404, 'admin_not_found');
    });

    test('include an owner always: the last one cannot go', async () => {
      const owner = await caller().signedInTenant();
      const query = { admin_id: owner.adminId };
      expectProblem(await caller().request('DELETE', '/org/admins', { token: owner.token, query }), 409, 'last_owner');
      const body = { admin_id: owner.adminId, role: 'admin' };
      expectProblem(await caller().request('PUT', '/org/admins', { token: owner.token, body }), 409, 'last_owner');
    });
  });
}
