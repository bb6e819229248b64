import { describe, expect, test } from 'vitest';
import type { Answer } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem } from '../../support/problem.ts';
import { MAIL_RECIPIENT } from '../../support/service.ts';
import { claimsOf } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

const CONFIRM = /^Confirm your email/;
const RESET = /^Choose a new password/;
const PASSWORD_CHANGED = /^Your password was changed$/;
const EMAIL_CHANGED = /^Your email address/;

export function mailSuite({ caller, mailbox }: TestEnv): void {
  const post = (path: string, body: unknown): Promise<Answer> => caller().request('POST', path, { body });
  const me = async (token: string) => (await caller().request('GET', '/admin/me', { token })).json;
  const mailed = async (to: string, subject: RegExp, count = 1) =>
    tokenIn(await awaitMail(mailbox(), to, subject, count));
  const expectRefused = async (path: string, token: string, rest: object = {}) =>
    expectProblem(await post(path, { token, ...rest }), 401, 'invalid_one_time_token');
  const verify = (token: string) => post('/admin/verify-email', { token });

  describe('an admin’s email', () => {
    test('is verified by the token that was sent to it, once, and access tokens say so from then on', async () => {
      const tenant = await caller().tenant();
      const { json: signedIn } = await caller().login(tenant);
      expect(claimsOf(signedIn.access_token)['email_verified']).toBe(false);
      expect((await me(signedIn.access_token)).email_verified).toBe(false);
      const token = await mailed(tenant.email, CONFIRM);
      expect((await verify(token)).status).toBe(204);
      expect((await me(signedIn.access_token)).email_verified).toBe(true);
      const { json: refreshed } = await post('/admin/refresh', { refresh_token: signedIn.refresh_token });
      for (const access of [refreshed.access_token, await caller().tokenFor(tenant)]) {
        expect(claimsOf(access)['email_verified']).toBe(true);
      }
      await expectRefused('/admin/verify-email', token);
    });

    test('is not verified by another token, and its token sets no password', async () => {
      const tenant = await caller().signedInTenant();
      const token = await mailed(tenant.email, CONFIRM);
      for (const wrong of ['x', '.', `${token}0`, token.slice(0, -1), `${token.split('.')[0]}.${'0'.repeat(64)}`]) {
        await expectRefused('/admin/verify-email', wrong);
      }
      await expectRefused('/admin/password/reset', token, { password: caller().newPassword() });
      expect((await me(tenant.token)).email_verified).toBe(false);
    });

    test('gets another token when it is asked for, and the earlier one ends', async () => {
      const tenant = await caller().signedInTenant();
      const first = await mailed(tenant.email, CONFIRM);
      const answer = await caller().request('POST', '/admin/verify-email/resend', { token: tenant.token });
      expect([answer.status, answer.text]).toEqual([202, '']);
      const second = await mailed(tenant.email, CONFIRM, 2);
      await expectRefused('/admin/verify-email', first);
      expect((await verify(second)).status).toBe(204);
    });

    test('is told when another takes its place, without naming it', async () => {
      const tenant = await caller().signedInTenant();
      const email = newEmail();
      expect((await caller().update(tenant.token, { email })).status).toBe(200);
      const notice = await awaitMail(mailbox(), tenant.email, EMAIL_CHANGED);
      expect(notice.text).not.toContain(email);
    });

    test('comes back by the token of that mail, once, with every sign-in and later token at an end', async () => {
      const tenant = await caller().signedInTenant();
      expect((await verify(await mailed(tenant.email, CONFIRM))).status).toBe(204);
      const thief = newEmail();
      const changed = await caller().update(tenant.token, { email: thief });
      const thiefs = await mailed(thief, CONFIRM);
      const again = await caller().update(changed.json.access_token, { email: newEmail() });
      expect(again.status, again.text).toBe(200);
      const thiefsUndo = await mailed(thief, EMAIL_CHANGED);
      const undo = await mailed(tenant.email, EMAIL_CHANGED);
      expect((await post('/admin/undo', { token: undo })).status).toBe(204);
      expectProblem(
        await caller().request('GET', '/admin/me', { token: again.json.access_token }),
        401,
        'invalid_token',
      );
      for (const token of [undo, thiefsUndo]) await expectRefused('/admin/undo', token);
      await expectRefused('/admin/verify-email', thiefs);
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expect((await post('/admin/password/forgot', { email: tenant.email })).status).toBe(202);
      const password = caller().newPassword();
      const reset = { token: await mailed(tenant.email, RESET), password };
      expect((await post('/admin/password/reset', reset)).status).toBe(204);
      expect(await me(await caller().tokenFor({ ...tenant, password }))).toMatchObject({
        admin_email: tenant.email,
        email_verified: true,
      });
    });

    test('has to be verified anew when it changes', async () => {
      const tenant = await caller().signedInTenant();
      expect((await verify(await mailed(tenant.email, CONFIRM))).status).toBe(204);
      const email = newEmail();
      const changed = await caller().update(tenant.token, { email });
      expect(changed.status, changed.text).toBe(200);
      expect((await me(changed.json.access_token)).email_verified).toBe(false);
      expect((await verify(await mailed(email, CONFIRM))).status).toBe(204);
      expect((await me(changed.json.access_token)).email_verified).toBe(true);
    });
  });

  describe('an address that has had as many mails as it may', () => {
    test('gets no invitation and no other mail of strangers, and who creates in its name is not told', async () => {
      const tenant = await caller().signedInTenant();
      const victim = newEmail();
      const invite = () =>
        caller().request('POST', '/org/invites', { token: tenant.token, body: { email: victim, role: 'viewer' } });
      for (let sent = 0; sent < MAIL_RECIPIENT; sent++) expect((await invite()).status).toBe(200);
      const refused = await invite();
      expectProblem(refused, 429, 'too_many_requests');
      expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
      const shape = ({ status, json, headers }: Answer) => [
        status,
        Object.keys(json),
        [...headers.keys()].filter((name) => name !== 'date').sort(),
      ];
      const created = await caller().create(newName(), { email: victim });
      expect(shape(created)).toEqual(shape(await caller().create(newName())));
      const mails = (await mailbox().all()).filter(({ to }) => to === victim);
      expect(mails.filter(({ subject }) => CONFIRM.test(subject))).toEqual([]);
    });
  });

  describe('a forgotten password', () => {
    const forget = async (email: string) => expect((await post('/admin/password/forgot', { email })).status).toBe(202);

    test('is replaced by the token that was sent, once', async () => {
      const tenant = await caller().tenant();
      await forget(tenant.email);
      const token = await mailed(tenant.email, RESET);
      expectProblem(await post('/admin/password/reset', { token, password: '12345678\0' }), 422, 'invalid_input');
      const password = caller().newPassword();
      expect((await post('/admin/password/reset', { token, password })).status).toBe(204);
      await expectRefused('/admin/password/reset', token, { password });
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');
      expect((await me(await caller().tokenFor({ ...tenant, password }))).email_verified).toBe(true);
      await awaitMail(mailbox(), tenant.email, PASSWORD_CHANGED);
    });

    test('ends the sign-ins and the other tokens of before, once it is replaced', async () => {
      const tenant = await caller().signedInTenant();
      await forget(tenant.email);
      const older = await mailed(tenant.email, RESET);
      await forget(tenant.email);
      const token = await mailed(tenant.email, RESET, 2);
      const password = caller().newPassword();
      expect((await post('/admin/password/reset', { token, password })).status).toBe(204);
      await expectRefused('/admin/password/reset', older, { password });
      await expectRefused('/admin/verify-email', await mailed(tenant.email, CONFIRM));
      expectProblem(await caller().request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
    });

    test.each([
      ['an unknown address', () => ({ email: newEmail() })],
      ['an unknown organization', (email: string) => ({ email, organization_name: newName() })],
      ['an impossible organization', (email: string) => ({ email, organization_name: '\u{1F600}' })],
    ])('is answered the same for %s, which gets no mail', async (_, make) => {
      const tenant = await caller().tenant();
      const shape = ({ status, text, headers }: Answer) => [
        status,
        text,
        [...headers.keys()].filter((name) => !['x-request-id', 'date'].includes(name)).sort(),
      ];
      const unknown = await post('/admin/password/forgot', make(tenant.email));
      const known = await post('/admin/password/forgot', { email: tenant.email });
      expect(shape(unknown)).toEqual(shape(known));
      await mailed(tenant.email, RESET);
      const sent = (await mailbox().all()).filter((mail) => mail.to === tenant.email && RESET.test(mail.subject));
      expect(sent).toHaveLength(1);
    });

    test('of one address in two organizations is replaced in each by a token of its own, in one mail', async () => {
      const first = await caller().tenant();
      const second = newName();
      expect((await caller().create(second, first)).status).toBe(200);
      await forget(first.email);
      const mail = await awaitMail(mailbox(), first.email, RESET);
      const [before = '', after] = mail.text.split(`"${second}"`);
      if (after === undefined) throw new Error('The mail does not name the second organization.');
      expect(before).toContain(`"${first.name}"`);
      const password = caller().newPassword();
      const token = tokenIn({ ...mail, text: after });
      expect((await post('/admin/password/reset', { token, password })).status).toBe(204);
      expect((await caller().login({ ...first, password }, second)).json.organization).toBe(second);
      expect((await caller().login(first, first.name)).json.organization).toBe(first.name);
      expectProblem(await caller().login(first, second), 401, 'invalid_credentials');
    });
  });
}
