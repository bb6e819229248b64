import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import { ROLES } from '../../domain/authorization.ts';
import { logIn } from '../../domain/session/log-in.ts';
import { logOut } from '../../domain/session/log-out.ts';
import { refreshSession } from '../../domain/session/refresh.ts';
import { authenticated } from '../authenticated.ts';
import type { Env } from '../env.ts';
import { boundedBody, jsonBody } from '../json-body.ts';
import { body, email, json, organizationName, password, problems, tokens } from '../schemas.ts';

const refreshToken = z.strictObject({ refresh_token: z.string().min(1).max(256) });

/** Signing in and out: /admin/login, /admin/refresh, /admin/logout, /admin/me. */
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
      200: json(
        'Signed in.',
        tokens.extend({ admin_id: z.string(), admin_email: z.string(), organization: z.string() }),
      ),
      ...problems(400, 401, 409, 413, 415, 422),
    },
  });
  app.openapi(login, async (c) => {
    c.header('Cache-Control', 'no-store');
    return c.json(await logIn(c.get('context'), c.req.valid('json')), 200);
  });

  const refresh = createRoute({
    method: 'post',
    path: '/admin/refresh',
    tags: ['Admins'],
    summary: 'Trade a refresh token for fresh tokens; each is good once',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(refreshToken) },
    responses: { 200: json('Fresh tokens.', tokens), ...problems(400, 401, 413, 415, 422) },
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
        role: admin.role,
        organization_id: organization._id,
        organization: organization.name,
      },
      200,
    );
  });
}
