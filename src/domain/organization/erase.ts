import { isStoreError } from '../../store/port.ts';
import { recordDue } from '../audit/due.ts';
import { noteOf } from '../audit/event.ts';
import { forgetAddresses, record } from '../audit/record.ts';
import { recordFailuresOf } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import { claimedPlacements, releaseClaims } from './claims.ts';
import { leaseFromNow } from './lifecycle.ts';
import type { DeleteOperation, OrganizationDocument, Placement, Removed } from './organization.ts';
import { asidePrefix, copyPrefix, isErasing, trashName } from './organization.ts';

/**
 * What is kept of an organization that is gone, as the audit entry of its erasure: no name, no address, no document.
 */
export type ErasureDocument = {
  /** The organization's id. */
  readonly _id: string;
  readonly erased_at: Date;
  /** What was counted just before it was removed. */
  readonly removed: Removed;
  /** The token that asked for it, so that its holder gets the same answer again. */
  readonly asked_by: string | null;
};

/** After any time that is written here, and the last year that every server's dates have. */
const FOREVER = new Date('9999-12-31');

/** Clears everything of an organization that is `deleting`, its own document last: until then it can be done again. */
export async function eraseOrganization(context: Context, organizationId: string): Promise<void> {
  const { admins, sessions, mails, organizations, erasures, idempotency } = context.master;
  const organization = await organizations.findOne({ _id: organizationId });
  if (organization !== undefined && !isErasing(organization)) return;
  const held = await claimedPlacements(context, organizationId);
  const placements = await withAsides(context, organizationId, held);
  const operation = organization?.operation?.kind === 'delete' ? organization.operation : undefined;
  const removed = operation && (await countOnce(context, organizationId, operation, placements));

  for (const { cluster, database, collection } of placements) {
    await persist(() => context.clusters(cluster).database(database).dropCollection(collection));
  }
  await persist(() => sessions.deleteMany({ organization_id: organizationId }));
  for (const admin of await admins.find({ organization_id: organizationId, audit_due_at: { $lt: FOREVER } })) {
    await recordDue(context, admin);
  }
  await recordFailuresOf(context, organizationId);
  await persist(() => mails.deleteMany({ organization_id: organizationId }));
  await persist(() => admins.deleteMany({ organization_id: organizationId }));
  await persist(() => idempotency.deleteMany({ organization_id: organizationId }));
  await releaseClaims(context, organizationId);
  if (removed !== undefined && operation !== undefined && operation.asked_by !== null) {
    const receipt: ErasureDocument = {
      _id: organizationId,
      erased_at: context.clock(),
      removed,
      asked_by: operation.asked_by,
    };
    await persist(() => insertUnlessThere(() => erasures.insertOne(receipt)));
  }
  if (operation !== undefined && operation.audit !== null) {
    await record(context, organizationId, operation.id, operation.audit);
  }
  await forgetAddresses(context, organizationId);
  await persist(() => organizations.deleteOne({ _id: organizationId, status: 'deleting' }));
}

/** Ends the keeping of a deleted organization: what is left of it is erased. */
export async function purge(context: Context, { _id, version }: OrganizationDocument): Promise<void> {
  const operation: DeleteOperation = {
    id: context.newId(),
    kind: 'delete',
    retain_until: null,
    removed: null,
    asked_by: 'purge',
    audit: noteOf(context, 'organization.purged', { actor: 'service', target: _id }),
  };
  const { matched } = await context.master.organizations.updateOne(
    { _id, version, status: 'deleted' },
    {
      $set: { status: 'deleting', operation, purge_at: null, lease_until: leaseFromNow(context) },
      $inc: { version: 1 },
    },
  );
  if (matched === 1) await eraseOrganization(context, _id);
}

async function withAsides(context: Context, organizationId: string, held: readonly Placement[]): Promise<Placement[]> {
  const placements = [...held];
  for (const place of held) {
    const tenants = context.clusters(place.cluster).database(place.database);
    const names = [
      ...(await tenants.listCollections(asidePrefix(organizationId))),
      ...(await tenants.listCollections(trashName(organizationId))),
      ...(await tenants.listCollections(copyPrefix(organizationId))),
    ];
    placements.push(...names.map((collection) => ({ ...place, collection })));
  }
  return placements;
}

/** Counts what there is before any of it is removed, and journals it: a second try finds the first one's count. */
async function countOnce(
  context: Context,
  organizationId: string,
  operation: DeleteOperation,
  placements: readonly Placement[],
): Promise<Removed> {
  if (operation.removed !== null) return operation.removed;
  const { admins, sessions, claims, mails, organizations } = context.master;
  const own = { organization_id: organizationId };
  let documents = 0;
  for (const { cluster, database, collection } of placements) {
    documents += await context.clusters(cluster).database(database).collection(collection).count({});
  }
  const removed: Removed = {
    collections: placements.length,
    documents,
    admins: await admins.count(own),
    sessions: await sessions.count(own),
    claims: await claims.count(own),
    mails: await mails.count(own),
  };
  const counted = await persist(() =>
    organizations.findOneAndUpdate(
      { _id: organizationId, 'operation.id': operation.id, 'operation.removed': null },
      { $set: { 'operation.removed': removed } },
    ),
  );
  if (counted !== undefined) return removed;
  const first = await organizations.findOne({ _id: organizationId });
  return first?.operation?.kind === 'delete' && first.operation.removed !== null ? first.operation.removed : removed;
}

async function insertUnlessThere(insert: () => Promise<void>): Promise<void> {
  try {
    await insert();
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
  }
}
