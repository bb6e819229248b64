import type { Document } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Collection, Database } from '../../store/store.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { ClaimDocument } from './claims.ts';
import type { OrganizationDocument } from './organization.ts';

/** Documents moved at once: few enough for a message of theirs to cross a Durable Object's RPC. */
const BATCH = 10;

/**
 * Clears up behind a released collection. MongoDB makes a collection by the first insert, so a writer that holds the
 * old name can bring it back: what it wrote is moved to where the tenant is now, or dropped when there is no tenant
 * any more. When the quarantine is over and nothing came back, the name is free again.
 * @param quarantined the claim, as it was read
 */
export async function sweep(context: Context, quarantined: ClaimDocument): Promise<void> {
  const claim = await lease(context, quarantined);
  if (claim === undefined || claim.placement === null || claim.until === null) return;
  const { cluster, database, collection } = claim.placement;
  const tenants = context.clusters(cluster).database(database);
  const owner = await context.master.organizations.findOne({ _id: claim.organization_id });
  const over = claim.until <= context.clock();

  const asides = await tenants.listCollections(asidePrefix(claim));
  const revived = (await tenants.listCollections(collection)).includes(collection);
  if (owner === undefined || owner.status === 'deleting') {
    for (const name of [...asides, ...(revived ? [collection] : [])]) {
      await persist(() => tenants.dropCollection(name));
    }
  } else {
    for (const aside of asides) await moveAll(context, tenants, aside, owner);
    if (revived) await moveRevived(context, tenants, collection, claim, owner);
  }

  const { claims } = context.master;
  const unchanged = { _id: claim._id, operation_id: claim.operation_id, state: 'quarantined' } as const;
  if (over && !revived && asides.length === 0) await claims.deleteOne(unchanged);
  else await claims.updateOne(unchanged, { $set: { lease_until: null } });
}

/** One sweeper at a time, for as long as it lives. */
async function lease(context: Context, { _id, operation_id }: ClaimDocument): Promise<ClaimDocument | undefined> {
  const now = context.clock();
  return context.master.claims.findOneAndUpdate(
    { _id, operation_id, state: 'quarantined', $or: [{ lease_until: null }, { lease_until: { $lt: now } }] },
    { $set: { lease_until: new Date(now.getTime() + context.settings.leaseMs) } },
  );
}

/** Where revived collections are put aside: names that no writer knows. */
const asidePrefix = (claim: ClaimDocument): string => `late_${claim.operation_id}_`;

async function moveRevived(
  context: Context,
  tenants: Database,
  collection: string,
  claim: ClaimDocument,
  owner: OrganizationDocument,
): Promise<void> {
  const aside = `${asidePrefix(claim)}${context.newId()}`;
  try {
    // Atomic: what is written to the old name from here on brings it back once more, for the next sweep.
    await tenants.renameCollection(collection, aside);
  } catch (error) {
    if (isStoreError(error, 'NamespaceNotFound')) return;
    throw error;
  }
  await moveAll(context, tenants, aside, owner);
}

/** Moves every document into the tenant's collection, never over one that is there, then drops what is empty. */
async function moveAll(context: Context, tenants: Database, from: string, owner: OrganizationDocument): Promise<void> {
  const source: Collection = tenants.collection(from);
  const { cluster, database, collection } = owner.placement;
  const target: Collection<Document> = context.clusters(cluster).database(database).collection(collection);
  for (;;) {
    const batch = await source.find({}, { sort: { _id: 1 }, limit: BATCH });
    if (batch.length === 0) break;
    const { duplicates } = await persist(() => target.insertMany(batch));
    const kept = duplicates.filter(({ index }) => index !== '_id_').map(({ _id }) => _id);
    if (kept.length > 0) {
      // Another document has its unique key: neither may be lost, so this one waits for an operator.
      context.log('error', 'sweep.unique_conflict', {
        organization_id: owner._id,
        collection: from,
        documents: kept.length,
      });
      return;
    }
    await persist(() => source.deleteMany({ _id: { $in: batch.map(({ _id }) => _id) } }));
  }
  await persist(() => tenants.dropCollection(from));
}
