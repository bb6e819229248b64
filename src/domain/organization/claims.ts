import type { Index } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import { collectionCandidates } from './name.ts';
import type { OrganizationDocument, Placement } from './organization.ts';
import { baseName, isErasing, VISIBLE } from './organization.ts';

/**
 * A claim says who has a name or a collection. Its `_id` is what is claimed, so that the store's own refusal of a
 * second insert is the only "taken" there is.
 *
 * A claim is in force while it is for what its organization has, or was made by the operation under way
 * ({@link isInForce}). Any other is left over from an operation that ended, or from an instance that was paused past
 * its lease, and may be cleared by whoever meets it. For that, a claim is read before its owner: the operation is
 * journaled before it claims, so an owner read later knows of every claim read earlier that it still wants.
 */
export type ClaimDocument = {
  readonly _id: string;
  readonly kind: 'name' | 'collection';
  readonly organization_id: string;
  readonly operation_id: string;
  /**
   * `leased`: a name that its organization left by a rename, and that nobody else takes for a while. `quarantined`: a
   * released collection that nobody takes while a write aimed at it may still be in flight.
   */
  readonly state: 'held' | 'leased' | 'quarantined';
  /** When the lease or the quarantine ends; also that of a lease which its organization is about to take up again. */
  readonly until: Date | null;
  /** For a collection: where it is. */
  readonly placement: Placement | null;
  /**
   * For `quarantined`: the collection that says what was last copied from this one, which is still there because the
   * server does not rename; null: there is none.
   */
  readonly base: string | null;
  /** Nothing is left to be moved from the collection, and it is about to be dropped. */
  readonly drained: boolean;
  readonly created_at: Date;
};

export const CLAIM_INDEXES: readonly Index[] = [
  { name: 'organization_id', key: { organization_id: 1 } },
  { name: 'state', key: { state: 1 } },
  { name: 'created_at', key: { created_at: 1 } },
];

export const nameClaimId = (key: string): string => `name:${key}`;

const collectionClaimId = ({ cluster, database, collection }: Placement): string =>
  `collection:${cluster}/${database}/${collection}`;

/** Whether nobody else may take what is claimed. `owner` is read after the claim; undefined when it is gone. */
export function isInForce(claim: ClaimDocument, owner: OrganizationDocument | undefined, now: Date): boolean {
  if (claim.state === 'quarantined') return true;
  if (owner === undefined || isErasing(owner)) return false;
  if (claim.state === 'leased') return claim.until !== null && claim.until > now;
  if (claim.operation_id === owner.operation?.id) return true;
  return claim.kind === 'name'
    ? claim._id === nameClaimId(owner.key)
    : claim._id === collectionClaimId(owner.placement);
}

type Claimant = { readonly organizationId: string; readonly operationId: string };

/** Takes a name. True when the claimant has it now, also by an earlier call; false when another has it. */
export function claimName(context: Context, key: string, claimant: Claimant): Promise<boolean> {
  return claim(context, { _id: nameClaimId(key), kind: 'name', placement: null }, claimant);
}

/**
 * Takes the best free collection name for a slug. One that is there already without a claim, made by hand, say, is
 * passed over: a tenant never starts with documents that are not its own.
 */
export async function claimCollection(
  context: Context,
  place: Omit<Placement, 'collection'>,
  slug: string,
  claimant: Claimant,
): Promise<Placement> {
  const database = context.clusters(place.cluster).database(place.database);
  for (const collection of collectionCandidates(slug, claimant.operationId)) {
    if ((await database.listCollections(collection)).includes(collection)) continue;
    const placement: Placement = { ...place, collection };
    const claimed = await claim(
      context,
      { _id: collectionClaimId(placement), kind: 'collection', placement },
      claimant,
    );
    if (claimed) return placement;
  }
  throw new Error(`No collection name is free for operation ${claimant.operationId}.`);
}

async function claim(
  context: Context,
  what: Pick<ClaimDocument, '_id' | 'kind' | 'placement'>,
  { organizationId, operationId }: Claimant,
): Promise<boolean> {
  const { claims, organizations } = context.master;
  const wanted: ClaimDocument = {
    ...what,
    organization_id: organizationId,
    operation_id: operationId,
    state: 'held',
    until: null,
    base: null,
    drained: false,
    created_at: context.clock(),
  };
  for (;;) {
    try {
      await persist(() => claims.insertOne(wanted));
      return true;
    } catch (error) {
      if (!isStoreError(error, 'DuplicateKey')) throw error;
    }
    const holder = await claims.findOne({ _id: what._id });
    if (holder === undefined) continue;
    if (holder.operation_id === operationId) return true;
    if (holder.state === 'leased' && holder.organization_id === organizationId) {
      const { matched } = await persist(() =>
        claims.updateOne(unchanged(holder), {
          $set: { state: 'held', operation_id: operationId, created_at: context.clock() },
        }),
      );
      if (matched === 1) return true;
      continue;
    }
    const owner = await organizations.findOne({ _id: holder.organization_id });
    if (isInForce(holder, owner, context.clock())) return false;
    await releaseClaim(context, holder, owner);
  }
}

/** Lets go of every claim of the organization that is not in force: names at once, collections into quarantine. */
export async function releaseClaims(context: Context, organizationId: string): Promise<void> {
  const { claims, organizations } = context.master;
  const held = await claims.find({ organization_id: organizationId, state: { $in: ['held', 'leased'] } });
  const owner = await organizations.findOne({ _id: organizationId });
  for (const claim of held) {
    if (!isInForce(claim, owner, context.clock())) await releaseClaim(context, claim, owner);
  }
}

async function releaseClaim(
  context: Context,
  claim: ClaimDocument,
  owner: OrganizationDocument | undefined,
): Promise<void> {
  const { claims } = context.master;
  const { nameLeaseMs, quarantineMs } = context.settings;
  const after = (ms: number) => new Date(context.clock().getTime() + ms);
  if (claim.kind === 'collection') {
    await persist(() =>
      claims.updateOne(unchanged(claim), {
        $set: { state: 'quarantined', until: after(quarantineMs), base: baseOf(claim, owner) },
      }),
    );
  } else if (nameLeaseMs > 0 && claim.state === 'held' && isNameLeftBy(claim, owner)) {
    await persist(() => claims.updateOne(unchanged(claim), { $set: { state: 'leased', until: after(nameLeaseMs) } }));
  } else if (claim.state === 'held' && isStillLeased(claim, owner, context.clock())) {
    await persist(() => claims.updateOne(unchanged(claim), { $set: { state: 'leased' } }));
  } else {
    await persist(() => claims.deleteOne(unchanged(claim)));
  }
}

/** What says what was copied from the collection, when a committed rename of its organization copied it. */
function baseOf({ placement }: ClaimDocument, owner: OrganizationDocument | undefined): string | null {
  const operation = owner?.operation;
  if (owner === undefined || operation?.kind !== 'rename' || operation.step !== 'releasing') return null;
  const copied = operation.copy !== null && operation.from.collection === placement?.collection;
  return copied ? baseName(owner._id, operation.id) : null;
}

/** Whether it is the name that a committed rename of its organization is from. */
const isNameLeftBy = ({ _id }: ClaimDocument, owner: OrganizationDocument | undefined): boolean =>
  owner?.operation?.kind === 'rename' &&
  owner.operation.step === 'releasing' &&
  _id === nameClaimId(owner.operation.from.key);

/** Whether it is a name from before that its organization wanted back, in vain. */
const isStillLeased = ({ kind, until }: ClaimDocument, owner: OrganizationDocument | undefined, now: Date): boolean =>
  kind === 'name' && until !== null && until > now && owner !== undefined && !isErasing(owner);

const unchanged = ({ _id, operation_id, state }: ClaimDocument) => ({ _id, operation_id, state });

/** The organization that left this name by a rename not too long ago, as it is now. */
export async function organizationThatLeft(context: Context, key: string): Promise<OrganizationDocument | undefined> {
  if (context.settings.nameLeaseMs === 0) return undefined;
  const claim = await context.master.claims.findOne({ _id: nameClaimId(key), state: 'leased' });
  if (claim === undefined || claim.until === null || claim.until <= context.clock()) return undefined;
  return context.master.organizations.findOne({ _id: claim.organization_id, status: { $in: VISIBLE } });
}

/** The collections that the organization holds claims on. */
export async function claimedPlacements(context: Context, organizationId: string): Promise<Placement[]> {
  const held = await context.master.claims.find({ organization_id: organizationId, kind: 'collection', state: 'held' });
  return held.flatMap(({ placement }) => (placement === null ? [] : [placement]));
}
