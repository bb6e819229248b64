import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer, Caller } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import type { MailServer, ReceivedMail } from '../support/mailbox.ts';
import { awaitMail, startSmtpServer, tokenIn } from '../support/mailbox.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService } from '../support/service.ts';
import { MAIL_RECIPIENT, startService } from '../support/service.ts';

const PUBLIC_URL = 'https://app.example.com/tenants';
const FROM = 'Tenantry <no-reply@tenantry.example>';

const CONFIRM = /^Confirm your email address$/;
const RESET = /^Choose a new password$/;
const INVITED = /^You are invited to an organization$/;

/** Asked for in turn, a known address and an unknown one; and how many times the quicker one's the slower median may be. */
const ASKED = 40;
const TIMES = 2;

describe.each(['node', 'bun'] as const)('mail by SMTP on %s', (runtime) => {
  let smtp: MailServer;
  let service: RunningService;
  let caller: Caller;

  beforeAll(async () => {
    smtp = await startSmtpServer();
    const env = {
      SMTP_URL: smtp.url,
      SMTP_ALLOW_PLAIN: 'true',
      MAIL_FROM: FROM,
      PUBLIC_URL: `${PUBLIC_URL}/`,
      REQUIRE_VERIFIED_EMAIL: 'true',
      // Mails that were not taken are tried again soon.
      LEASE_MS: '1000',
      RECONCILE_MS: '200',
    };
    service = await startService({ runtime, store: { kind: 'embedded' }, env });
    caller = createCaller(service.url);
  });

  afterAll(async () => {
    await service?.stop();
    await smtp?.stop();
  });

  const post = (path: string, body: unknown, token?: string): Promise<Answer> =>
    caller.request('POST', path, { body, ...(token !== undefined && { token }) });

  /** The token of the link, which leads to a page of the front end. */
  const linked = (mail: ReceivedMail, page: string): string => {
    const link = `${PUBLIC_URL}${page}#token=${tokenIn(mail)}`;
    expect(mail.text).toContain(link);
    expect(mail.html).toContain(`href="${link}"`);
    expect(mail.from).toContain('no-reply@tenantry.example');
    return tokenIn(mail);
  };

  test('verification: until the link was used, nothing but the own account is changed', async () => {
    const tenant = await caller.signedInTenant();
    const { token } = tenant;
    expectProblem(await caller.update(token, { new_organization_name: newName() }), 403, 'email_not_verified');
    expectProblem(await caller.remove(token, tenant.name), 403, 'email_not_verified');
    expectProblem(await post('/org/invites', { email: newEmail(), role: 'viewer' }, token), 403, 'email_not_verified');
    expect((await caller.request('GET', '/org/admins', { token })).status).toBe(200);
    const verification = linked(await awaitMail(smtp, tenant.email, CONFIRM), '/verify-email');
    expect((await post('/admin/verify-email', { token: verification })).status).toBe(204);
    expectProblem(await post('/admin/verify-email', { token: verification }), 401, 'invalid_one_time_token');
    expect((await caller.update(token, { new_organization_name: newName() })).status).toBe(200);
  });

  test('reset, invitation and notice: each link works once', async () => {
    const tenant = await caller.signedInTenant();
    expect((await post('/admin/password/forgot', { email: tenant.email, organization_name: tenant.name })).status).toBe(
      202,
    );
    const reset = linked(await awaitMail(smtp, tenant.email, RESET), '/reset-password');
    const password = caller.newPassword();
    expect((await post('/admin/password/reset', { token: reset, password })).status).toBe(204);
    expectProblem(await post('/admin/password/reset', { token: reset, password }), 401, 'invalid_one_time_token');
    const changed = await awaitMail(smtp, tenant.email, /^Your password was changed$/);
    expect(changed.text).not.toContain('token');

    const token = await caller.tokenFor({ ...tenant, password });
    const email = newEmail();
    expect((await post('/org/invites', { email, role: 'admin' }, token)).status).toBe(200);
    const invitation = linked(await awaitMail(smtp, email, INVITED), '/accept-invite');
    const theirs = { token: invitation, password: caller.newPassword() };
    expect((await post('/admin/accept-invite', theirs)).json).toMatchObject({
      organization: tenant.name,
      role: 'admin',
    });
    expectProblem(await post('/admin/accept-invite', theirs), 401, 'invalid_one_time_token');

    const next = newEmail();
    expect((await caller.update(token, { email: next })).status).toBe(200);
    const undo = linked(await awaitMail(smtp, tenant.email, /^Your email address/), '/undo');
    const verification = linked(await awaitMail(smtp, next, CONFIRM), '/verify-email');
    expect((await caller.request('GET', '/admin/me', { token })).json.admin_email).toBe(tenant.email);
    expect((await post('/admin/verify-email', { token: verification })).status).toBe(204);
    await caller.tokenFor({ email: next, password });
    expect((await post('/admin/undo', { token: undo })).status).toBe(204);
    expectProblem(await post('/admin/undo', { token: undo }), 401, 'invalid_one_time_token');
    expectProblem(await caller.login({ ...tenant, password }), 401, 'invalid_credentials');
    expect((await post('/admin/password/forgot', { email: tenant.email })).status).toBe(202);
    const again = {
      token: linked(await awaitMail(smtp, tenant.email, RESET, 2), '/reset-password'),
      password: caller.newPassword(),
    };
    expect((await post('/admin/password/reset', again)).status).toBe(204);
    await caller.tokenFor({ ...tenant, password: again.password });
  });

  test('a name of an organization is text in a mail, and nothing else', async () => {
    const stem = newName('<b>"Evil" & Söhne</b>');
    const { email } = await caller.tenant(stem);
    const mail = await awaitMail(smtp, email, CONFIRM);
    expect(mail.subject).toBe('Confirm your email address');
    expect(mail.html).toContain('&quot;&lt;b&gt;&#39;Evil&#39; &amp; Söhne&lt;/\u2060b&gt;');
    expect(mail.text).toContain(`"<b>'Evil' & Söhne</\u2060b>`);
  });

  test('a mail server that is away delays mails, and no request; nor does a crash lose one', async () => {
    smtp.answer('away');
    const tenant = await caller.tenant();
    expect((await post('/admin/password/forgot', { email: tenant.email })).status).toBe(202);
    await service.kill('SIGKILL');
    smtp.answer('takes');
    await service.restart();
    await awaitMail(smtp, tenant.email, CONFIRM);
    const reset = tokenIn(await awaitMail(smtp, tenant.email, RESET));
    expect((await post('/admin/password/reset', { token: reset, password: caller.newPassword() })).status).toBe(204);
  });

  test('asking for a reset takes the same for an address that is there and one that is not', async () => {
    const tenant = await caller.tenant();
    const times = { known: [] as number[], unknown: [] as number[] };
    for (let asked = 0; asked < ASKED; asked++) {
      for (const who of asked % 2 === 0 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const)) {
        const email = who === 'known' ? tenant.email : newEmail();
        const start = performance.now();
        expect((await post('/admin/password/forgot', { email })).status).toBe(202);
        times[who].push(performance.now() - start);
      }
    }
    const [known, unknown] = [median(times.known), median(times.unknown)];
    expect(Math.max(known, unknown), `${known} ms, ${unknown} ms`).toBeLessThan(TIMES * Math.min(known, unknown));
    // However often it is asked for, a mailbox is not flooded.
    const resets = (await smtp.all()).filter((mail) => mail.to === tenant.email && RESET.test(mail.subject));
    expect(resets.length).toBeLessThanOrEqual(MAIL_RECIPIENT);
  });

  test('no log line holds a token or an address', async () => {
    const logs = service.logs();
    const mails = await smtp.all();
    expect(mails.length).toBeGreaterThan(8);
    for (const mail of mails) {
      expect(logs.includes(mail.to)).toBe(false);
      if (mail.text.includes('#token=')) expect(logs.includes(tokenIn(mail).split('.')[1] ?? '')).toBe(false);
    }
  });
});

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0;
