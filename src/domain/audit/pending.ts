/**
 * What is to be recorded of a change of an admin is written on the admin, in the same write as the change, and waits
 * there until it has been recorded: by the instance that made the change, or by the reconciler when that one died.
 */
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Recording } from './record.ts';
import { record } from './record.ts';
import type { AuditNote, PendingAudit } from './schema.ts';
import { isGenuineChange, isGenuinePending, sealPending } from './sealing.ts';

/** How long the instance that made a change has to record it before the reconciler does, in milliseconds. */
const OWN_MS = 10_000;

type Pending = Pick<AdminDocument, '_id' | 'audit_pending'>;

/**
 * Fields for the write that changes, or inserts, an admin: these notes wait on it, with those that wait already.
 * @param added sealed as a change of the admin, where they waited elsewhere before
 */
export function withPendingAudit(
  { seals, clock }: Needs<'seals' | 'clock'>,
  { _id, audit_pending }: Pending,
  added: readonly AuditNote[] | PendingAudit,
): Pick<AdminDocument, 'audit_pending' | 'audit_due_at'> {
  const isChange = 'seal' in added;
  const pending = sealPending(seals, _id, [...notesOf(audit_pending), ...(isChange ? notesOf(added) : added)]);
  // What was tampered with is not sealed anew: verify has to find it.
  const isGenuine =
    (audit_pending === null || isGenuinePending(seals, _id, audit_pending)) &&
    (!isChange || isGenuineChange(seals, _id, added));
  return {
    audit_pending: isGenuine ? pending : { ...pending, seal: '' },
    audit_due_at: new Date(clock().getTime() + OWN_MS),
  };
}

/** Records what waits on an admin, and then removes it there. What was tampered with is refused, and stays. */
export async function flushPendingAudit(context: Recording, adminId: string): Promise<void> {
  const { admins } = context.master;
  for (;;) {
    const admin = await admins.findOne({ _id: adminId });
    if (admin === undefined || admin.audit_pending === null) return;
    const rest = (await recordPendingAudit(context, admin)) ? { audit_pending: null } : {};
    // Every change raises the version: one that came meanwhile has notes of its own, and another round.
    const { matched } = await retryOnUnknownOutcome(context, () =>
      admins.updateOne({ _id: adminId, version: admin.version }, { $set: { ...rest, audit_due_at: null } }),
    );
    if (matched === 1) return;
  }
}

/**
 * Records what waits on an admin: all of it, or nothing where it is not as it was made. A note alone may be genuine,
 * and be of a change that was refused.
 * @returns whether all of it is in the log
 */
export async function recordPendingAudit(context: Recording, { _id, audit_pending }: Pending): Promise<boolean> {
  if (audit_pending === null) return true;
  if (!isGenuinePending(context.seals, _id, audit_pending)) {
    context.log('error', 'audit.note_refused', { admin_id: _id });
    return false;
  }
  let complete = true;
  for (const note of audit_pending.notes) {
    if ((await record(context, note)) === undefined) complete = false;
  }
  return complete;
}

/**
 * Whether an event changed an admin: its note is with the admin until the log has it, and in the log for good.
 * @param admin as read before
 */
export async function wasChangedBy(
  { master }: Needs<'master'>,
  { changed_by, audit_pending }: Pick<AdminDocument, 'changed_by' | 'audit_pending'>,
  eventId: string,
): Promise<boolean> {
  if (changed_by === eventId || notesOf(audit_pending).some(({ event_id }) => event_id === eventId)) return true;
  return (await master.audit.count({ event_id: eventId }, { limit: 1 })) > 0;
}

/** Also of what somebody put there who is not the service. */
const notesOf = (pending: PendingAudit | null): readonly AuditNote[] =>
  Array.isArray(pending?.notes) ? pending.notes : [];
