import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import { createOrganizationOnce } from '../../domain/idempotency/idempotency.ts';
import { createOrganization } from '../../domain/organization/create.ts';
import { deleteOrganization, repeatDelete } from '../../domain/organization/delete.ts';
import { getErasure } from '../../domain/organization/erasure.ts';
import { getOrganization } from '../../domain/organization/get.ts';
import { previewDelete, previewUpdate } from '../../domain/organization/preview.ts';
import { restoreOrganization } from '../../domain/organization/restore.ts';
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
import { throttled } from '../throttled.ts';

const dryRun = z
  .enum(['true', 'false'])
  .optional()
  .meta({ description: 'true: say what would change, and change nothing.' });

const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'Use 1 to 255 visible ASCII characters.')
  .optional()
  .meta({ description: 'The same key with the same body gives the first answer again, for 24 hours.' });

const change = z.object({ from: z.string(), to: z.string() }).nullable();

const updatePreview = z.object({
  dry_run: z.literal(true),
  organization_name: change,
  collection_name: change,
  documents: z.int(),
  admins: z.int(),
});

const deleted = z.object({ deleted: z.literal(true), organization_name: z.string() });

const deletePreview = z.object({
  dry_run: z.literal(true),
  organization_name: z.string(),
  collection_name: z.string(),
  documents: z.int(),
  admins: z.int(),
  restorable_until: timestamp.nullable(),
});

const removed = z.object({
  collections: z.int(),
  documents: z.int(),
  admins: z.int(),
  sessions: z.int(),
  claims: z.int(),
  mails: z.int(),
});

/** The organization's lifecycle: /org/create, /org/get, /org/update, /org/delete, /org/restore, /org/erasure. */
export function organizationRoutes(app: OpenAPIHono<Env>): void {
  const create = createRoute({
    method: 'post',
    path: '/org/create',
    tags: ['Organizations'],
    summary: 'Create an organization, its collection and its first admin',
    middleware: [boundedBody, jsonBody, throttled('create')] as const,
    request: {
      headers: z.object({ 'idempotency-key': idempotencyKey }),
      body: body(z.strictObject({ organization_name: organizationName, email, password: newPassword })),
    },
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
      ...problems(400, 409, 413, 415, 422, 429),
    },
  });
  app.openapi(create, async (c) => {
    const key = c.req.valid('header')['idempotency-key'];
    const input = c.req.valid('json');
    const created =
      key === undefined
        ? await createOrganization(c.get('context'), input)
        : await createOrganizationOnce(c.get('context'), key, input);
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
    const { version, ...organization } = await getOrganization(c.get('context'), c.req.valid('query'));
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
    middleware: [boundedBody, authenticatedOrRepeat('account.update'), jsonBody] as const,
    request: {
      query: z.strictObject({ dry_run: dryRun }),
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
      200: json(
        'The organization as it is now; the tokens from before have ended. Or, with dry_run=true, what would change.',
        z.union([metadata.extend(tokens.shape), updatePreview]),
      ),
      202: json(
        'The documents are still copied, which goes on without the caller. The same request again gives 200 in the end.',
        metadata,
      ),
      ...problems(400, 401, 403, 409, 413, 415, 422, 429),
    },
  });
  app.openapi(update, async (c) => {
    const spent = c.get('spent');
    const input = c.req.valid('json');
    if (c.req.valid('query').dry_run === 'true' && spent === undefined) {
      return c.json(await previewUpdate(c.get('context'), c.get('principal'), input), 200);
    }
    const updated =
      spent === undefined
        ? await updateOrganization(c.get('context'), c.get('principal'), input)
        : await repeatUpdate(c.get('context'), spent, input);
    const times = { created_at: updated.created_at.toISOString(), updated_at: updated.updated_at.toISOString() };
    return updated.access_token === undefined
      ? c.json({ ...updated, ...times }, 202)
      : c.json({ ...updated, ...times }, 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: '/org/delete',
    tags: ['Organizations'],
    summary: 'Delete the organization, its collection and its admins',
    security: [{ bearer: [] }],
    middleware: [authenticatedOrRepeat('organization.delete')] as const,
    request: { query: z.strictObject({ organization_name: organizationName, dry_run: dryRun }) },
    responses: {
      200: json('Deleted; or, with dry_run=true, what would be.', z.union([deleted, deletePreview])),
      ...problems(308, 401, 403, 409, 422),
    },
  });
  app.openapi(remove, async (c) => {
    const spent = c.get('spent');
    const { dry_run, ...input } = c.req.valid('query');
    if (dry_run === 'true' && spent === undefined) {
      const preview = await previewDelete(c.get('context'), c.get('principal'), input);
      return c.json({ ...preview, restorable_until: preview.restorable_until?.toISOString() ?? null }, 200);
    }
    const deleted =
      spent === undefined
        ? await deleteOrganization(c.get('context'), c.get('principal'), input)
        : await repeatDelete(c.get('context'), spent, input);
    return c.json(deleted, 200);
  });

  const restore = createRoute({
    method: 'post',
    path: '/org/restore',
    tags: ['Organizations'],
    summary: 'Bring a deleted organization back, while it is kept (DELETE_RETENTION_DAYS)',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(z.strictObject({ organization_name: organizationName, email, password })) },
    responses: { 200: json('Restored.', metadata), ...problems(400, 401, 409, 413, 415, 422, 429) },
  });
  app.openapi(restore, async (c) => {
    const restored = await restoreOrganization(c.get('context'), c.req.valid('json'));
    return c.json(
      { ...restored, created_at: restored.created_at.toISOString(), updated_at: restored.updated_at.toISOString() },
      200,
    );
  });

  const erasure = createRoute({
    method: 'get',
    path: '/org/erasure',
    tags: ['Organizations'],
    summary: 'The receipt of an erasure: what was removed, and what is found of it now',
    request: { query: z.strictObject({ organization_id: z.uuid() }) },
    responses: {
      200: json(
        'Erased.',
        z.object({ organization_id: z.string(), erased_at: timestamp, removed, remaining: removed }),
      ),
      ...problems(404, 422),
    },
  });
  app.openapi(erasure, async (c) => {
    const receipt = await getErasure(c.get('context'), c.req.valid('query'));
    return c.json({ ...receipt, erased_at: receipt.erased_at.toISOString() }, 200);
  });
}
