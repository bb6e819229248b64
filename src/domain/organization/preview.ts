import { emailKey } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { Principal } from '../session/authenticate.ts';
import { isInForce, nameClaimId } from './claims.ts';
import { requireOwnName } from './delete.ts';
import { nameTaken } from './refusals.ts';
import type { UpdateOrganizationInput } from './update.ts';
import { checkUpdate } from './update.ts';

/** What a delete would remove. */
export type DeletePreview = {
  dry_run: true;
  organization_name: string;
  collection_name: string;
  documents: number;
  admins: number;
  /** Until when it could be restored; null: not at all. */
  restorable_until: Date | null;
};

/** What an update would change: from what, to what; null where nothing changes. */
export type UpdatePreview = {
  dry_run: true;
  organization_name: { from: string; to: string } | null;
  /** Documents go along with the collection, in one step. */
  collection_name: { from: string; to: string } | null;
  documents: number;
  /** Admins whose email or password changes. */
  admins: number;
};

/** Says what {@link deleteOrganization} would do now, and changes nothing. @throws {DomainError} as it would */
export async function previewDelete(
  context: Context,
  { organization }: Principal,
  input: { organization_name: string },
): Promise<DeletePreview> {
  await requireOwnName(context, organization, input.organization_name);
  const { retentionMs } = context.settings;
  return {
    dry_run: true,
    organization_name: organization.name,
    collection_name: organization.placement.collection,
    documents: await countDocuments(context, organization.placement),
    admins: await context.master.admins.count({ organization_id: organization._id }),
    restorable_until: retentionMs === 0 ? null : new Date(context.clock().getTime() + retentionMs),
  };
}

/**
 * Says what {@link updateOrganization} would do now, and changes nothing. A name that is free now may be taken by
 * the time of the update, and the collection may then get a suffix.
 * @throws {DomainError} as the update would for what can be seen without trying
 */
export async function previewUpdate(
  context: Context,
  principal: Principal,
  input: UpdateOrganizationInput,
): Promise<UpdatePreview> {
  const { organization, admin } = principal;
  const to = checkUpdate(context, principal, input);
  if (input.email !== undefined) await requireFreeEmail(context, admin._id, organization._id, input.email);
  if (to !== undefined && to.key !== organization.key) await requireFreeName(context, organization._id, to.key);

  const { collection } = organization.placement;
  const moves = to !== undefined && to.slug !== organization.slug;
  return {
    dry_run: true,
    organization_name:
      to === undefined || to.name === organization.name ? null : { from: organization.name, to: to.name },
    collection_name: moves ? { from: collection, to: to.slug === '' ? 'org_' : `org_${to.slug}` } : null,
    documents: moves ? await countDocuments(context, organization.placement) : 0,
    admins: input.email === undefined && input.password === undefined ? 0 : 1,
  };
}

const countDocuments = (context: Context, place: { cluster: string; database: string; collection: string }) =>
  context.clusters(place.cluster).database(place.database).collection(place.collection).count({});

async function requireFreeName(context: Context, organizationId: string, key: string): Promise<void> {
  const claim = await context.master.claims.findOne({ _id: nameClaimId(key) });
  if (claim === undefined || claim.organization_id === organizationId) return;
  const owner = await context.master.organizations.findOne({ _id: claim.organization_id });
  if (isInForce(claim, owner, context.clock())) throw nameTaken();
}

async function requireFreeEmail(
  context: Context,
  adminId: string,
  organizationId: string,
  email: string,
): Promise<void> {
  const other = await context.master.admins.findOne({ organization_id: organizationId, email_key: emailKey(email) });
  if (other !== undefined && other._id !== adminId) {
    throw new DomainError('admin_email_taken', 'Another admin of this organization has that email. Use another one.');
  }
}
