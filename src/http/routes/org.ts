import * as z from 'zod';
import type { Settings } from '../../domain/context.ts';
import { createOrganizationOnce } from '../../domain/idempotency/create-once.ts';
import { createOrganization } from '../../domain/organization/create.ts';
import { deleteOrganization } from '../../domain/organization/delete.ts';
import { getErasure } from '../../domain/organization/erasure.ts';
import { getOrganization } from '../../domain/organization/get.ts';
import { previewDelete, previewUpdate } from '../../domain/organization/preview.ts';
import { restoreOrganization } from '../../domain/organization/restore.ts';
import { requireSignUp } from '../../domain/organization/sign-up.ts';
import { updateOrganization } from '../../domain/organization/update.ts';
import { deviceCookieHeaders, setDeviceCookie } from '../device-cookie.ts';
import { matchesETag } from '../etag.ts';
import { routeGroup } from '../route.ts';
import {
  accessToken,
  email,
  metadata,
  newPassword,
  organizationName,
  password,
  secondFactorCode,
  timestamp,
} from '../schemas.ts';

const dryRun = z
  .enum(['true', 'false'])
  .optional()
  .meta({ description: 'true: say what would change, and change nothing.' });

const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'Use 1 to 255 visible ASCII characters.')
  .optional()
  .meta({
    description:
      'The same key with the same organization_name and email gives the first answer again, for 24 hours, to the address that sent the first request (in IPv6 to its /64). The password is not compared: that of the first request is the admin’s. From another address, a repeat answers 409 organization_name_taken.',
  });

const captchaToken = z
  .string()
  .max(8192)
  .optional()
  .meta({ description: 'Where CAPTCHA_VERIFY_URL is set: the token of a solved CAPTCHA, good once.' });

const signUpKey = z.string().optional().meta({ description: 'With SIGNUP=key: a key that the operator gave out.' });

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

/**
 * The organization's lifecycle: /org/create, /get, /update, /delete, /restore, /erasure.
 * @param settings.orgLookup whether /org/get asks for a token
 */
export function orgRoutes({ orgLookup }: Pick<Settings, 'orgLookup'>) {
  const isPublic = orgLookup === 'public';
  const { app, route } = routeGroup('Organizations');
  route('POST /create', {
    summary: 'Create an organization, its collection and its first admin',
    limit: 'create',
    gate: (context, c) => requireSignUp(context, c.req.header('X-Signup-Key')),
    headers: z.object({
      'idempotency-key': idempotencyKey,
      'x-signup-key': signUpKey,
      'x-captcha-token': captchaToken,
    }),
    body: z.strictObject({ organization_name: organizationName, email, password: newPassword }),
    answer: { description: 'Created.', schema: created },
    refusals: [403, 409],
    verb: (context, input) => {
      const { 'idempotency-key': idempotency_key, 'x-captcha-token': captcha_token } = input;
      const { organization_name, email, password } = input;
      const asked = { organization_name, email, password, captcha_token };
      return idempotency_key === undefined
        ? createOrganization(context, asked)
        : createOrganizationOnce(context, { idempotency_key, ...asked });
    },
  });
  route('GET /get', {
    summary: isPublic ? 'What anyone may see of an organization' : 'What its admins may see of their organization',
    ...(!isPublic && {
      action: 'account.read' as const,
      description: 'Any name but that of the own organization is answered like one that nobody has.',
    }),
    query: z.strictObject({ organization_name: organizationName }),
    headers: z.object({ 'if-none-match': z.string().optional() }),
    answer: { description: 'The organization.', schema: metadata, headers: etag },
    responses: { 304: { description: 'As the caller has it already.', headers: etag } },
    refusals: [308, 404],
    verb: async (context, { 'if-none-match': known, ...input }, c) => {
      const organization = await getOrganization(context, { ...input, member: c.get('principal') });
      const tag = `"${organization.organization_id}.${organization.version}"`;
      c.header('ETag', tag);
      c.header('Cache-Control', isPublic ? 'no-cache' : 'private, no-cache');
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
        'The organization as it is now; where something changed, with an access token of the same session that ends when the old one would. With REQUIRE_VERIFIED_EMAIL=true, another email waits until the token that is sent to it is used; until then the account keeps the email that it has. Or, with dry_run=true, what would change.',
      schema: z.union([metadata.extend(accessToken.partial().shape), updatePreview]),
      headers: deviceCookieHeaders.partial(),
    },
    refusals: [409, 429],
    verb: async (context, { dry_run, ...input }, c) =>
      dry_run === 'true' ? previewUpdate(context, input) : setDeviceCookie(c, await updateOrganization(context, input)),
  });
  route('DELETE /delete', {
    summary: 'Delete the organization, its collection and its admins',
    action: 'organization.delete',
    takesAway: true,
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
    body: z.strictObject({ organization_name: organizationName, email, password, code: secondFactorCode.optional() }),
    answer: { description: 'Restored.', schema: metadata },
    refusals: [401, 409, 429],
    verb: restoreOrganization,
  });
  route('GET /erasure', {
    summary: 'The receipt of an erasure, and what is found of the organization now',
    limit: 'inspect',
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
