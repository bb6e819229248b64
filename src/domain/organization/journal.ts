/**
 * The journal: an operation that takes several steps is written on the organization's document before its first
 * step, under a lease. Every step is idempotent, so any instance can carry the operation on once the lease has run
 * out, and nothing breaks when the first one turns out to be alive.
 */
import { carryOnMembership } from '../admin/membership.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { persist } from '../persist.ts';
import { claimName, nameClaimId } from './claims.ts';
import { carryOnCreate } from './create.ts';
import { eraseOrganization } from './erase.ts';
import type {
  DeleteOperation,
  LastChange,
  Operation,
  OrganizationDocument,
  OrganizationStatus,
} from './organization.ts';
import { isErasing } from './organization.ts';
import { changedMeanwhile, outcomeUnknown } from './refusals.ts';
import { carryOnRename } from './rename.ts';
import { carryOnRestore } from './restore.ts';
import { retireOrganization } from './retire.ts';

const WAIT_MS = 50;
const WAITS = 60;

/** When a lease taken now runs out. */
export const leaseFromNow = (context: Context): Date => new Date(context.clock().getTime() + context.settings.leaseMs);

/**
 * Begins an operation: one conditional write, which also keeps a second one from beginning. An operation that is
 * already under way is waited for, or carried on when its instance is gone.
 * @param changes fields to set in the same write, the status among them
 * @returns the organization with the operation on it
 * @throws {DomainError} operation_in_progress when the other does not end in 3 s; conflict when the organization is
 *   gone, or not as it was; unavailable when it is not known whether it has begun
 */
export async function beginOperation(
  context: Context,
  organization: OrganizationDocument,
  operation: Operation,
  changes: { readonly status: OrganizationStatus; readonly last_change?: LastChange | null },
  raise: { epoch?: 1 } = {},
): Promise<OrganizationDocument> {
  const { organizations } = context.master;
  const idle = await whenIdle(context, organization);
  let tries = 0;
  const begun = await persist(() => {
    tries++;
    return organizations.findOneAndUpdate(
      { _id: idle._id, version: idle.version },
      { $set: { ...changes, operation, lease_until: leaseFromNow(context) }, $inc: { version: 1, ...raise } },
    );
  });
  if (begun !== undefined) return begun;
  if (tries === 1) throw changedMeanwhile();
  // An earlier try of this very write may have gone in. It is not written again: others may be further by now.
  const earlier = await organizations.findOne({ _id: idle._id, 'operation.id': operation.id });
  if (earlier === undefined) throw outcomeUnknown();
  return earlier;
}

/**
 * Resolves to the organization without an operation on it, and with no change since that has ended tokens.
 * @throws {DomainError} operation_in_progress, conflict
 */
export async function whenIdle(context: Context, organization: OrganizationDocument): Promise<OrganizationDocument> {
  const idle = await whenEnded(context, organization);
  if (idle === undefined || idle.epoch !== organization.epoch) throw changedMeanwhile();
  return idle;
}

/**
 * Resolves to the organization as the operation under way has left it, if there is one; undefined when it is gone.
 * @throws {DomainError} operation_in_progress when it does not end in 3 s
 */
export async function whenEnded(
  context: Context,
  organization: OrganizationDocument,
): Promise<OrganizationDocument | undefined> {
  let current: OrganizationDocument | undefined = organization;
  for (let waits = 0; current?.operation; waits++) {
    if (waits === WAITS) {
      throw new DomainError('operation_in_progress', 'Another change of this organization is under way. Try again.');
    }
    if (!(await recoverStale(context, current))) await context.wait(WAIT_MS);
    current = await context.master.organizations.findOne({ _id: organization._id });
  }
  return current;
}

/**
 * Carries on an operation whose lease has run out: a create that is not committed is rolled back, all else is finished.
 * @param until how long a copy of documents goes on; left out, it gets one step further
 * @returns false when the lease still runs, or another instance took it first
 */
export async function recoverStale(
  context: Context,
  organization: OrganizationDocument,
  until: Date = context.clock(),
): Promise<boolean> {
  const { operation, lease_until, _id, version } = organization;
  if (operation === null || lease_until === null || lease_until > context.clock()) return false;
  const lease = { lease_until: leaseFromNow(context) };
  const taken = await context.master.organizations.findOneAndUpdate(
    { _id, version },
    operation.kind === 'create' && organization.status === 'creating'
      ? {
          $set: { ...lease, status: 'deleting', operation: rolledBack(operation.id) },
          $inc: { version: 1 },
        }
      : { $set: lease, $inc: { version: 1 } },
  );
  if (taken === undefined) return false;
  context.log('info', 'operation.recovered', { organization_id: _id, kind: operation.kind });
  try {
    await carryOn(context, taken, until);
  } catch (error) {
    // Refused and rolled back: an answer to whoever asked for it, and to nobody else.
    if (!(error instanceof DomainError)) throw error;
  }
  return true;
}

/** Carries on whatever operation is under way, a copy of documents until then. */
export async function carryOn(
  context: Context,
  organization: OrganizationDocument,
  until: Date = context.clock(),
): Promise<void> {
  switch (organization.operation?.kind) {
    case 'create':
      await carryOnCreate(context, organization);
      break;
    case 'rename':
      await carryOnRename(context, organization, until);
      break;
    case 'restore':
      await carryOnRestore(context, organization);
      break;
    case 'membership':
      await carryOnMembership(context, organization);
      break;
    case 'delete':
      if (isErasing(organization)) await eraseOrganization(context, organization._id);
      else await retireOrganization(context, organization);
  }
}

/** What a create becomes that is rolled back: the erasure of what there is of it. */
export const rolledBack = (id: string): DeleteOperation => ({
  id,
  kind: 'delete',
  retain_until: null,
  removed: null,
  asked_by: null,
  audit: null,
});

/** Takes a name, also from an operation that died with it. False when another organization has it. */
export async function takeName(
  context: Context,
  key: string,
  claimant: { organizationId: string; operationId: string },
): Promise<boolean> {
  if (await claimName(context, key, claimant)) return true;
  const holder = await context.master.claims.findOne({ _id: nameClaimId(key) });
  const owner = holder && (await context.master.organizations.findOne({ _id: holder.organization_id }));
  if (owner === undefined || !(await recoverStale(context, owner))) return false;
  return claimName(context, key, claimant);
}
