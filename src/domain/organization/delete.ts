import { auditNote } from '../audit/note.ts';
import { record } from '../audit/record.ts';
import { forbidden } from '../authorization.ts';
import type { Context, Needs } from '../context.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Principal } from '../session/schema.ts';
import { organizationThatLeft } from './claims.ts';
import { eraseOrganization } from './erase.ts';
import { beginOperation, endOperation, leaseEnd } from './journal.ts';
import { organizationKey } from './name.ts';
import { changedMeanwhile, renamed } from './refusals.ts';
import type { DeleteOperation, OrganizationDocument } from './schema.ts';

export type DeleteOrganizationInput = { readonly principal: Principal; readonly organization_name: string };

/**
 * Deletes the principal's organization. The write that journals the operation is the commit point: from it on, tokens
 * fail and reads find nothing; the rest always goes forward. Where deleted organizations are kept, everything stays as
 * it is, to be restored or purged later.
 * @throws {DomainError} forbidden for any other organization, existing or not; organization_renamed for a name that
 *   it left; conflict, operation_in_progress
 */
export async function deleteOrganization(context: Context, { principal, organization_name }: DeleteOrganizationInput) {
  const { organization, admin } = principal;
  await requireOwnName(context, organization, organization_name);
  const id = context.newId();
  const event = { event_id: id, action: 'organization.deleted', actor: admin._id, target: organization._id } as const;
  const audit = await auditNote(context, organization, event);
  const purge_at = restorableUntil(context);
  const begun = await beginOperation(context, {
    organization,
    operation: ({ key }) => {
      // Renamed while it was waited for: the name that was given is not its own any more.
      if (key !== organization.key) throw changedMeanwhile();
      return { id, kind: 'delete', audit };
    },
    set: purge_at === null ? { status: 'deleting' } : { status: 'deleted', purge_at },
    raiseEpoch: true,
  });
  try {
    await resumeDelete(context, begun);
  } catch (error) {
    context.log('warn', 'organization.delete_unfinished', { organization_id: organization._id, error });
  }
  return { deleted: true as const, organization_name: organization.name };
}

/** Finishes a delete: ends the sessions of an organization that is kept, and erases any other. */
export async function resumeDelete(context: Context, organization: OrganizationDocument): Promise<unknown> {
  const { operation, status, _id } = organization;
  if (operation?.kind !== 'delete') return;
  if (status === 'deleting') return eraseOrganization(context, organization);
  await Promise.all([
    retryOnUnknownOutcome(context, () => context.master.sessions.deleteMany({ organization_id: _id })),
    operation.audit && record(context, operation.audit),
  ]);
  await endOperation(context, organization);
}

/** Ends the time in which a deleted organization could be restored: it is erased. */
export async function purgeOrganization(context: Context, organization: OrganizationDocument): Promise<void> {
  const { _id, version, changed_by } = organization;
  const id = context.newId();
  const event = { event_id: id, action: 'organization.purged', actor: 'service', target: _id } as const;
  const audit = await auditNote(context, organization, event);
  const operation: DeleteOperation = { id, kind: 'delete', replaces: changed_by, audit };
  const deleting = await context.master.organizations.findOneAndUpdate(
    { _id, version, status: 'deleted', operation: null, purge_at: { $lte: context.clock() } },
    {
      $set: { status: 'deleting', operation, changed_by: id, purge_at: null, due_at: leaseEnd(context) },
      $inc: { version: 1 },
    },
  );
  if (deleting !== undefined) await eraseOrganization(context, deleting);
}

/** Until when an organization that is deleted now can be restored; null: not at all. */
export const restorableUntil = ({ clock, settings }: Needs<'clock' | 'settings'>): Date | null =>
  settings.retentionMs === 0 ? null : new Date(clock().getTime() + settings.retentionMs);

/** @throws {DomainError} unless the name is the organization's own */
export async function requireOwnName(
  context: Needs<'master' | 'clock' | 'settings'>,
  organization: OrganizationDocument,
  name: string,
): Promise<void> {
  const key = organizationKey(name);
  if (key === organization.key) return;
  const left = key === undefined ? undefined : await organizationThatLeft(context, key);
  if (left?._id === organization._id) throw renamed(organization.name);
  throw forbidden();
}
