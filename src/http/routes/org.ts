import * as z from 'zod';
import { createOrganizationOnce } from '../../domain/idempotency/create-once.ts';
import { createOrganization } from '../../domain/organization/create.ts';
import { deleteOrganization } from '../../domain/organization/delete.ts';
import { getErasure } from '../../domain/organization/erasure.ts';
import { getOrganization } from '../../domain/organization/get.ts';
import { previewDelete, previewUpdate } from '../../domain/organization/preview.ts';
import { restoreOrganization } from '../../domain/organization/restore.ts';
import { updateOrganization } from '../../domain/organization/update.ts';
import { matchesETag } from '../etag.ts';
import { routeGroup } from '../route.ts';
import { accessToken, email, metadata, newPassword, organizationName, password, timestamp } from '../schemas.ts';

const dryRun = z
  .enum(['true', 'false'])
  .optional()
  .meta({ description: 'true: say what would change, and change nothing.' });

const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'Use 1 to 255 visible ASCII characters.')
  .optional()
  .meta({ description: 'The same key with the same body gives the first answer again, for 24 hours.' });

const created = z.object({
  organization_id: z.string(),
  organization_name: z.string(),
  collection_name: z.string(),
  admin_id: z.string(),
  admin_email: z.string(),
  created_at: timestamp,
});

const updatePreview = z.object({
  dry_run: z.literal(true),
  organization_name: z.object({ from: z.string(), to: z.string() }).nullable(),
  collection_name: z
    .object({ from: z.string(), to: z.string().nullable() })
    .nullable()
    .meta({ description: '`to` is null where it is not known before the rename.' }),
  documents: z.int(),
  admins: z.int(),
});

const deletePreview = z.object({
  dry_run: z.literal(true),
  organization_name: z.string(),
  collection_name: z.string(),
  documents: z.int(),
  admins: z.int(),
  restorable_until: timestamp.nullable(),
});

const deleted = z.object({ deleted: z.literal(true), organization_name: z.string() });

const remaining = z.object({
  collections: z.int(),
  admins: z.int(),
  sessions: z.int(),
  names: z.int(),
  mails: z.int(),
});

const etag = z.object({ etag: z.string() });

/** The organization's lifecycle: /org/create, /get, /update, /delete, /restore, /erasure. */
export function orgRoutes() {
  const { app, route } = routeGroup('Organizations');
  route('POST /create', {
    summary: 'Create an organization, its collection and its first admin',
    limit: 'create',
    headers: z.object({ 'idempotency-key': idempotencyKey }),
    body: z.strictObject({ organization_name: organizationName, email, password: newPassword }),
    answer: { description: 'Created.', schema: created },
    refusals: [409],
    verb: (context, { 'idempotency-key': idempotency_key, ...input }) =>
      idempotency_key === undefined
        ? createOrganization(context, input)
        : createOrganizationOnce(context, { idempotency_key, ...input }),
  });
  route('GET /get', {
    summary: 'What anyone may see of an organization',
    query: z.strictObject({ organization_name: organizationName }),
    headers: z.object({ 'if-none-match': z.string().optional() }),
    answer: { description: 'The organization.', schema: metadata, headers: etag },
    responses: { 304: { description: 'As the caller has it already.', headers: etag } },
    refusals: [308, 404],
    verb: async (context, { 'if-none-match': known, ...input }, c) => {
      const organization = await getOrganization(context, input);
      const tag = `"${organization.organization_id}.${organization.version}"`;
      c.header('ETag', tag);
      c.header('Cache-Control', 'no-cache');
      return matchesETag(known, tag) ? c.body(null, 304) : organization;
    },
  });
  route('PUT /update', {
    summary: 'Rename the organization, change the admin’s email or password: all of it or nothing',
    action: 'account.update',
    query: z.strictObject({ dry_run: dryRun }),
    body: z
      .strictObject({
        organization_name: organizationName.optional(),
        new_organization_name: organizationName.optional(),
        email: email.optional(),
        password: newPassword.optional(),
        current_password: password.optional(),
      })
      .meta({ minProperties: 1 }),
    answer: {
      description:
        'The organization as it is now; where something changed, with an access token of the same session that ends when the old one would. Or, with dry_run=true, what would change.',
      schema: z.union([metadata.extend(accessToken.partial().shape), updatePreview]),
    },
    refusals: [409, 429],
    verb: async (context, { dry_run, ...input }) =>
      dry_run === 'true' ? previewUpdate(context, input) : updateOrganization(context, input),
  });
  route('DELETE /delete', {
    summary: 'Delete the organization, its collection and its admins',
    action: 'organization.delete',
    query: z.strictObject({ organization_name: organizationName, dry_run: dryRun }),
    answer: {
      description: 'Deleted; or, with dry_run=true, what would be.',
      schema: z.union([deleted, deletePreview]),
    },
    refusals: [308, 409],
    verb: async (context, { dry_run, ...input }) =>
      dry_run === 'true' ? previewDelete(context, input) : deleteOrganization(context, input),
  });
  route('POST /restore', {
    summary: 'Bring a deleted organization back, while it is kept (DELETE_RETENTION_DAYS)',
    body: z.strictObject({ organization_name: organizationName, email, password }),
    answer: { description: 'Restored.', schema: metadata },
    refusals: [401, 409, 429],
    verb: restoreOrganization,
  });
  route('GET /erasure', {
    summary: 'The receipt of an erasure, and what is found of the organization now',
    query: z.strictObject({ organization_id: z.uuid() }),
    answer: {
      description: 'Erased.',
      schema: z.object({ organization_id: z.string(), erased_at: timestamp, remaining }),
    },
    refusals: [404],
    verb: getErasure,
  });
  return app;
}
