/**
 * Late writes. MongoDB makes a collection by the first insert, so a writer that holds an old name can bring a renamed
 * or dropped collection back, at any time. What it wrote is merged into the organization's collection, by way of an
 * aside, or dropped when the organization was erased.
 */
import { isStoreError } from '../../store/port.ts';
import type { Needs } from '../context.ts';
import { nextLook } from '../due.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { dropClaimed, namesOf } from './collections.ts';
import type { CollectionClaim, Placement } from './schema.ts';

type LateWrites = Needs<'master' | 'tenants' | 'clock' | 'newId' | 'log' | 'wait'>;

/** Names that one listCollections takes. */
const NAMES = 1000;

/**
 * Looks at names that were left or dropped, each guarded by itself, and says when to look again.
 * @param claims a page of them that are due: it costs one listCollections for each database they are in
 */
export async function syncLateWrites(context: LateWrites, claims: readonly CollectionClaim[]): Promise<void> {
  const byDatabase = Map.groupBy(claims, ({ placement }) => `${placement.cluster}/${placement.database}`);
  for (const group of byDatabase.values()) {
    const [first] = group;
    if (first === undefined) continue;
    const there = await existing(context, first.placement, group.flatMap(namesOf));
    for (const claim of group) {
      try {
        const found = await look(context, claim, there);
        await lookAgain(context, claim, found);
      } catch (error) {
        context.log('error', 'late_writes.failed', { organization_id: claim.organization_id, claim: claim._id, error });
        // The next look comes later: one that fails for good must not be looked at in every round.
        await lookAgain(context, claim, false).catch(() => undefined);
      }
    }
  }
}

async function existing(context: LateWrites, place: Placement, names: readonly string[]): Promise<Set<string>> {
  const there = new Set<string>();
  for (let from = 0; from < names.length; from += NAMES) {
    for (const { name } of await context.tenants(place).listCollections(names.slice(from, from + NAMES)))
      there.add(name);
  }
  return there;
}

async function lookAgain(context: LateWrites, { _id }: CollectionClaim, found: boolean): Promise<void> {
  const now = context.clock();
  const claim = await context.master.collections.findOne({ _id });
  if (claim === undefined || claim.due_at === null) return;
  const quiet_since = found ? now : (claim.quiet_since ?? now);
  await context.master.collections.updateOne(
    { _id, version: claim.version },
    { $set: { quiet_since, due_at: nextLook(now, quiet_since) }, $inc: { version: 1 } },
  );
}

/** @returns whether anything was there */
async function look(context: LateWrites, claim: CollectionClaim, there: ReadonlySet<string>): Promise<boolean> {
  if (claim.state === 'former') return merge(context, claim, there);
  const back = namesOf(claim).filter((name) => there.has(name));
  await dropClaimed(context, claim, back);
  return back.length > 0;
}

/** Merges what is at a name that its organization left. @returns whether anything was there */
async function merge(context: LateWrites, claim: CollectionClaim, there: ReadonlySet<string>): Promise<boolean> {
  const { collection } = claim.placement;
  const pending = Object.entries(claim.asides).flatMap(([name, state]) =>
    state === 'pending' && there.has(name) ? [name] : [],
  );
  if (!there.has(collection) && pending.length === 0) return false;
  let current: CollectionClaim | undefined = claim;
  if (there.has(collection)) {
    const aside = await setAside(context, claim);
    if (aside === undefined) return true;
    current = aside.claim;
    pending.push(aside.name);
  }
  for (const aside of pending) current = current && (await mergeBack(context, current, aside));
  return true;
}

/**
 * Renames the collection to a name that no writer knows. The name is in the claim before the call, and no other call
 * ever gets it: a call that comes late fills a collection that is known, and empty until then.
 * @returns undefined when the claim is not as it was read, or the server refused
 */
async function setAside(
  context: LateWrites,
  claim: CollectionClaim,
): Promise<{ readonly claim: CollectionClaim; readonly name: string } | undefined> {
  const name = `tenantry_late_${context.newId().replaceAll('-', '')}`;
  const recorded = await change(context, claim, { $set: { [`asides.${name}`]: 'pending' } });
  if (recorded === undefined) return undefined;
  try {
    await context.tenants(claim.placement).renameCollection(claim.placement.collection, name);
  } catch (error) {
    if (!isStoreError(error, 'NotPermitted', 'NamespaceNotFound')) throw error;
    if (error.code === 'NotPermitted') {
      const { organization_id, placement } = claim;
      context.log('error', 'late_writes.rename_refused', { organization_id, collection: placement.collection });
    }
    return undefined;
  }
  return { claim: recorded, name };
}

/**
 * Merges an aside into the organization's collection. It is dropped only when every document in it was seen there,
 * equal. What could not be merged is renamed once more, so that no merge that comes late finds it, and reported.
 * @returns the claim after it; undefined when somebody else changed it
 */
async function mergeBack(
  context: LateWrites,
  claim: CollectionClaim,
  aside: string,
): Promise<CollectionClaim | undefined> {
  const tenants = context.tenants(claim.placement);
  const target = await idlePlacement(context, claim.organization_id);
  // Not idle, or gone: at a later look.
  if (target === undefined) return claim;
  const { left } = await tenants.mergeCollection(aside, target.collection);
  if (left > 0) {
    const still = await idlePlacement(context, claim.organization_id);
    if (still?.collection !== target.collection) return claim;
    return keep(context, claim, { aside, left });
  }
  await retryOnUnknownOutcome(context, () => tenants.dropCollection(aside));
  return change(context, claim, { $unset: { [`asides.${aside}`]: true } });
}

async function keep(
  context: LateWrites,
  claim: CollectionClaim,
  { aside, left }: { readonly aside: string; readonly left: number },
): Promise<CollectionClaim | undefined> {
  const { organization_id } = claim;
  const kept = `tenantry_kept_${context.newId().replaceAll('-', '')}`;
  const recorded = await change(context, claim, { $set: { [`asides.${kept}`]: 'kept' } });
  if (recorded === undefined) return undefined;
  await context.tenants(claim.placement).renameCollection(aside, kept);
  context.log('error', 'late_writes.kept', { organization_id, collection: kept, left });
  return change(context, recorded, { $unset: { [`asides.${aside}`]: true } });
}

/** Where the organization's documents are while nothing is being done to it; undefined otherwise. */
async function idlePlacement(context: LateWrites, _id: string): Promise<Placement | undefined> {
  const owner: OrganizationDocument | undefined = await context.master.organizations.findOne({ _id });
  if (owner === undefined) context.log('error', 'late_writes.organization_missing', { organization_id: _id });
  const isIdle = owner?.operation === null && (owner.status === 'active' || owner.status === 'deleted');
  return isIdle ? owner.placement : undefined;
}

/** Changes a claim that is as it was read, and still `former`. */
const change = (
  { master, wait }: LateWrites,
  { _id, version }: CollectionClaim,
  update: { readonly $set?: Record<string, string>; readonly $unset?: Record<string, true> },
): Promise<CollectionClaim | undefined> =>
  retryOnUnknownOutcome({ wait }, () =>
    master.collections.findOneAndUpdate({ _id, version, state: 'former' }, { ...update, $inc: { version: 1 } }),
  );
