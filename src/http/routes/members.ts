import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import type { AdminView } from '../../domain/admin/admin.ts';
import { listAdmins } from '../../domain/admin/list.ts';
import { changeRole, removeAdmin } from '../../domain/admin/membership.ts';
import { ROLES } from '../../domain/authorization.ts';
import { authenticated } from '../authenticated.ts';
import type { Env } from '../env.ts';
import { boundedBody, jsonBody } from '../json-body.ts';
import { body, json, page, pageQuery, problems, timestamp } from '../schemas.ts';

const role = z.enum(ROLES);

const admin = z.object({
  admin_id: z.string(),
  email: z.string(),
  email_verified: z.boolean(),
  role,
  created_at: timestamp,
});

const shown = ({ created_at, ...view }: AdminView) => ({ ...view, created_at: created_at.toISOString() });

/** The admins of an organization: /org/admins. */
export function memberRoutes(app: OpenAPIHono<Env>): void {
  const list = createRoute({
    method: 'get',
    path: '/org/admins',
    tags: ['Admins'],
    summary: 'The organization’s admins',
    security: [{ bearer: [] }],
    middleware: [authenticated('admins.read')] as const,
    request: { query: pageQuery },
    responses: {
      200: json('A page of them, in the order in which they came.', page(admin)),
      ...problems(401, 403, 422),
    },
  });
  app.openapi(list, async (c) => {
    const { items, next_cursor } = await listAdmins(c.get('context'), c.get('principal'), c.req.valid('query'));
    c.header('Cache-Control', 'no-store');
    return c.json({ items: items.map(shown), next_cursor }, 200);
  });

  const change = createRoute({
    method: 'put',
    path: '/org/admins',
    tags: ['Admins'],
    summary: 'Give an admin another role; the admin’s tokens end',
    security: [{ bearer: [] }],
    middleware: [boundedBody, authenticated('admins.manage'), jsonBody] as const,
    request: { body: body(z.strictObject({ admin_id: z.uuid(), role })) },
    responses: { 200: json('The admin as it is now.', admin), ...problems(400, 401, 403, 404, 409, 413, 415, 422) },
  });
  app.openapi(change, async (c) =>
    c.json(shown(await changeRole(c.get('context'), c.get('principal'), c.req.valid('json'))), 200),
  );

  const remove = createRoute({
    method: 'delete',
    path: '/org/admins',
    tags: ['Admins'],
    summary: 'Remove an admin; the admin’s tokens end',
    security: [{ bearer: [] }],
    middleware: [authenticated('admins.manage')] as const,
    request: { query: z.strictObject({ admin_id: z.uuid() }) },
    responses: { 204: { description: 'Removed.' }, ...problems(401, 403, 404, 409, 422) },
  });
  app.openapi(remove, async (c) => {
    await removeAdmin(c.get('context'), c.get('principal'), c.req.valid('query'));
    return c.body(null, 204);
  });
}
