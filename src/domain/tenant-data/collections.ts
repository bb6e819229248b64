/** The tenants' collections: who has which name, and moving one to another name. */
import { BATCH_LIMIT, isStoreError } from '../../store/port.ts';
import type { Needs } from '../context.ts';
import { nextLook } from '../due.ts';
import { insertUnlessThere, retryOnUnknownOutcome } from '../retry.ts';
import type { CollectionClaim, Placement } from './schema.ts';
import { collectionClaimId } from './schema.ts';

type Tenants = Needs<'master' | 'tenants' | 'wait'>;

/** Those of the names that are there, each with what tells the collection from any other, where the store says. */
export type There = ReadonlyMap<string, string | null>;

export async function listCollections(
  { tenants }: Needs<'tenants'>,
  place: Omit<Placement, 'collection'>,
  names: readonly string[],
): Promise<There> {
  const listed = await tenants(place).listCollections(names);
  return new Map(listed.map(({ name, id }) => [name, id]));
}

/**
 * Claims the first name that is neither there nor claimed.
 * @param input.names candidates, best first; the last one has never been used
 * @param input.there those of them that were there before this call
 * @returns where the collection is to be; undefined when no name is free
 */
export async function claimCollection(
  context: Tenants,
  input: {
    readonly organizationId: string;
    readonly operationId: string;
    readonly place: Omit<Placement, 'collection'>;
    readonly names: readonly string[];
    readonly there: There;
  },
): Promise<Placement | undefined> {
  const { names, there, place, organizationId, operationId } = input;
  const { collections } = context.master;
  for (const collection of names) {
    const placement: Placement = { ...place, collection };
    const claim: CollectionClaim = {
      _id: collectionClaimId(placement),
      kind: 'collection',
      organization_id: organizationId,
      operation_id: operationId,
      state: 'held',
      placement,
      asides: {},
      version: 1,
      due_at: null,
      quiet_since: null,
    };
    const isFree = !there.has(collection);
    if (isFree && (await insertUnlessThere(context, () => collections.insertOne(claim)))) return placement;
    // Claimed by an earlier try of this operation: a client may have made the collection since.
    const holder = await collections.findOne({ _id: claim._id });
    if (holder?.operation_id === operationId && holder.state === 'held') return placement;
  }
  return undefined;
}

/**
 * Makes a collection that was claimed.
 * @returns false when somebody else's was there first: it stays as it is, and its claim says `foreign` for good
 */
export async function makeCollection(context: Tenants, placement: Placement): Promise<boolean> {
  // Not tried again when the reply is lost: whether it was there before could not be told any more.
  if (await context.tenants(placement).createCollection(placement.collection)) return true;
  await retryOnUnknownOutcome(context, () =>
    context.master.collections.updateOne(
      { _id: collectionClaimId(placement), state: 'held' },
      { $set: { state: 'foreign' }, $inc: { version: 1 } },
    ),
  );
  return false;
}

/** What became of a move. `occupied`: a client made a collection of the new name first, and the real one is where it was. */
type MoveResult = 'moved' | 'refused' | 'occupied';

/**
 * Renames a collection to a name that was claimed for it, however often and by however many it is asked to.
 * @param input.id what tells the real collection from any other; null where the store does not say
 */
export async function moveCollection(
  context: Tenants,
  { from, to, id }: { readonly from: Placement; readonly to: string; readonly id: string | null },
): Promise<MoveResult> {
  if (from.collection === to) return 'moved';
  const tenants = context.tenants(from);
  try {
    await retryOnUnknownOutcome(context, () => tenants.renameCollection(from.collection, to));
  } catch (error) {
    if (isStoreError(error, 'NotPermitted')) return 'refused';
    if (isStoreError(error, 'NamespaceNotFound')) {
      // Moved by an earlier try, or removed by hand.
      await retryOnUnknownOutcome(context, () => tenants.createCollection(to));
    } else if (isStoreError(error, 'NamespaceExists')) {
      const there = id === null ? [] : await tenants.listCollections([from.collection, to]);
      // Without ids, what is there is taken for the real one: what it is not is merged into it as late writes are.
      if (there.some(({ name, id: found }) => name === from.collection && found === id)) return 'occupied';
    } else {
      throw error;
    }
  }
  return 'moved';
}

/** Says of a collection that was left that what is written there from now on came late. */
export async function markFormer(
  context: Needs<'master' | 'clock' | 'wait'>,
  organizationId: string,
  placement: Placement,
): Promise<void> {
  const now = context.clock();
  await retryOnUnknownOutcome(context, () =>
    context.master.collections.updateOne(
      { _id: collectionClaimId(placement), organization_id: organizationId, state: 'held' },
      { $set: { state: 'former', due_at: nextLook(now, now), quiet_since: now }, $inc: { version: 1 } },
    ),
  );
}

/**
 * Drops every collection that was claimed for an organization which is erased, with what came of it.
 * @param state what the claims become: `unused` for an organization that never was active
 */
export async function dropCollections(
  context: Dropping,
  organizationId: string,
  state: 'dropped' | 'unused',
): Promise<void> {
  const owned = { organization_id: organizationId, kind: 'collection', state: { $in: ['held', 'former', state] } };
  for (let after = ''; ; ) {
    const page = await context.master.collections.find({ ...owned, _id: { $gt: after } }, { sort: { _id: 1 } });
    for (const claim of page) {
      const marked = await markDropped(context, claim, state);
      if (marked !== undefined) await dropClaimed(context, marked, namesOf(marked));
    }
    const last = page.at(-1);
    if (last === undefined || page.length < BATCH_LIMIT) return;
    after = last._id;
  }
}

type Dropping = Needs<'master' | 'tenants' | 'clock' | 'wait'>;

/** From this write on nobody records another aside. @returns undefined for a claim that nobody may drop by */
async function markDropped(
  context: Dropping,
  { _id }: CollectionClaim,
  state: 'dropped' | 'unused',
): Promise<CollectionClaim | undefined> {
  const { collections } = context.master;
  const now = context.clock();
  const marked = await retryOnUnknownOutcome(context, () =>
    collections.findOneAndUpdate(
      { _id, state: { $in: ['held', 'former'] } },
      { $set: { state, due_at: nextLook(now, now), quiet_since: now }, $inc: { version: 1 } },
    ),
  );
  return marked ?? collections.findOne({ _id, state });
}

/** The collection of a claim, and those that came of it. */
export const namesOf = ({ placement, asides }: CollectionClaim): string[] => [
  placement.collection,
  ...Object.keys(asides),
];

/**
 * Drops collections of a claim that says so. That of a create which was rolled back is dropped while it is empty:
 * somebody else may have made it after the create had looked.
 */
export async function dropClaimed(
  context: Needs<'tenants' | 'wait'>,
  { placement, state }: CollectionClaim,
  names: readonly string[],
): Promise<void> {
  const tenants = context.tenants(placement);
  for (const name of names) {
    if (state === 'unused' && (await tenants.collection(name).count({}, { limit: 1 })) > 0) continue;
    await retryOnUnknownOutcome(context, () => tenants.dropCollection(name));
  }
}
