import { requireFreeEmail } from '../admin/credentials.ts';
import { isFreshSignIn } from '../authorization.ts';
import type { Needs } from '../context.ts';
import { collectionClaimId } from '../tenant-data/schema.ts';
import { isNameTaken } from './claims.ts';
import type { DeleteOrganizationInput } from './delete.ts';
import { requireOwnName, restorableUntil } from './delete.ts';
import type { OrganizationName } from './name.ts';
import { nameTaken } from './refusals.ts';
import type { OrganizationDocument } from './schema.ts';
import type { UpdateOrganizationInput } from './update.ts';
import { checkUpdate } from './update.ts';

type Preview = Needs<'master' | 'tenants' | 'clock' | 'settings'>;

/** Says what {@link deleteOrganization} would do now, and changes nothing. @throws {DomainError} as it would */
export async function previewDelete(context: Preview, input: DeleteOrganizationInput) {
  const { organization } = input.principal;
  await requireOwnName(context, organization, input.organization_name);
  return {
    dry_run: true as const,
    organization_name: organization.name,
    collection_name: organization.placement.collection,
    documents: await countDocuments(context, organization),
    admins: await context.master.admins.count({ organization_id: organization._id }),
    restorable_until: restorableUntil(context),
  };
}

/**
 * Says what {@link updateOrganization} would do now, and changes nothing. A name that is free now may be taken by
 * the time of the update.
 * @returns from what to what the names change, null where they do not; the documents that go along with the collection;
 *   and the admins whose email or password changes
 * @throws {DomainError} as the update would for what can be seen without trying
 */
export async function previewUpdate(context: Preview, input: UpdateOrganizationInput) {
  const { organization } = input.principal;
  const to = checkUpdate(context, input);
  // The update asks for a recent sign-in before it looks.
  if (input.email !== undefined && isFreshSignIn(context, input.principal)) {
    await requireFreeEmail(context, input.principal.admin, input.email);
  }
  if (to !== undefined && (await isNameTaken(context, { key: to.key, organizationId: organization._id }))) {
    throw nameTaken();
  }
  const moves = to !== undefined && to.slug !== organization.slug;
  return {
    dry_run: true as const,
    organization_name: to === undefined ? null : { from: organization.name, to: to.name },
    collection_name: moves
      ? { from: organization.placement.collection, to: await freeCollection(context, organization, to) }
      : null,
    documents: moves ? await countDocuments(context, organization) : 0,
    admins: input.email === undefined && input.password === undefined ? 0 : 1,
  };
}

/** As the store estimates it. */
const countDocuments = ({ tenants }: Preview, { placement }: OrganizationDocument): Promise<number> =>
  tenants(placement).collection(placement.collection).count({});

/** @returns null where a name that is free now would get a suffix that is not known before */
async function freeCollection(
  { master, tenants }: Preview,
  { placement }: OrganizationDocument,
  { slug }: OrganizationName,
): Promise<string | null> {
  if (slug === '') return null;
  const wanted = { ...placement, collection: `org_${slug}` };
  const [there, claims] = await Promise.all([
    tenants(placement).listCollections([wanted.collection]),
    master.collections.count({ _id: collectionClaimId(wanted) }),
  ]);
  return there.length + claims === 0 ? wanted.collection : null;
}
