/**
 * Claims on names. A claim is in force while its owner's running operation made it, while its owner is called so, or
 * while it is leased to its owner. Any other is left over, and can be taken over by a compare-and-set on its operation.
 * The claim is read before its owner: an operation is journaled before it claims, so an owner that is read later knows
 * of every claim read earlier that it still wants.
 */
import type { Context, Needs } from '../context.ts';
import { insertUnlessThere, retryOnUnknownOutcome } from '../retry.ts';
import { resumeExpired } from './journal.ts';
import type { NameClaim, OrganizationDocument } from './schema.ts';

export const nameClaimId = (key: string): string => `name:${key}`;

/** Each attempt that is lost was another's who took the name or let it go. */
const ATTEMPTS = 20;

/** Whether the claimant may not take the name. `owner` is read after the claim; its lease does not count against it. */
export function isInForce(
  { _id, operation_id, due_at, leased_until }: NameClaim,
  owner: OrganizationDocument | undefined,
  { claimant, now }: { readonly claimant: string; readonly now: Date },
): boolean {
  // Missing, and no stub: something is wrong, and nothing is taken from it.
  if (owner === undefined) return true;
  if (owner.status === 'deleting' || owner.status === 'erased') return false;
  if (operation_id === owner.operation?.id) return true;
  const leasedUntil = due_at ?? leased_until;
  if (leasedUntil !== null && leasedUntil > now && owner._id !== claimant) return true;
  return _id === nameClaimId(owner.key) && owner.status !== 'creating';
}

/**
 * Takes a name, also from an operation that died with it.
 * @returns true when the operation has it now, also by an earlier call; false when another organization has it
 */
export async function claimName(
  context: Context,
  claim: { readonly key: string; readonly organizationId: string; readonly operationId: string },
): Promise<boolean> {
  const { names, organizations } = context.master;
  const _id = nameClaimId(claim.key);
  const taken = {
    organization_id: claim.organizationId,
    operation_id: claim.operationId,
    due_at: null,
    leased_until: null,
  };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    if (await insertUnlessThere(context, () => names.insertOne({ _id, kind: 'name', ...taken }))) return true;
    const holder = await names.findOne({ _id });
    if (holder === undefined) continue;
    if (holder.operation_id === claim.operationId) return true;
    const owner = await organizations.findOne({ _id: holder.organization_id });
    if (owner === undefined) {
      context.log('error', 'claim.organization_missing', { organization_id: holder.organization_id });
    }
    if (holdsName(context, holder, owner, claim.organizationId)) {
      if (owner !== undefined && (await resumeExpired(context, owner))) continue;
      return false;
    }
    const asRead = { _id, operation_id: holder.operation_id, due_at: holder.due_at };
    // Its own organization takes a leased name back, and returns it when it is refused after all.
    const own = owner?._id === claim.organizationId && { leased_until: holder.due_at ?? holder.leased_until };
    const { matched } = await retryOnUnknownOutcome(context, () =>
      names.updateOne(asRead, { $set: { ...taken, ...own } }),
    );
    if (matched === 1) return true;
  }
  return false;
}

/**
 * Whether another organization has the name, as far as can be seen. Only a claim decides: the holder may let the name go,
 * and while an operation of its own is under way, nobody knows yet what will become of its names.
 */
export async function isNameTaken(
  { master, clock }: Needs<'master' | 'clock'>,
  { key, organizationId }: { readonly key: string; readonly organizationId: string },
): Promise<boolean> {
  const claim = await master.names.findOne({ _id: nameClaimId(key) });
  if (claim === undefined || claim.organization_id === organizationId) return false;
  const owner = await master.organizations.findOne({ _id: claim.organization_id });
  return owner?.operation === null && isInForce(claim, owner, { claimant: organizationId, now: clock() });
}

/** As {@link isInForce}; where names are leased, also until a rename has leased the one that it leaves. */
function holdsName(
  { clock, settings }: Needs<'clock' | 'settings'>,
  claim: NameClaim,
  owner: OrganizationDocument | undefined,
  claimant: string,
): boolean {
  const leaving = owner?.operation?.kind === 'rename' && nameClaimId(owner.operation.from.key) === claim._id;
  return isInForce(claim, owner, { claimant, now: clock() }) || (leaving && settings.nameLeaseMs > 0);
}

/** Lets go of a name that was left: at once, or after its lease. Does nothing when another operation has it by now. */
export async function releaseName(
  context: Needs<'master' | 'clock' | 'settings' | 'wait'>,
  { key, namedBy }: { readonly key: string; readonly namedBy: string },
): Promise<void> {
  const { names } = context.master;
  const { nameLeaseMs } = context.settings;
  const own = { _id: nameClaimId(key), operation_id: namedBy };
  await retryOnUnknownOutcome(context, async () => {
    if (nameLeaseMs === 0) return names.deleteOne(own);
    const due_at = new Date(context.clock().getTime() + nameLeaseMs);
    return names.updateOne({ ...own, due_at: null }, { $set: { due_at } });
  });
}

/** Lets go of a name that an operation took and was refused: one that was leased to its organization is leased again. */
export async function returnName(
  context: Needs<'master' | 'wait'>,
  { key, operationId }: { readonly key: string; readonly operationId: string },
): Promise<void> {
  const { names } = context.master;
  const taken = { _id: nameClaimId(key), operation_id: operationId };
  const claim = await names.findOne(taken);
  if (claim === undefined) return;
  await retryOnUnknownOutcome(context, async () => {
    if (claim.leased_until === null) return names.deleteOne(taken);
    return names.updateOne(taken, { $set: { due_at: claim.leased_until } });
  });
}

/**
 * The organization that left this name by a rename not too long ago, as it is now.
 * @param own the only one that is looked for; left out: any
 */
export async function organizationThatLeft(
  { master, clock, settings }: Needs<'master' | 'clock' | 'settings'>,
  key: string,
  own?: string,
): Promise<OrganizationDocument | undefined> {
  if (settings.nameLeaseMs === 0) return undefined;
  const claim = await master.names.findOne({
    _id: nameClaimId(key),
    due_at: { $gt: clock() },
    ...(own !== undefined && { organization_id: own }),
  });
  return claim && master.organizations.findOne({ _id: claim.organization_id, status: 'active' });
}
