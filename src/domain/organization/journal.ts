/**
 * The journal: an operation that takes several steps is written on the organization's document before its first
 * step, under a lease. Every step is idempotent, so any instance can finish the operation after the lease has expired,
 * and nothing breaks when the first one turns out to be alive.
 */
import type { Update } from '../../store/port.ts';
import type { Context, Needs } from '../context.ts';
import { nextLook } from '../due.ts';
import { DomainError } from '../errors.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { changedMeanwhile, outcomeUnknown } from './refusals.ts';
import type { Operation, OrganizationDocument } from './schema.ts';

const WAIT_MS = 50;
const WAITS = 60;
const ATTEMPTS = 5;

/** When a lease taken now expires. */
export const leaseEnd = ({ clock, settings }: Needs<'clock' | 'settings'>): Date =>
  new Date(clock().getTime() + settings.leaseMs);

type Draft = Operation extends infer O ? (O extends Operation ? Omit<O, 'replaces'> : never) : never;

/**
 * Begins an operation: one conditional write, which also keeps a second one from beginning. An operation that is
 * under way is waited for, or finished when its instance is gone.
 * @param input.operation what begins, or what is made of the organization as it is then; undefined: nothing is to be done
 * @param input.set fields to set in the same write
 * @param input.raiseEpoch whether the tokens issued so far end
 * @returns the organization with the operation on it, or as it is when nothing is to be done
 * @throws {DomainError} operation_in_progress when the other does not end in 3 s; conflict when the organization is
 *   gone, or its tokens have ended; unavailable when it is not known whether it has begun
 */
export async function beginOperation(
  context: Context,
  input: {
    readonly organization: OrganizationDocument;
    readonly operation: Draft | ((idle: OrganizationDocument) => Draft | undefined);
    readonly set?: Update['$set'];
    readonly raiseEpoch?: boolean;
  },
): Promise<OrganizationDocument> {
  const { organizations } = context.master;
  const { _id, epoch, status } = input.organization;
  let current: OrganizationDocument | undefined = input.organization;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const idle = current && (await waitForOperation(context, current));
    if (idle === undefined || idle.epoch !== epoch || idle.status !== status) throw changedMeanwhile();
    const draft = typeof input.operation === 'function' ? input.operation(idle) : input.operation;
    if (draft === undefined) return idle;
    const operation = { ...draft, replaces: idle.changed_by } as Operation;
    const begun = await retryOnUnknownOutcome(context, () =>
      organizations.findOneAndUpdate(
        { _id, version: idle.version },
        {
          $set: { ...input.set, operation, changed_by: operation.id, due_at: leaseEnd(context) },
          $inc: { version: 1, ...(input.raiseEpoch && { epoch: 1 }) },
        },
      ),
    );
    if (begun !== undefined) return begun;
    current = await organizations.findOne({ _id });
    // An earlier try of this very write may have gone in, and others may have ended it.
    if (current?.operation?.id === operation.id) return current;
    if (current?.changed_by === operation.id) throw outcomeUnknown();
  }
  throw changedMeanwhile();
}

/**
 * One conditional write on the journal: from the step that the operation is at.
 * @returns the organization after it; undefined when another instance, or an earlier try of ours, was faster
 */
export function advance(
  context: Needs<'master' | 'wait'>,
  { _id, operation }: OrganizationDocument,
  update: Update,
  condition: { readonly [path: string]: string } = {},
): Promise<OrganizationDocument | undefined> {
  return retryOnUnknownOutcome(context, () =>
    context.master.organizations.findOneAndUpdate(
      {
        _id,
        'operation.id': operation?.id ?? '',
        ...(operation !== null && 'step' in operation && { 'operation.step': operation.step }),
        ...condition,
      },
      { ...update, $inc: { version: 1, ...update.$inc } },
    ),
  );
}

/**
 * What ends an operation, as a `$set`.
 * @param organization as the operation leaves it
 * @param options.unrecorded the audit log does not know of it: it was rolled back, say
 */
export const ended = (
  { clock }: Needs<'clock'>,
  { operation, next_placement, purge_at, changed_by }: OrganizationDocument,
  { unrecorded = false }: { readonly unrecorded?: boolean } = {},
) => ({
  operation: null,
  // An open move waits while the organization is kept: a restore finds it.
  due_at: purge_at ?? (next_placement === null ? null : nextLook(clock(), next_placement.since)),
  changed_by: unrecorded && operation !== null ? operation.replaces : changed_by,
});

/** Ends the operation on the organization. @returns whether this call ended it, and no other instance did before */
export async function endOperation(
  context: Needs<'master' | 'clock' | 'wait'>,
  organization: OrganizationDocument,
  options: { readonly unrecorded?: boolean } = {},
): Promise<boolean> {
  const { _id, operation } = organization;
  const { matched } = await retryOnUnknownOutcome(context, () =>
    context.master.organizations.updateOne(
      { _id, 'operation.id': operation?.id ?? '' },
      { $set: ended(context, organization, options), $inc: { version: 1 } },
    ),
  );
  return matched === 1;
}

/**
 * Resolves to the organization as the operation under way has left it, if there is one; undefined when it is gone.
 * @throws {DomainError} operation_in_progress when it does not end in 3 s
 */
async function waitForOperation(
  context: Context,
  organization: OrganizationDocument,
): Promise<OrganizationDocument | undefined> {
  let current: OrganizationDocument | undefined = organization;
  for (let waits = 0; current !== undefined && current.operation !== null; waits++) {
    if (waits === WAITS) {
      throw new DomainError('operation_in_progress', 'Another change of this organization is under way. Try again.');
    }
    if (!(await resumeExpired(context, current))) await context.wait(WAIT_MS);
    current = await context.master.organizations.findOne({ _id: organization._id });
  }
  return current;
}

/**
 * Waits for a rename that may have changed an admin: until it is committed, its change of the admin stays visible.
 * The organization is read after the admin was, so a rename that the admin's version knows of is found.
 * @throws {DomainError} operation_in_progress; conflict when the organization's tokens have ended
 */
export async function waitForOtherChanges(context: Context, { _id, epoch }: OrganizationDocument): Promise<void> {
  const found = await context.master.organizations.findOne({ _id });
  const current = found && (await waitForOperation(context, found));
  if (current === undefined || current.epoch !== epoch) throw changedMeanwhile();
}

/**
 * Finishes an operation whose lease has expired.
 * @returns false when the lease still runs, or another instance took it first
 */
export async function resumeExpired(context: Context, organization: OrganizationDocument): Promise<boolean> {
  const { operation, due_at, _id, version } = organization;
  if (operation === null || due_at === null || due_at > context.clock()) return false;
  const taken = await context.master.organizations.findOneAndUpdate(
    { _id, version },
    { $set: { due_at: leaseEnd(context) }, $inc: { version: 1 } },
  );
  if (taken === undefined) return false;
  context.log('info', 'operation.resumed', { organization_id: _id, kind: operation.kind });
  try {
    await context.resume(context, taken);
  } catch (error) {
    // Refused and rolled back: an answer to the caller who asked for it, and to nobody else.
    if (!(error instanceof DomainError)) throw error;
  }
  return true;
}
