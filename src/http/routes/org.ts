import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import type { Context } from '../../domain/context.ts';
import { createOrganization } from '../../domain/organization/create.ts';
import { deleteOrganization, repeatDelete } from '../../domain/organization/delete.ts';
import { getOrganization } from '../../domain/organization/get.ts';
import { repeatUpdate, updateOrganization } from '../../domain/organization/update.ts';
import { authenticatedOrRepeat } from '../authenticated.ts';
import type { Env } from '../env.ts';
import { matchesETag } from '../etag.ts';
import { boundedBody, jsonBody } from '../json-body.ts';
import {
  body,
  email,
  json,
  metadata,
  newPassword,
  organizationName,
  password,
  problems,
  timestamp,
  tokens,
} from '../schemas.ts';

/** The organization's lifecycle: /org/create, /org/get, /org/update, /org/delete. */
export function organizationRoutes(app: OpenAPIHono<Env>, context: Context): void {
  const create = createRoute({
    method: 'post',
    path: '/org/create',
    tags: ['Organizations'],
    summary: 'Create an organization, its collection and its first admin',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(z.strictObject({ organization_name: organizationName, email, password: newPassword })) },
    responses: {
      200: json(
        'Created.',
        z.object({
          organization_id: z.string(),
          organization_name: z.string(),
          collection_name: z.string(),
          admin_id: z.string(),
          admin_email: z.string(),
          created_at: timestamp,
        }),
      ),
      ...problems(400, 409, 413, 415, 422),
    },
  });
  app.openapi(create, async (c) => {
    const created = await createOrganization(context, c.req.valid('json'));
    return c.json({ ...created, created_at: created.created_at.toISOString() }, 200);
  });

  const get = createRoute({
    method: 'get',
    path: '/org/get',
    tags: ['Organizations'],
    summary: 'What anyone may see of an organization',
    request: {
      query: z.strictObject({ organization_name: organizationName }),
      headers: z.object({ 'if-none-match': z.string().optional() }),
    },
    responses: {
      200: { ...json('The organization.', metadata), headers: z.object({ etag: z.string() }) },
      304: { description: 'As the caller has it already.', headers: z.object({ etag: z.string() }) },
      ...problems(308, 404, 422),
    },
  });
  app.openapi(get, async (c) => {
    const { version, ...organization } = await getOrganization(context, c.req.valid('query'));
    const etag = `"${organization.organization_id}.${version}"`;
    c.header('ETag', etag);
    c.header('Cache-Control', 'no-cache');
    if (matchesETag(c.req.header('If-None-Match'), etag)) return c.body(null, 304);
    return c.json(
      {
        ...organization,
        created_at: organization.created_at.toISOString(),
        updated_at: organization.updated_at.toISOString(),
      },
      200,
    );
  });

  const update = createRoute({
    method: 'put',
    path: '/org/update',
    tags: ['Organizations'],
    summary: 'Rename the organization, change the admin’s email or password: all of it or nothing',
    security: [{ bearer: [] }],
    middleware: [boundedBody, authenticatedOrRepeat(context, 'organization.update'), jsonBody] as const,
    request: {
      body: body(
        z
          .strictObject({
            organization_name: organizationName.optional(),
            new_organization_name: organizationName.optional(),
            email: email.optional(),
            password: newPassword.optional(),
            current_password: password.optional(),
          })
          .meta({ minProperties: 1 }),
      ),
    },
    responses: {
      200: json('The organization as it is now. The tokens from before have ended.', metadata.extend(tokens.shape)),
      ...problems(400, 401, 403, 409, 413, 415, 422),
    },
  });
  app.openapi(update, async (c) => {
    const spent = c.get('spent');
    const input = c.req.valid('json');
    const updated =
      spent === undefined
        ? await updateOrganization(context, c.get('principal'), input)
        : await repeatUpdate(context, spent, input);
    return c.json(
      { ...updated, created_at: updated.created_at.toISOString(), updated_at: updated.updated_at.toISOString() },
      200,
    );
  });

  const remove = createRoute({
    method: 'delete',
    path: '/org/delete',
    tags: ['Organizations'],
    summary: 'Delete the organization, its collection and its admins',
    security: [{ bearer: [] }],
    middleware: [authenticatedOrRepeat(context, 'organization.delete')] as const,
    request: { query: z.strictObject({ organization_name: organizationName }) },
    responses: {
      200: json('Deleted.', z.object({ deleted: z.literal(true), organization_name: z.string() })),
      ...problems(308, 401, 403, 409, 422),
    },
  });
  app.openapi(remove, async (c) => {
    const spent = c.get('spent');
    const input = c.req.valid('query');
    const deleted =
      spent === undefined
        ? await deleteOrganization(context, c.get('principal'), input)
        : await repeatDelete(context, spent, input);
    return c.json(deleted, 200);
  });
}
