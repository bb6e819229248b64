import { beforeAll, describe, expect, test } from 'vitest';
import type { Answer, Credentials, SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem } from '../../support/problem.ts';
import type { Cell } from './cell.ts';

const CONFIRM = /^Confirm your email/;
const RESET = /^Choose a new password/;
const INVITED = /^You are invited/;
const PASSWORD_CHANGED = /^Your password .* was changed$/;
const EMAIL_CHANGED = /^Your email address .* was changed$/;

export function mailPromises({ service, caller, mailbox }: Cell): void {
  const post = (path: string, body: unknown, token?: string): Promise<Answer> =>
    caller().request('POST', path, { body, ...(token !== undefined && { token }) });
  const me = async (token: string) => (await caller().request('GET', '/admin/me', { token })).json;
  const mailed = async (to: string, subject: RegExp, count = 1) =>
    tokenIn(await awaitMail(mailbox(), to, subject, count));
  const refuses = async (path: string, token: string, rest: object = {}) =>
    expectProblem(await post(path, { token, ...rest }), 401, 'invalid_one_time_token');

  describe('an admin’s email', () => {
    test('is verified by the token that was sent to it, once', async () => {
      const tenant = await caller().signedInTenant();
      expect((await me(tenant.token)).email_verified).toBe(false);
      const token = await mailed(tenant.email, CONFIRM);
      for (const wrong of ['x', '.', `${token}0`, token.slice(0, -1), `${token.split('.')[0]}.${'0'.repeat(64)}`]) {
        await refuses('/admin/verify-email', wrong);
      }
      await refuses('/admin/password/reset', token, { password: caller().newPassword() });
      expect((await post('/admin/verify-email', { token })).status).toBe(204);
      expect((await me(tenant.token)).email_verified).toBe(true);
      await refuses('/admin/verify-email', token);
    });

    test('gets another token when it is asked for, and the one from before ends', async () => {
      const tenant = await caller().signedInTenant();
      const first = await mailed(tenant.email, CONFIRM);
      const answer = await caller().request('POST', '/admin/verify-email/resend', { token: tenant.token });
      expect([answer.status, answer.text]).toEqual([202, '']);
      const second = await mailed(tenant.email, CONFIRM, 2);
      await refuses('/admin/verify-email', first);
      expect((await post('/admin/verify-email', { token: second })).status).toBe(204);
    });

    test('is told when another takes its place, which has to be verified anew', async () => {
      const tenant = await caller().signedInTenant();
      const first = await mailed(tenant.email, CONFIRM);
      expect((await post('/admin/verify-email', { token: first })).status).toBe(204);
      const email = newEmail();
      const changed = await caller().update(tenant.token, { email });
      expect(changed.status, changed.text).toBe(200);
      const notice = await awaitMail(mailbox(), tenant.email, EMAIL_CHANGED);
      expect(notice.text).not.toContain(email);
      expect((await me(changed.json.access_token)).email_verified).toBe(false);
      expect((await post('/admin/verify-email', { token: await mailed(email, CONFIRM) })).status).toBe(204);
      expect((await me(changed.json.access_token)).email_verified).toBe(true);
    });
  });

  describe('a forgotten password', () => {
    test('is replaced by the token that was sent, once; sign-ins and other tokens from before end', async () => {
      const tenant = await caller().signedInTenant();
      for (const count of [1, 2]) {
        expect((await post('/admin/password/forgot', { email: tenant.email })).status).toBe(202);
        await mailed(tenant.email, RESET, count);
      }
      const mails = (await mailbox().all()).filter((mail) => mail.to === tenant.email && RESET.test(mail.subject));
      const [older = '', token = ''] = mails.map(tokenIn);
      expectProblem(await post('/admin/password/reset', { token, password: '12345678\0' }), 422, 'invalid_input');

      const password = caller().newPassword();
      expect((await post('/admin/password/reset', { token, password })).status).toBe(204);
      await refuses('/admin/password/reset', token, { password });
      await refuses('/admin/password/reset', older, { password });
      await refuses('/admin/verify-email', await mailed(tenant.email, CONFIRM));
      expectProblem(await caller().request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expect((await me(await caller().tokenFor({ ...tenant, password }))).email_verified).toBe(true);
      await awaitMail(mailbox(), tenant.email, PASSWORD_CHANGED);
    });

    test('is answered the same for an address that nobody has, and for an organization that is not there', async () => {
      const tenant = await caller().tenant();
      const asked = [
        { email: tenant.email },
        { email: newEmail() },
        { email: tenant.email, organization_name: newName() },
        { email: tenant.email, organization_name: '\u{1F600}' },
      ];
      const answers = [];
      for (const body of asked) answers.push(await post('/admin/password/forgot', body));
      const shape = ({ status, text, headers }: Answer) => [
        status,
        text,
        [...headers.keys()].filter((name) => !['x-request-id', 'date'].includes(name)).sort(),
      ];
      for (const answer of answers) expect(shape(answer)).toEqual(shape(answers[0] as Answer));
      await mailed(tenant.email, RESET);
      const sent = (await mailbox().all()).filter((mail) => mail.to === tenant.email && RESET.test(mail.subject));
      expect(sent).toHaveLength(1);
    });

    test('of one address in two organizations is replaced in each by a mail of its own', async () => {
      const first = await caller().tenant();
      const second = newName();
      expect((await caller().create(second, first)).status).toBe(200);
      expect((await post('/admin/password/forgot', { email: first.email })).status).toBe(202);
      await awaitMail(mailbox(), first.email, RESET, 2);
      const mail = await awaitMail(mailbox(), first.email, new RegExp(`^Choose a new password for ${second}$`));
      const password = caller().newPassword();
      expect((await post('/admin/password/reset', { token: tokenIn(mail), password })).status).toBe(204);
      const credentials: Credentials = { email: first.email, password };
      expect((await caller().login(credentials)).json.organization).toBe(second);
      expect((await caller().login(first)).json.organization).toBe(first.name);
    });
  });

  describe('an invitation', () => {
    let owner: SignedInTenant;

    beforeAll(async () => {
      owner = await caller().signedInTenant();
    });

    const invites = async () => (await caller().request('GET', '/org/invites', { token: owner.token })).json.items;

    test('makes whoever holds its token an admin of that role, once', async () => {
      const email = newEmail();
      const invited = await post('/org/invites', { email, role: 'viewer' }, owner.token);
      expect(invited.status, invited.text).toBe(200);
      expect(await invites()).toEqual([invited.json]);
      const token = await mailed(email, INVITED);
      const password = caller().newPassword();
      const accepted = await post('/admin/accept-invite', { token, password });
      expect(accepted.status, accepted.text).toBe(200);
      expect(accepted.json).toMatchObject({ organization: owner.name, admin_email: email, role: 'viewer' });
      await refuses('/admin/accept-invite', token, { password });
      expect(await invites()).toEqual([]);

      const viewer = await caller().tokenFor({ email, password });
      expect(await me(viewer)).toMatchObject({ role: 'viewer', email_verified: true, organization: owner.name });
      const { json } = await caller().request('GET', '/org/admins', { token: viewer, query: { limit: '1' } });
      expect(json.items.map((admin: { email: string }) => admin.email)).toEqual([owner.email]);
      const rest = await caller().request('GET', '/org/admins', { token: viewer, query: { cursor: json.next_cursor } });
      expect(rest.json).toMatchObject({ items: [{ email, role: 'viewer' }], next_cursor: null });
      expectProblem(await post('/org/invites', { email, role: 'admin' }, owner.token), 409, 'admin_email_taken');

      const admin_id = accepted.json.admin_id;
      const promoted = await caller().request('PUT', '/org/admins', {
        token: owner.token,
        body: { admin_id, role: 'owner' },
      });
      expect(promoted.json).toMatchObject({ admin_id, role: 'owner' });
      expectProblem(await caller().request('GET', '/admin/me', { token: viewer }), 401, 'invalid_token');
      const second = await caller().tokenFor({ email, password });
      const remove = (id: string, token: string) =>
        caller().request('DELETE', '/org/admins', { token, query: { admin_id: id } });
      expect((await remove(admin_id, owner.token)).status).toBe(204);
      expectProblem(await caller().request('GET', '/admin/me', { token: second }), 401, 'invalid_token');
      expectProblem(await caller().login({ email, password }), 401, 'invalid_credentials');
      expectProblem(await remove(admin_id, owner.token), 404, 'admin_not_found');
      expectProblem(await remove(owner.adminId, owner.token), 409, 'last_owner');
    });

    test('ends when it is withdrawn, when another is sent, and with the organization', async () => {
      const organization = await caller().signedInTenant();
      const email = newEmail();
      const password = caller().newPassword();
      const tokens: string[] = [];
      for (const role of ['viewer', 'admin', 'owner']) {
        expect((await post('/org/invites', { email, role }, organization.token)).status).toBe(200);
        tokens.push(await mailed(email, INVITED, tokens.length + 1));
      }
      const listed = await caller().request('GET', '/org/invites', { token: organization.token });
      expect(listed.json.items).toMatchObject([{ email, role: 'owner' }]);
      const [{ invitation_id }] = listed.json.items;
      const withdraw = (token: string) =>
        caller().request('DELETE', '/org/invites', { token, query: { invitation_id } });
      expectProblem(await withdraw(owner.token), 404, 'invitation_not_found');
      expect((await withdraw(organization.token)).status).toBe(204);
      expectProblem(await withdraw(organization.token), 404, 'invitation_not_found');
      for (const token of tokens) await refuses('/admin/accept-invite', token, { password });

      expect((await post('/org/invites', { email, role: 'viewer' }, organization.token)).status).toBe(200);
      const last = await mailed(email, INVITED, 4);
      expect((await caller().remove(organization.token, organization.name)).status).toBe(200);
      await refuses('/admin/accept-invite', last, { password });
    });

    test('is good for an address that administers another organization, with a password of its own', async () => {
      const elsewhere = await caller().tenant();
      expect((await post('/org/invites', { email: elsewhere.email, role: 'admin' }, owner.token)).status).toBe(200);
      const token = await mailed(elsewhere.email, INVITED);
      const password = caller().newPassword();
      expect((await post('/admin/accept-invite', { token, password })).status).toBe(200);
      expect((await caller().login({ email: elsewhere.email, password })).json.organization).toBe(owner.name);
      expect((await caller().login(elsewhere)).json.organization).toBe(elsewhere.name);
    });
  });

  test('no log line holds a token of a mail, or an address', async () => {
    const mails = await mailbox().all();
    expect(mails.length).toBeGreaterThan(10);
    const logs = service().logs();
    for (const mail of mails) {
      expect(logs.includes(mail.to)).toBe(false);
      const token = /(?:#token=|Token: )(\S+)/.exec(mail.text)?.[1];
      if (token !== undefined) expect(logs.includes(token.split('.')[1] ?? '')).toBe(false);
    }
  });
}
