/**
 * Changing what admins are to their organization. One such change at a time: it is journaled as an operation of the
 * organization, so that "another owner is there" holds from when it was looked at until the change is written. Every
 * write of an admin is conditional on its version, so that an instance paused past its lease writes nothing late.
 */
import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import type { Role } from '../authorization.ts';
import { forbidden, isPermitted } from '../authorization.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { beginOperation } from '../organization/lifecycle.ts';
import type { MembershipOperation, OrganizationDocument } from '../organization/organization.ts';
import { changedMeanwhile, outcomeUnknown } from '../organization/refusals.ts';
import { persist } from '../persist.ts';
import type { Principal } from '../session/authenticate.ts';
import type { AdminDocument, AdminView } from './admin.ts';
import { adminView } from './admin.ts';

/** An admin changes the email or password in between at most so many times before the caller is asked to try again. */
const ATTEMPTS = 5;

/**
 * Gives an admin of the principal's organization another role. The admin's tokens end.
 * @throws {DomainError} admin_not_found, last_owner; forbidden when the principal is no owner by then; conflict,
 *   operation_in_progress
 */
export async function changeRole(
  context: Context,
  principal: Principal,
  input: { admin_id: string; role: Role },
): Promise<AdminView> {
  return { ...adminView(await change(context, principal, input.admin_id, input.role)), role: input.role };
}

/**
 * Removes an admin from the principal's organization, with all sessions. The admin's tokens end.
 * @throws {DomainError} as {@link changeRole}
 */
export async function removeAdmin(context: Context, principal: Principal, input: { admin_id: string }): Promise<void> {
  await change(context, principal, input.admin_id, null);
}

async function change(
  context: Context,
  { organization, admin: actor }: Principal,
  adminId: string,
  role: Role | null,
): Promise<AdminDocument> {
  const target = await context.master.admins.findOne({ _id: adminId, organization_id: organization._id });
  if (target === undefined) throw adminNotFound();
  if (target.role === role) return target;
  const operation: MembershipOperation = {
    id: context.newId(),
    kind: 'membership',
    admin_id: adminId,
    role,
    actor_id: actor._id,
    audit: noteOf(context, role === null ? 'admin.removed' : 'admin.role_changed', {
      actor: actor._id,
      target: adminId,
    }),
  };
  const begun = await beginOperation(context, organization, operation, { status: 'active' });
  const refusal = await carryOnMembership(context, begun);
  if (refusal !== undefined) throw refusal;
  return target;
}

/**
 * Carries a change of membership on, and ends it.
 * @returns why it cannot be: then nothing has changed
 */
export async function carryOnMembership(
  context: Context,
  { _id, operation }: OrganizationDocument,
): Promise<DomainError | undefined> {
  if (operation?.kind !== 'membership') return undefined;
  const refusal = await apply(context, _id, operation);
  if (refusal === undefined) {
    await endWhatDepends(context, _id, operation);
    await record(context, _id, operation.id, operation.audit);
  }
  const { matched } = await persist(() =>
    context.master.organizations.updateOne(
      { _id, 'operation.id': operation.id },
      { $set: { operation: null, lease_until: null }, $inc: { version: 1 } },
    ),
  );
  // Whoever ended it in our place may have found that it can be.
  return refusal !== undefined && matched === 0 ? outcomeUnknown() : refusal;
}

/** What an admin had in hand by the role from before: sessions, invitations sent, and all that waits for one removed. */
async function endWhatDepends(context: Context, organizationId: string, { admin_id, role }: MembershipOperation) {
  const { sessions, mails } = context.master;
  await persist(() => sessions.deleteMany({ admin_id }));
  if (role === null) await persist(() => mails.deleteMany({ admin_id }));
  if (role !== null && isPermitted(role, 'admins.manage')) return;
  await persist(() => mails.deleteMany({ organization_id: organizationId, 'invitation.invited_by': admin_id }));
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
    // Gone or changed: by an earlier try of this very operation, or by another removal just before it.
    if (target === undefined || target.changed_by === operation.id || target.role === operation.role) return undefined;
    const actor = await admins.findOne({ ...own, _id: operation.actor_id });
    const refusal = await whyNot(context, target, actor);
    if (refusal === undefined) {
      if (await write(context, target, operation)) return undefined;
    } else {
      // Another instance may have carried it out since the target was read, and what speaks against it came of that.
      const unchanged = await admins.count({ _id: target._id, version: target.version });
      if (unchanged === 1) return refusal;
    }
  }
  return changedMeanwhile();
}

/** What speaks against changing an admin who is there. */
async function whyNot(
  context: Context,
  target: AdminDocument,
  actor: AdminDocument | undefined,
): Promise<DomainError | undefined> {
  if (actor === undefined || !isPermitted(actor.role, 'admins.manage')) return forbidden();
  if (target.role !== 'owner') return undefined;
  const owners = { organization_id: target.organization_id, role: 'owner' };
  return (await context.master.admins.count(owners, { limit: 2 })) < 2 ? lastOwner() : undefined;
}

/** False when the admin is not as it was read. */
async function write(context: Context, { _id, version }: AdminDocument, operation: MembershipOperation) {
  const { admins } = context.master;
  const asRead = { _id, version };
  const { role, id } = operation;
  if (role === null) return (await persist(() => admins.deleteOne(asRead))) === 1;
  const { matched } = await persist(() =>
    admins.updateOne(asRead, {
      $set: { role, changed_by: id, updated_at: context.clock() },
      $inc: { version: 1, epoch: 1 },
    }),
  );
  return matched === 1;
}

const adminNotFound = (): DomainError =>
  new DomainError('admin_not_found', 'No admin of this organization has this id.');

const lastOwner = (): DomainError =>
  new DomainError('last_owner', 'An organization keeps at least one owner. Make another admin an owner first.');
