import { beforeAll, describe, expect, test } from 'vitest';
import type { Action, Role } from '../../../src/domain/roles.ts';
import { NEEDS_FRESH_SIGN_IN, PERMISSIONS, ROLES } from '../../../src/domain/roles.ts';
import type { Credentials, RequestOptions, SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { awaitMail, tokenIn } from '../../support/mailbox.ts';
import { expectProblem } from '../../support/problem.ts';
import { claimsOf, forge } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

type Request = Pick<RequestOptions, 'query' | 'body'>;

/** Another organization, which the requests name. */
type Target = { readonly name: string; readonly adminId: string; readonly invitationId: string };

type Row = {
  readonly action: Action;
  /** A request that reaches the check and changes nothing. Left out: a request without input, which is refused later. */
  readonly request?: Request;
  /** A request about something of another organization, and the status of its answer. */
  readonly other?: (other: Target) => Request & { readonly status: 403 | 404 };
};

/** Every route that wants a token, by the action that it asks permission for. */
const ROUTES: Readonly<Record<string, Row>> = {
  'PUT /org/update': {
    action: 'organization.update',
    request: { body: { new_organization_name: '?' } },
    other: ({ name }) => ({ body: { organization_name: name, new_organization_name: newName() }, status: 403 }),
  },
  'DELETE /org/delete': {
    action: 'organization.delete',
    other: ({ name }) => ({ query: { organization_name: name }, status: 403 }),
  },
  'GET /org/admins': { action: 'admins.read' },
  'PUT /org/admins': {
    action: 'admins.manage',
    other: ({ adminId }) => ({ body: { admin_id: adminId, role: 'viewer' }, status: 404 }),
  },
  'DELETE /org/admins': {
    action: 'admins.manage',
    other: ({ adminId }) => ({ query: { admin_id: adminId }, status: 404 }),
  },
  'GET /org/invites': { action: 'admins.read' },
  'POST /org/invites': { action: 'admins.manage' },
  'DELETE /org/invites': {
    action: 'admins.manage',
    other: ({ invitationId }) => ({ query: { invitation_id: invitationId }, status: 404 }),
  },
  'GET /org/sessions': {
    action: 'sessions.read',
    other: ({ adminId }) => ({ query: { admin_id: adminId }, status: 404 }),
  },
  'DELETE /org/sessions': {
    action: 'admins.manage',
    other: ({ adminId }) => ({ query: { admin_id: adminId }, status: 404 }),
  },
  'GET /admin/me': { action: 'account.read' },
  'GET /org/audit': { action: 'audit.read' },
  'GET /org/audit/verify': { action: 'audit.read' },
  'GET /admin/sessions': { action: 'account.read' },
  'DELETE /admin/sessions': { action: 'account.update' },
  'POST /admin/password/change': { action: 'account.update' },
  'POST /admin/second-factor': { action: 'account.update' },
  'POST /admin/second-factor/confirm': { action: 'account.update' },
  'DELETE /admin/second-factor': { action: 'account.update', request: { body: {} } },
  'POST /admin/verify-email/resend': { action: 'account.update' },
  'POST /admin/logout-all': { action: 'account.update' },
};

/** A sign-in is recent for a quarter of an hour. */
const STALE_SECONDS = 16 * 60;

/** After this route, the admins of the tests sign in again. */
const ENDS_SESSIONS = 'POST /admin/logout-all';

export function permissionSuite({ service, caller, mailbox }: TestEnv): void {
  describe('every route that wants a token', () => {
    const accounts = new Map<Role, Credentials>();
    const tokens = new Map<Role, string>();
    let other: SignedInTenant & Target;

    const invite = async (token: string, role: Role) => {
      const email = newEmail();
      const answer = await caller().request('POST', '/org/invites', { token, body: { email, role } });
      expect(answer.status, answer.text).toBe(200);
      return { email, invitationId: String(answer.json.invitation_id) };
    };

    const signInAll = async () => {
      for (const [role, credentials] of accounts) tokens.set(role, await caller().tokenFor(credentials));
    };

    beforeAll(async () => {
      const [own, elsewhere] = await Promise.all([caller().signedInTenant(), caller().signedInTenant()]);
      other = { ...elsewhere, invitationId: (await invite(elsewhere.token, 'admin')).invitationId };
      accounts.set('owner', own);
      for (const role of ROLES.filter((candidate) => candidate !== 'owner')) {
        const { email } = await invite(own.token, role);
        const token = tokenIn(await awaitMail(mailbox(), email, /^You are invited/));
        const password = caller().newPassword();
        const accepted = await caller().request('POST', '/admin/accept-invite', { body: { token, password } });
        expect(accepted.status, accepted.text).toBe(200);
        accounts.set(role, { email, password });
      }
      await signInAll();
    });

    const send = (route: string, request: Request, token?: string) => {
      const [method = '', path = ''] = route.split(' ');
      const body = ['POST', 'PUT', 'PATCH'].includes(method) ? { body: request.body ?? {} } : {};
      return caller().request(method, path, { ...request, ...body, ...(token !== undefined && { token }) });
    };

    test('is in the table', async () => {
      const { json } = await caller().request('GET', '/openapi.json');
      const wanting = Object.entries<Record<string, { security?: unknown[] }>>(json.paths).flatMap(([path, methods]) =>
        Object.entries(methods).flatMap(([method, { security }]) =>
          security === undefined ? [] : [`${method.toUpperCase()} ${path}`],
        ),
      );
      expect(wanting.sort()).toEqual(Object.keys(ROUTES).sort());
    });

    test.each(Object.keys(ROUTES).filter((route) => ROUTES[route]?.other !== undefined))(
      '%s does nothing to another organization, with any role',
      async (route) => {
        const { action, other: about } = ROUTES[route] as Row;
        for (const [role, token] of tokens) {
          const { status, ...request } = about?.(other) ?? { status: 403 };
          expectProblem(await send(route, request, token), PERMISSIONS[action].includes(role) ? status : 403);
        }
        const seen = await caller().request('GET', '/org/admins', { token: other.token });
        expect(seen.json.items).toMatchObject([{ admin_id: other.adminId, role: 'owner' }]);
        const invitations = await caller().request('GET', '/org/invites', { token: other.token });
        expect(invitations.json.items).toMatchObject([{ invitation_id: other.invitationId }]);
        expect((await caller().get(other.name)).status).toBe(200);
      },
    );

    test.each(Object.keys(ROUTES))(
      '%s does what the table permits to each role, and nothing without a token',
      async (route) => {
        const { action, request = {} } = ROUTES[route] as Row;
        expectProblem(await send(route, request), 401, 'invalid_token');
        for (const [role, token] of tokens) {
          const answer = await send(route, request, token);
          if (PERMISSIONS[action].includes(role))
            expect([200, 202, 204, 422], `${role}: ${answer.text}`).toContain(answer.status);
          else expectProblem(answer, 403, 'forbidden');
        }
        if (route === ENDS_SESSIONS) await signInAll();
      },
    );

    test('gives and takes power only after a recent sign-in, and the rest after an earlier one too', async () => {
      const { token } = await caller().signedInTenant();
      const claims = claimsOf(token);
      const signedInAgo = (seconds: number) => {
        const auth_time = Math.floor(Date.now() / 1000) - seconds;
        return forge(token, { ...claims, auth_time }, service().jwtSecret);
      };
      const [stale, fresh] = [signedInAgo(STALE_SECONDS), signedInAgo(STALE_SECONDS - 120)];
      for (const [route, { action, request = {} }] of Object.entries(ROUTES)) {
        if (route === ENDS_SESSIONS) continue;
        const answer = await send(route, request, stale);
        if (NEEDS_FRESH_SIGN_IN.includes(action)) {
          expectProblem(answer, 403, 'reauthentication_required');
          expect(answer.json.detail).toContain('sign in again');
          expectProblem(await send(route, request, fresh), 422, 'invalid_input');
        } else expect([200, 202, 204, 422], `${route}: ${answer.text}`).toContain(answer.status);
      }
      expectProblem(await send('POST /org/invites', { body: { email: newEmail(), role: 'owner' } }, stale), 403);
      expect((await send('GET /org/invites', {}, stale)).json.items).toEqual([]);
    });
  });
}
