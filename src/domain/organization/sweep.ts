/**
 * The sweep of late writers. MongoDB makes a collection by the first insert, so a writer that holds the old name can
 * bring a renamed or dropped collection back. What it wrote is moved to where the tenant is now, or dropped when
 * there is no tenant any more.
 */
import type { DigestPage } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Database } from '../../store/store.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { ClaimDocument } from './claims.ts';
import { collectionClaimId } from './claims.ts';
import type { CopyPage } from './copy.ts';
import { baseName, copyPage, hasMoreNotes, openSides, prunePage, settleIntents } from './copy.ts';
import type { OrganizationDocument } from './organization.ts';
import { ASIDE, asidePrefix, COPY, copyPrefix, isErasing, TRASH, VISIBLE } from './organization.ts';

/** Documents moved at once. */
const BATCH = 500;

/**
 * Looks after a released collection: what was brought back is put aside, under a name that no writer knows, for
 * {@link clearAsides}. Where the server does not rename, it is brought over from where it is, again and again. When
 * the quarantine is over and nothing came back, the name is free again.
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
  const base = baseName(claim.organization_id, collection);
  const over = claim.until <= context.clock();
  if (!(await tenants.listCollections(collection)).includes(collection)) {
    if (!over) return;
    await persist(() => tenants.dropCollection(base));
    await claims.deleteOne(asRead(claim));
    return;
  }
  const isGone = owner === undefined || isErasing(owner);
  if (!isGone && (await tenants.listCollections(base)).includes(base)) {
    const drained = claim.drained || ((await bringOver(context, tenants, claim, owner, collection)) && over);
    if (drained) await drain(context, tenants, claim, collection);
    return;
  }
  const until = quarantineFromNow(context);
  const { matched } = await claims.updateOne(asRead(claim), { $set: { until, drained: false } });
  if (matched === 0) return;
  if (isGone) {
    await persist(() => tenants.dropCollection(collection));
    return;
  }
  try {
    // Atomic: what is written to the old name from here on brings it back once more, for the next sweep.
    await putAside(context, tenants, collection, claim.organization_id);
  } catch (error) {
    if (!isStoreError(error, 'NotPermitted')) throw error;
    await persist(() => tenants.createCollection(base));
    await bringOver(context, tenants, { ...claim, until, drained: false }, owner, collection);
  }
}

/** A claim that nobody has changed since. */
const asRead = ({ _id, operation_id, until }: ClaimDocument) =>
  ({ _id, operation_id, state: 'quarantined', until }) as const;

const quarantineFromNow = ({ clock, settings }: Context): Date => new Date(clock().getTime() + settings.quarantineMs);

/**
 * Drops a released collection, and then what says what was copied from it. That nothing is left to be moved is
 * written down first: whoever looks for what was deleted from the collection looks there too.
 */
async function drain(context: Context, tenants: Database, claim: ClaimDocument, collection: string): Promise<void> {
  const drained = { drained: true, until: quarantineFromNow(context) };
  const { matched } = await context.master.claims.updateOne(asRead(claim), { $set: drained });
  if (matched === 0) return;
  await persist(() => tenants.dropCollection(collection));
  await persist(() => tenants.dropCollection(baseName(claim.organization_id, collection)));
}

/**
 * Brings what was written to a collection, since the tenant was copied from it, over to where the tenant is.
 * @returns whether nothing is left there that has to be
 */
async function bringOver(
  context: Context,
  tenants: Database,
  claim: ClaimDocument,
  owner: OrganizationDocument,
  from: string,
): Promise<boolean> {
  const { organizations, claims } = context.master;
  const to = owner.placement.collection;
  const settledHere = { _id: owner._id, status: { $in: VISIBLE }, operation: null, 'placement.collection': to };
  const sides = openSides(
    tenants,
    owner._id,
    { from, to },
    {
      policy: 'merge',
      holds: async () =>
        (await claims.count({ ...asRead(claim), drained: false })) > 0 && (await organizations.count(settledHere)) > 0,
    },
  );
  const total = { found: 0, conflicts: 0, refused: 0, noted: 0 };
  if (!(await sides.holds())) return false;
  await settleIntents(context, sides);
  for (let after: string | null = null; ; ) {
    const page: CopyPage = await copyPage(context, sides, after);
    total.found += page.found;
    total.conflicts += page.conflicts;
    total.refused += page.refused;
    total.noted += page.noted;
    after = page.next;
    if (!(await sides.holds())) return false;
    if (after === null) break;
  }
  if (await hasMoreNotes(sides, total.noted)) {
    for (let after: string | null = null; ; ) {
      const page: Pick<CopyPage, 'next' | 'found'> = await prunePage(context, sides, after);
      total.found += page.found;
      after = page.next;
      if (after === null) break;
    }
  }
  const { found, conflicts, refused } = total;
  if (found + conflicts + refused > 0) {
    const level = refused > 0 ? 'error' : conflicts > 0 ? 'warn' : 'info';
    context.log(level, 'sweep.brought_over', { organization_id: owner._id, found, conflicts, refused });
  }
  return found === 0 && refused === 0 && (await sides.holds());
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

/**
 * Moves what was put aside to its organization, or drops it when that is gone. One that is kept aside as a whole
 * waits. What says what was copied goes with the claim of the collection that it was copied from.
 */
export async function clearAsides(context: Context): Promise<void> {
  const { organizations, claims } = context.master;
  const { cluster, database } = context.settings.placement;
  const tenants = context.clusters(cluster).database(database);
  const names = [...(await tenants.listCollections(ASIDE)), ...(await tenants.listCollections(TRASH))];
  for (const name of names) {
    const organizationId = name.split('_')[1] ?? '';
    const owner = await organizations.findOne({ _id: organizationId });
    if (owner === undefined) await persist(() => tenants.dropCollection(name));
    if (owner === undefined || !VISIBLE.includes(owner.status) || owner.operation !== null) continue;
    try {
      // A trash name is used again by the next delete: an instance that is paused here must not drop what is in it
      // then.
      const aside = name.startsWith(TRASH) ? await putAside(context, tenants, name, owner._id) : name;
      await moveBack(context, tenants, aside, owner);
    } catch (error) {
      // A server that renamed once and does not now: it waits, and nothing else waits for it.
      if (!isStoreError(error, 'NotPermitted')) throw error;
      context.log('error', 'sweep.left', { organization_id: owner._id, collection: name });
    }
  }
  for (const name of await tenants.listCollections(COPY)) {
    const organizationId = name.split('_')[1] ?? '';
    const collection = name.slice(copyPrefix(organizationId).length);
    const claim = { _id: collectionClaimId({ cluster, database, collection }), organization_id: organizationId };
    if ((await claims.count(claim)) === 0) await persist(() => tenants.dropCollection(name));
  }
}

/** Moves every document into the tenant's collection, as it is, never over one that is there. */
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
    if (!isStoreError(error, 'NamespaceExists', 'NotPermitted')) throw error;
  }
  const source = tenants.collection(from);
  let conflicts = 0;
  let refused = 0;
  for (let after: string | null = null; ; ) {
    const page: DigestPage = await source.digests({ after, limit: BATCH });
    if (page.documents.length > 0) {
      const requests = page.documents.map((document) => ({ ...document, over: null }));
      const result = await persist(() => source.copyTo(collection, requests));
      const staying = new Set([...result.refused, ...result.gone]);
      const moved = page.documents.filter(({ id }) => !staying.has(id));
      if (moved.length > 0) await persist(() => source.deleteDigested(moved));
      conflicts += result.kept.length;
      refused += result.refused.length;
    }
    after = page.next;
    if (after === null) break;
  }
  if (conflicts + refused > 0) {
    // Refused: another document has its unique key. Neither may be lost, so this one waits for an operator.
    const level = refused > 0 ? 'error' : 'warn';
    context.log(level, 'sweep.conflicts', { organization_id: owner._id, collection: from, conflicts, refused });
  }
  if ((await source.count({}, { limit: 1 })) === 0) await persist(() => tenants.dropCollection(from));
}
