import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import { changePassword } from '../../domain/admin/change-password.ts';
import { ROLES } from '../../domain/authorization.ts';
import { logIn } from '../../domain/session/log-in.ts';
import { logOut, logOutEverywhere } from '../../domain/session/log-out.ts';
import { refreshSession } from '../../domain/session/refresh.ts';
import { endSession, listSessions } from '../../domain/session/sessions.ts';
import { authenticated } from '../authenticated.ts';
import { deviceMarks, keepDeviceMark } from '../device-cookie.ts';
import type { Env } from '../env.ts';
import { boundedBody, jsonBody } from '../json-body.ts';
import {
  body,
  email,
  json,
  newPassword,
  organizationName,
  page,
  pageQuery,
  password,
  problems,
  timestamp,
  tokens,
} from '../schemas.ts';
import { throttled } from '../throttled.ts';

const refreshToken = z.strictObject({ refresh_token: z.string().min(1).max(256) });

const session = z.object({
  session_id: z.string(),
  device: z.string().nullable().meta({ description: 'The User-Agent that last used it.' }),
  address: z.string().nullable().meta({ description: 'Where it was last used from.' }),
  signed_in_at: timestamp.meta({ description: 'When the password was last given.' }),
  last_used_at: timestamp.meta({ description: 'When it last gave tokens.' }),
  expires_at: timestamp.meta({ description: 'When it ends however much it is used.' }),
  current: z.boolean().meta({ description: 'Whether it is the one that asks.' }),
});

/** Signing in and out, and one's sessions: /admin/login, /refresh, /logout, /logout-all, /password/change, /me, /sessions. */
export function adminRoutes(app: OpenAPIHono<Env>): void {
  const login = createRoute({
    method: 'post',
    path: '/admin/login',
    tags: ['Admins'],
    summary: 'Sign in',
    middleware: [boundedBody, jsonBody] as const,
    request: {
      body: body(z.strictObject({ email, password, organization_name: organizationName.optional() })),
    },
    responses: {
      200: {
        ...json(
          'Signed in.',
          tokens.extend({ admin_id: z.string(), admin_email: z.string(), organization: z.string() }),
        ),
        headers: z.object({
          'set-cookie': z.string().meta({
            description:
              'Marks the device: sent along, its next sign-in has a budget of its own. It grants nothing else.',
          }),
        }),
      },
      ...problems(400, 401, 409, 413, 415, 422, 429),
    },
  });
  app.openapi(login, async (c) => {
    const { mark, ...signedIn } = await logIn(c.get('context'), { ...c.req.valid('json'), marks: deviceMarks(c) });
    keepDeviceMark(c, mark);
    c.header('Cache-Control', 'no-store');
    return c.json(signedIn, 200);
  });

  const refresh = createRoute({
    method: 'post',
    path: '/admin/refresh',
    tags: ['Admins'],
    summary: 'Trade a refresh token for fresh tokens; each is good once',
    middleware: [boundedBody, jsonBody, throttled('refresh')] as const,
    request: { body: body(refreshToken) },
    responses: { 200: json('Fresh tokens.', tokens), ...problems(400, 401, 413, 415, 422, 429) },
  });
  app.openapi(refresh, async (c) => {
    c.header('Cache-Control', 'no-store');
    return c.json(await refreshSession(c.get('context'), c.req.valid('json').refresh_token), 200);
  });

  const logout = createRoute({
    method: 'post',
    path: '/admin/logout',
    tags: ['Admins'],
    summary: 'End the session of a refresh token',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(refreshToken) },
    responses: { 204: { description: 'Ended, or not there.' }, ...problems(400, 413, 415, 422) },
  });
  app.openapi(logout, async (c) => {
    await logOut(c.get('context'), c.req.valid('json').refresh_token);
    return c.body(null, 204);
  });

  const logoutAll = createRoute({
    method: 'post',
    path: '/admin/logout-all',
    tags: ['Admins'],
    summary: 'End all of one’s sessions, this one too',
    security: [{ bearer: [] }],
    middleware: [authenticated('account.update')] as const,
    responses: { 204: { description: 'Ended; the tokens from before have ended with them.' }, ...problems(401, 403) },
  });
  app.openapi(logoutAll, async (c) => {
    await logOutEverywhere(c.get('context'), c.get('principal'));
    return c.body(null, 204);
  });

  const sessions = createRoute({
    method: 'get',
    path: '/admin/sessions',
    tags: ['Admins'],
    summary: 'One’s sessions that are in force',
    security: [{ bearer: [] }],
    middleware: [authenticated('account.read')] as const,
    request: { query: pageQuery },
    responses: {
      200: json('A page of them, in the order in which they began.', page(session)),
      ...problems(401, 403, 422),
    },
  });
  app.openapi(sessions, async (c) => {
    const { items, next_cursor } = await listSessions(c.get('context'), c.get('principal'), c.req.valid('query'));
    c.header('Cache-Control', 'no-store');
    return c.json(
      {
        items: items.map(({ signed_in_at, last_used_at, expires_at, ...rest }) => ({
          ...rest,
          signed_in_at: signed_in_at.toISOString(),
          last_used_at: last_used_at.toISOString(),
          expires_at: expires_at.toISOString(),
        })),
        next_cursor,
      },
      200,
    );
  });

  const end = createRoute({
    method: 'delete',
    path: '/admin/sessions',
    tags: ['Admins'],
    summary: 'End one of one’s sessions',
    security: [{ bearer: [] }],
    middleware: [authenticated('account.update')] as const,
    request: { query: z.strictObject({ session_id: z.uuid() }) },
    responses: { 204: { description: 'Ended, or not there.' }, ...problems(401, 403, 422) },
  });
  app.openapi(end, async (c) => {
    await endSession(c.get('context'), c.get('principal'), c.req.valid('query').session_id);
    return c.body(null, 204);
  });

  const changeOwnPassword = createRoute({
    method: 'post',
    path: '/admin/password/change',
    tags: ['Admins'],
    summary: 'Change one’s own password; every other session ends',
    security: [{ bearer: [] }],
    middleware: [boundedBody, authenticated('account.update'), jsonBody] as const,
    request: { body: body(z.strictObject({ current_password: password, new_password: newPassword })) },
    responses: {
      200: json('Changed: fresh tokens for this session.', tokens),
      ...problems(400, 401, 403, 409, 413, 415, 422, 429),
    },
  });
  app.openapi(changeOwnPassword, async (c) => {
    c.header('Cache-Control', 'no-store');
    return c.json(await changePassword(c.get('context'), c.get('principal'), c.req.valid('json')), 200);
  });

  const me = createRoute({
    method: 'get',
    path: '/admin/me',
    tags: ['Admins'],
    summary: 'Who the token is of',
    security: [{ bearer: [] }],
    middleware: [authenticated('account.read')] as const,
    responses: {
      200: json(
        'The admin.',
        z.object({
          admin_id: z.string(),
          admin_email: z.string(),
          email_verified: z.boolean(),
          role: z.enum(ROLES),
          organization_id: z.string(),
          organization: z.string(),
        }),
      ),
      ...problems(401, 403),
    },
  });
  app.openapi(me, (c) => {
    const { admin, organization } = c.get('principal');
    c.header('Cache-Control', 'no-store');
    return c.json(
      {
        admin_id: admin._id,
        admin_email: admin.email,
        email_verified: admin.email_verified,
        role: admin.role,
        organization_id: organization._id,
        organization: organization.name,
      },
      200,
    );
  });
}
