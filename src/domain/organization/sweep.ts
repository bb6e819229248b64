/**
 * The sweep of late writers. MongoDB makes a collection by the first insert, so a writer that holds the old name can
 * bring a renamed or dropped collection back. What it wrote is moved to where the tenant is now, or dropped when
 * there is no tenant any more.
 */
import type { Document } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Collection, Database } from '../../store/store.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { ClaimDocument } from './claims.ts';
import type { OrganizationDocument } from './organization.ts';
import { ASIDE, asidePrefix, isErasing, TRASH, VISIBLE } from './organization.ts';

/** Documents moved at once: few enough for a message of theirs to cross a Durable Object's RPC. */
const BATCH = 10;

/**
 * Looks after a released collection: what was brought back is put aside, under a name that no writer knows, for
 * {@link clearAsides}. When the quarantine is over and nothing came back, the name is free again.
 *
 * Whatever came back makes the quarantine begin anew, before anything is done about it: an instance may be paused
 * right before that step, and the name must not be another tenant's when it wakes.
 */
export async function sweep(context: Context, claim: ClaimDocument): Promise<void> {
  if (claim.placement === null || claim.until === null) return;
  const { cluster, database, collection } = claim.placement;
  const tenants = context.clusters(cluster).database(database);
  const { organizations, claims } = context.master;
  const owner = await organizations.findOne({ _id: claim.organization_id });
  const asRead = {
    _id: claim._id,
    operation_id: claim.operation_id,
    state: 'quarantined',
    until: claim.until,
  } as const;
  if (!(await tenants.listCollections(collection)).includes(collection)) {
    if (claim.until <= context.clock()) await claims.deleteOne(asRead);
    return;
  }
  const until = new Date(context.clock().getTime() + context.settings.quarantineMs);
  const { matched } = await claims.updateOne(asRead, { $set: { until } });
  if (matched === 0) return;
  if (owner === undefined || isErasing(owner)) {
    await persist(() => tenants.dropCollection(collection));
  } else {
    // Atomic: what is written to the old name from here on brings it back once more, for the next sweep.
    await putAside(context, tenants, collection, claim.organization_id);
  }
}

/** Puts a collection aside, or finds it gone. @returns its name there */
export async function putAside(
  context: Context,
  tenants: Database,
  collection: string,
  organizationId: string,
): Promise<string> {
  const aside = `${asidePrefix(organizationId)}${context.newId()}`;
  try {
    await persist(() => tenants.renameCollection(collection, aside));
  } catch (error) {
    if (!isStoreError(error, 'NamespaceNotFound')) throw error;
  }
  return aside;
}

/** Moves what was put aside to its organization, or drops it when that is gone. One that is kept aside as a whole waits. */
export async function clearAsides(context: Context): Promise<void> {
  const { cluster, database } = context.settings.placement;
  const tenants = context.clusters(cluster).database(database);
  const names = [...(await tenants.listCollections(ASIDE)), ...(await tenants.listCollections(TRASH))];
  for (const name of names) {
    const organizationId = name.split('_')[1] ?? '';
    const owner = await context.master.organizations.findOne({ _id: organizationId });
    if (owner === undefined) await persist(() => tenants.dropCollection(name));
    if (owner === undefined || !VISIBLE.includes(owner.status) || owner.operation !== null) continue;
    // A trash name is used again by the next delete: an instance that is paused here must not drop what is in it then.
    const aside = name.startsWith(TRASH) ? await putAside(context, tenants, name, owner._id) : name;
    await moveBack(context, tenants, aside, owner);
  }
}

/** Moves every document into the tenant's collection, never over one that is there. */
export async function moveBack(
  context: Context,
  tenants: Database,
  from: string,
  owner: OrganizationDocument,
): Promise<void> {
  const { collection } = owner.placement;
  try {
    // Where a paused instance put the tenant's own collection aside, this brings it back whole.
    await tenants.renameCollection(from, collection);
    return;
  } catch (error) {
    if (isStoreError(error, 'NamespaceNotFound')) return;
    if (!isStoreError(error, 'NamespaceExists')) throw error;
  }
  const source: Collection = tenants.collection(from);
  const target: Collection<Document> = tenants.collection(collection);
  for (;;) {
    const batch = await source.find({}, { sort: { _id: 1 }, limit: BATCH });
    if (batch.length === 0) break;
    const { duplicates } = await persist(() => target.insertMany(batch));
    const clashing = duplicates.map(({ _id }) => _id);
    const there = await target.find({ _id: { $in: clashing } }, { projection: { _id: 1 }, limit: BATCH });
    const conflicts = clashing.length - there.length;
    if (conflicts > 0) {
      // Another document has its unique key: neither may be lost, so this one waits for an operator.
      context.log('error', 'sweep.unique_conflict', { organization_id: owner._id, collection: from, conflicts });
      return;
    }
    // The last of it goes with the collection.
    if (batch.length < BATCH) break;
    const removed = await persist(() => source.deleteMany({ _id: { $in: batch.map(({ _id }) => _id) } }));
    // Another instance is at it, or the server does not let them go: this must end either way.
    if (removed === 0) return;
  }
  await persist(() => tenants.dropCollection(from));
}
