/**
 * The admins of an organization. A change of a role, and a removal, is journaled as an operation of the organization,
 * one at a time: so "there is another owner" stays true from when it is checked until the change is written. Every write
 * of an admin compares its version: an instance that was paused longer than its lease writes nothing late.
 */
import { auditNote } from '../audit/note.ts';
import { recordPendingAudit } from '../audit/pending.ts';
import { record } from '../audit/record.ts';
import { forbidden } from '../authorization.ts';
import type { Context, Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { beginOperation, endOperation } from '../organization/journal.ts';
import { changedMeanwhile, outcomeUnknown } from '../organization/refusals.ts';
import type { MembershipOperation, OrganizationDocument } from '../organization/schema.ts';
import type { PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Role } from '../roles.ts';
import { isPermitted } from '../roles.ts';
import type { Principal } from '../session/schema.ts';
import { requireAdmin } from './account.ts';
import type { AdminDocument } from './schema.ts';
import { adminView } from './schema.ts';

/** The admin's email or password changes in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 5;

/** The admins of the principal's organization, in the order in which they were added. */
export async function listAdmins(
  context: Needs<'master'>,
  { principal, ...page }: PageInput & { readonly principal: Principal },
) {
  const own = { organization_id: principal.organization._id };
  return findPage(context.master.admins, own, page, adminView);
}

/**
 * Gives an admin of the principal's organization another role. The admin's sessions and tokens end.
 * @throws {DomainError} admin_not_found, last_owner; forbidden when the principal is no longer an owner; conflict,
 *   operation_in_progress, unavailable
 */
export async function changeRole(
  context: Context,
  input: { readonly principal: Principal; readonly admin_id: string; readonly role: Role },
) {
  return { ...adminView(await changeMembership(context, input)), role: input.role };
}

/**
 * Removes an admin from the principal's organization. The admin's sessions and tokens end.
 * @throws {DomainError} as {@link changeRole}
 */
export async function removeAdmin(
  context: Context,
  input: { readonly principal: Principal; readonly admin_id: string },
): Promise<void> {
  await changeMembership(context, { ...input, role: null });
}

/** @returns the admin as it was before */
async function changeMembership(
  context: Context,
  input: { readonly principal: Principal; readonly admin_id: string; readonly role: Role | null },
): Promise<AdminDocument> {
  const { principal, admin_id, role } = input;
  const { organization, admin: actor } = principal;
  const target = await requireAdmin(context, organization, admin_id);
  if (target.role === role) return target;
  const id = context.newId();
  const audit = await auditNote(context, organization, {
    event_id: id,
    action: role === null ? 'admin.removed' : 'admin.role_changed',
    actor: actor._id,
    target: admin_id,
  });
  const operation = { id, kind: 'membership', admin_id, role, actor_id: actor._id, audit } as const;
  const refusal = await resumeMembership(context, await beginOperation(context, { organization, operation }));
  if (refusal !== undefined) throw refusal;
  return target;
}

/**
 * Finishes a change of membership, wherever it is.
 * @returns the refusal when it cannot be done: then nothing has changed
 */
export async function resumeMembership(
  context: Context,
  organization: OrganizationDocument,
): Promise<DomainError | undefined> {
  const { operation } = organization;
  if (operation?.kind !== 'membership') return undefined;
  const refusal = await apply(context, organization._id, operation);
  if (refusal === undefined) {
    await Promise.all([removeDependents(context, organization._id, operation), record(context, operation.audit)]);
  }
  const isEnded = await endOperation(context, organization, { unrecorded: refusal !== undefined });
  // Another instance may have ended it, and may have found that it can be done.
  return refusal !== undefined && !isEnded ? outcomeUnknown() : refusal;
}

/** Removes what depended on the admin's former role: sessions, sent invitations, and the mails of a removed admin. */
async function removeDependents(
  context: Needs<'master' | 'wait'>,
  organizationId: string,
  { admin_id, role }: MembershipOperation,
): Promise<void> {
  const { sessions, mails } = context.master;
  await retryOnUnknownOutcome(context, () => sessions.deleteMany({ admin_id }));
  if (role === null) await retryOnUnknownOutcome(context, () => mails.deleteMany({ admin_id }));
  if (role !== null && isPermitted(role, 'admins.manage')) return;
  const invitations = { organization_id: organizationId, 'invitation.invited_by': admin_id };
  await retryOnUnknownOutcome(context, () => mails.deleteMany(invitations));
}

async function apply(
  context: Context,
  organizationId: string,
  operation: MembershipOperation,
): Promise<DomainError | undefined> {
  const { admins } = context.master;
  const own = { organization_id: organizationId };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const target = await admins.findOne({ ...own, _id: operation.admin_id });
    // It was done: by an earlier try of this operation, or by another operation just before it.
    if (target === undefined || target.changed_by === operation.id || target.role === operation.role) return undefined;
    const actor = await admins.findOne({ ...own, _id: operation.actor_id });
    const refusal = await refusalReason(context, target, actor);
    if (refusal === undefined) {
      if (await write(context, target, operation)) return undefined;
    } else {
      // Another instance may have done it since the target was read, and so caused the reason for the refusal.
      const unchanged = await admins.count({ _id: target._id, version: target.version });
      if (unchanged === 1) return refusal;
    }
  }
  return changedMeanwhile();
}

async function refusalReason(
  { master }: Needs<'master'>,
  target: AdminDocument,
  actor: AdminDocument | undefined,
): Promise<DomainError | undefined> {
  if (actor === undefined || !isPermitted(actor.role, 'admins.manage')) return forbidden();
  if (target.role !== 'owner') return undefined;
  const owners = { organization_id: target.organization_id, role: 'owner' };
  return (await master.admins.count(owners, { limit: 2 })) < 2 ? lastOwner() : undefined;
}

/** @returns false when the admin is not as it was read */
async function write(context: Context, target: AdminDocument, { id, role }: MembershipOperation): Promise<boolean> {
  const { admins } = context.master;
  const asRead = { _id: target._id, version: target.version };
  if (role === null) {
    await recordPendingAudit(context, target);
    return (await retryOnUnknownOutcome(context, () => admins.deleteOne(asRead))) === 1;
  }
  const changes = { role, changed_by: id, updated_at: context.clock() };
  const { matched } = await retryOnUnknownOutcome(context, () =>
    admins.updateOne(asRead, { $set: changes, $inc: { version: 1, epoch: 1 } }),
  );
  return matched === 1;
}

const lastOwner = (): DomainError =>
  new DomainError('last_owner', 'An organization keeps at least one owner. Make another admin an owner first.');
