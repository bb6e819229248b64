import { describe, expect, test } from 'vitest';
import type { AuditAction } from '../../../src/domain/audit/schema.ts';
import type { Answer, Credentials, SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { setUpSecondFactor } from '../../support/second-factor.ts';
import type { TestEnv } from './test-env.ts';

type Change = {
  /** The actions that the change must leave in the log of the organization. */
  readonly actions: readonly AuditAction[];
  /** Makes the change as an admin of a new tenant. */
  readonly make: (tenant: SignedInTenant & { readonly refreshToken: string }) => Promise<Answer>;
  /** The credentials that sign in after the change; left out: those of before. */
  readonly credentials?: () => Credentials & { readonly code?: string };
};

/** Routes that change something and leave no entry, each with the reason. */
const NOT_AUDITED: Readonly<Record<string, string>> = {
  'POST /admin/refresh': 'It continues a session and changes nothing else; a spent token is another matter.',
  'POST /admin/password/forgot': 'It sends a mail, if anything: nothing changes before the token is used.',
  'POST /admin/second-factor': 'It makes a secret that waits: nothing changes before a code of it is sent.',
  'POST /admin/verify-email/resend': 'It sends a mail, and changes nothing.',
  'DELETE /org/delete': 'Nobody can sign in afterwards: test/e2e/retention.test.ts looks at the log.',
  'POST /org/restore': 'It needs a retention time: test/e2e/retention.test.ts looks at the log.',
};

export function auditedRoutesSuite({ caller, mailbox }: TestEnv): void {
  const invite = (token: string, email: string) =>
    caller().request('POST', '/org/invites', { token, body: { email, role: 'viewer' } });
  const mailed = async (email: string, subject: RegExp) => tokenIn(await awaitMail(mailbox(), email, subject));

  /** Another admin of the organization. */
  const addAdmin = async (token: string): Promise<string> => {
    const email = newEmail();
    await invite(token, email);
    const body = { token: await mailed(email, /^You are invited/), password: caller().newPassword() };
    const accepted = await caller().request('POST', '/admin/accept-invite', { body });
    expect(accepted.status, accepted.text).toBe(200);
    return accepted.json.admin_id;
  };

  /** The changes, with new credentials where a change needs them. */
  const changes = (): Readonly<Record<string, Change>> => {
    const next = { email: newEmail(), password: '' };
    const choose = () => {
      next.password = caller().newPassword();
      return next.password;
    };
    let email = '';
    let factored = { email: '', password: '', code: '' };
    const samePerson = () => ({ email, password: next.password });
    const reset = async (of: string) => {
      email = of;
      await caller().request('POST', '/admin/password/forgot', { body: { email } });
      const token = await mailed(email, /^Choose a new password/);
      return caller().request('POST', '/admin/password/reset', { body: { token, password: choose() } });
    };
    return {
      'POST /org/create': {
        actions: ['organization.created'],
        make: () => caller().create(newName(), { email: next.email, password: choose() }),
        credentials: () => next,
      },
      'PUT /org/update': {
        actions: ['organization.renamed', 'admin.email_changed', 'admin.password_changed'],
        make: ({ token }) =>
          caller().update(token, { new_organization_name: newName(), email: next.email, password: choose() }),
        credentials: () => next,
      },
      'POST /admin/login': { actions: ['session.signed_in'], make: (tenant) => caller().login(tenant) },
      'POST /admin/logout': {
        actions: ['session.signed_out'],
        make: ({ refreshToken }) =>
          caller().request('POST', '/admin/logout', { body: { refresh_token: refreshToken } }),
      },
      'POST /admin/logout-all': {
        actions: ['session.signed_out_everywhere'],
        make: ({ token }) => caller().request('POST', '/admin/logout-all', { token }),
      },
      'DELETE /admin/sessions': {
        actions: ['session.ended'],
        make: async ({ token }) => {
          const { json } = await caller().request('GET', '/admin/sessions', { token });
          const query = { session_id: json.items[0].session_id };
          return caller().request('DELETE', '/admin/sessions', { token, query });
        },
      },
      'POST /admin/second-factor/confirm': {
        actions: ['admin.second_factor_enabled'],
        make: async (tenant) => {
          const set = await setUpSecondFactor(caller(), tenant);
          factored = { email: tenant.email, password: tenant.password, code: set.json.recovery_codes[0] };
          return set;
        },
        credentials: () => factored,
      },
      'DELETE /admin/second-factor': {
        actions: ['admin.recovery_code_used', 'admin.second_factor_disabled'],
        make: async (tenant) => {
          const { json } = await setUpSecondFactor(caller(), tenant);
          const body = { current_password: tenant.password, code: json.recovery_codes[0] };
          return caller().request('DELETE', '/admin/second-factor', { token: json.access_token, body });
        },
      },
      'POST /admin/password/change': {
        actions: ['admin.password_changed'],
        make: (tenant) => {
          email = tenant.email;
          const body = { current_password: tenant.password, new_password: choose() };
          return caller().request('POST', '/admin/password/change', { token: tenant.token, body });
        },
        credentials: samePerson,
      },
      'POST /admin/password/reset': {
        actions: ['admin.password_reset'],
        make: (tenant) => reset(tenant.email),
        credentials: samePerson,
      },
      'POST /admin/verify-email': {
        actions: ['admin.email_verified'],
        make: async (tenant) => {
          const body = { token: await mailed(tenant.email, /^Confirm your email/) };
          return caller().request('POST', '/admin/verify-email', { body });
        },
      },
      'POST /admin/undo': {
        actions: ['admin.email_change_undone'],
        make: async (tenant) => {
          const changed = await caller().update(tenant.token, { email: newEmail() });
          expect(changed.status, changed.text).toBe(200);
          const body = { token: await mailed(tenant.email, /^Your email address/) };
          const undone = await caller().request('POST', '/admin/undo', { body });
          // There is no password until then.
          await reset(tenant.email);
          return undone;
        },
        credentials: samePerson,
      },
      'POST /org/invites': { actions: ['admin.invited'], make: ({ token }) => invite(token, newEmail()) },
      'DELETE /org/invites': {
        actions: ['admin.invitation_withdrawn'],
        make: async ({ token }) => {
          const { json } = await invite(token, newEmail());
          return caller().request('DELETE', '/org/invites', { token, query: { invitation_id: json.invitation_id } });
        },
      },
      'POST /admin/accept-invite': {
        actions: ['admin.joined'],
        make: async ({ token }) => {
          const invited = newEmail();
          await invite(token, invited);
          const body = { token: await mailed(invited, /^You are invited/), password: caller().newPassword() };
          return caller().request('POST', '/admin/accept-invite', { body });
        },
      },
      'PUT /org/admins': {
        actions: ['admin.role_changed'],
        make: async ({ token }) =>
          caller().request('PUT', '/org/admins', { token, body: { admin_id: await addAdmin(token), role: 'admin' } }),
      },
      'DELETE /org/sessions': {
        actions: ['session.signed_out_everywhere'],
        make: async ({ token }) =>
          caller().request('DELETE', '/org/sessions', { token, query: { admin_id: await addAdmin(token) } }),
      },
      'DELETE /org/admins': {
        actions: ['admin.removed'],
        make: async ({ token }) =>
          caller().request('DELETE', '/org/admins', { token, query: { admin_id: await addAdmin(token) } }),
      },
    };
  };

  describe('a route that changes something', () => {
    test('is in the list here, or has the reason why it leaves no entry', async () => {
      const { json: document } = await caller().request('GET', '/openapi.json');
      const routes = Object.entries<Record<string, unknown>>(document.paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
      );
      const known = [...Object.keys(changes()), ...Object.keys(NOT_AUDITED)];
      expect(routes.filter((route) => !route.startsWith('GET ')).sort()).toEqual(known.sort());
    });

    test.each(Object.keys(changes()))('%s leaves an entry in the log', async (route) => {
      const { actions, make, credentials } = changes()[route] as Change;
      const tenant = await caller().tenant();
      const { json: tokens } = await caller().login(tenant);
      const answer = await make({ ...tenant, token: tokens.access_token, refreshToken: tokens.refresh_token });
      expect(answer.status, answer.text).toBeLessThan(300);

      const token = await caller().tokenFor(credentials?.() ?? tenant);
      const { json: log } = await caller().request('GET', '/org/audit', { token });
      const requestId = answer.headers.get('X-Request-Id');
      const left = log.items
        .filter((item: { request_id: string }) => item.request_id === requestId)
        .map(({ action }: { action: string }) => action);
      expect(left.sort()).toEqual([...actions].sort());
      const { json: check } = await caller().request('GET', '/org/audit/verify', { token });
      expect(check.valid).toBe(true);
    });
  });
}
