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
import type { CopyPage } from './copy.ts';
import { copyPage, hasMoreNotes, openSides, prunePage, rest, settleIntents } from './copy.ts';
import type { OrganizationDocument } from './organization.ts';
import { ASIDE, asidePrefix, baseName, COPY, isErasing, TRASH, VISIBLE } from './organization.ts';

/** Documents moved at once. */
const BATCH = 250;

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
  const over = claim.until <= context.clock();
  if (!(await tenants.listCollections(collection)).includes(collection)) {
    if (!over) return;
    if (claim.base !== null) await dropBase(tenants, claim.base);
    await claims.deleteOne(asRead(claim));
    return;
  }
  const isGone = owner === undefined || isErasing(owner);
  if (!isGone && claim.base !== null) {
    const sources = { tenants, from: collection, base: claim.base };
    const drained = claim.drained || ((await bringOver(context, claim, owner, sources)) && over);
    if (drained) await drain(context, claim, sources);
    return;
  }
  const anew = await changeClaim(context, claim, {});
  if (anew === undefined) return;
  if (isGone) {
    await persist(() => tenants.dropCollection(collection));
    return;
  }
  try {
    // Atomic: what is written to the old name from here on brings it back once more, for the next sweep.
    await putAside(context, tenants, collection, claim.organization_id);
  } catch (error) {
    if (!isStoreError(error, 'NotPermitted')) throw error;
    const base = baseName(claim.organization_id, context.newId());
    const copied = await changeClaim(context, anew, { base });
    if (copied !== undefined) await bringOver(context, copied, owner, { tenants, from: collection, base });
  }
}

/** A collection to bring late writes over from, and what says what was copied from it. */
type Sources = { readonly tenants: Database; readonly from: string; readonly base: string };

/** Changes a claim that nobody has changed since it was read, and begins its quarantine anew. */
async function changeClaim(
  context: Context,
  claim: ClaimDocument,
  changes: Partial<Pick<ClaimDocument, 'base' | 'drained'>>,
): Promise<ClaimDocument | undefined> {
  const until = new Date(context.clock().getTime() + context.settings.quarantineMs);
  const { matched } = await context.master.claims.updateOne(asRead(claim), { $set: { ...changes, until } });
  return matched === 0 ? undefined : { ...claim, ...changes, until };
}

/** A claim that nobody has changed since. */
const asRead = ({ _id, operation_id, until }: ClaimDocument) =>
  ({ _id, operation_id, state: 'quarantined', until }) as const;

/**
 * Drops a released collection, and then what says what was copied from it. That it is about to be dropped is written
 * down first: whoever looks for what was deleted from the collection looks there too. That it was is written down
 * next: what is there from then on was brought back.
 */
async function drain(context: Context, claim: ClaimDocument, { tenants, from, base }: Sources): Promise<void> {
  const draining = await changeClaim(context, claim, { drained: true });
  if (draining === undefined) return;
  await persist(() => tenants.dropCollection(from));
  await changeClaim(context, draining, { base: null, drained: false });
  await dropBase(tenants, base);
}

const dropBase = (tenants: Database, base: string): Promise<void> => persist(() => tenants.dropCollection(base));

/**
 * Brings what was written to a collection, since the tenant was copied from it, over to where the tenant is.
 * @returns whether nothing is left there that has to be
 */
async function bringOver(
  context: Context,
  claim: ClaimDocument,
  owner: OrganizationDocument,
  { tenants, from, base }: Sources,
): Promise<boolean> {
  const { organizations, claims } = context.master;
  const to = owner.placement.collection;
  const settledHere = { _id: owner._id, status: { $in: VISIBLE }, operation: null, 'placement.collection': to };
  const sides = openSides(
    tenants,
    { from, to, base },
    {
      policy: 'merge',
      holds: async () =>
        (await claims.count({ ...asRead(claim), base, drained: false })) > 0 &&
        (await organizations.count(settledHere)) > 0,
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
    await rest(context);
  }
  if (await hasMoreNotes(sides, total.noted)) {
    for (let after: string | null = null; ; ) {
      const page: Pick<CopyPage, 'next' | 'found'> = await prunePage(context, sides, after);
      total.found += page.found;
      after = page.next;
      if (after === null) break;
      await rest(context);
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
 * waits. What says what was copied, and is of no use to anyone any more, is dropped.
 */
export async function clearAsides(context: Context): Promise<void> {
  const { organizations } = context.master;
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
    if (!(await isInUse(context, name))) await dropBase(tenants, name);
  }
}

/** Whether a copy goes by this base, or the claim of the collection that was copied. An operation hands it to a claim. */
async function isInUse(context: Context, base: string): Promise<boolean> {
  const { organizations, claims } = context.master;
  const [, organizationId = '', id = ''] = base.split('_');
  if ((await organizations.count({ _id: organizationId, 'operation.id': id })) > 0) return true;
  return (await claims.count({ organization_id: organizationId, base })) > 0;
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
    await rest(context);
  }
  if (conflicts + refused > 0) {
    // Refused: another document has its unique key. Neither may be lost, so this one waits for an operator.
    const level = refused > 0 ? 'error' : 'warn';
    context.log(level, 'sweep.conflicts', { organization_id: owner._id, collection: from, conflicts, refused });
  }
  if ((await source.count({}, { limit: 1 })) === 0) await persist(() => tenants.dropCollection(from));
}
