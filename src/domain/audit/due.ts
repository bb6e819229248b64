/**
 * What is to be recorded of a change of one document is written on the document, in the same write as the change, and
 * stays there until it has been recorded: by whoever changed it, or by the reconciler when that one died.
 */
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { AuditNote } from './event.ts';
import { record } from './record.ts';

/** Notes by the ids of their events. */
export type DueNotes = { readonly [eventId: string]: AuditNote };

/** Fields for the `$set` of a change of an admin that raises its version. */
export const dueWith = (notes: DueNotes): Record<string, AuditNote | Date> => {
  const [first] = Object.values(notes);
  if (first === undefined) return {};
  const fields = Object.entries(notes).map(([eventId, note]) => [`audit_due.${eventId}`, note] as const);
  return { ...Object.fromEntries(fields), audit_due_at: first.at };
};

/** Records what is due of an admin. */
export async function settleDue(context: Context, adminId: string): Promise<void> {
  const { admins } = context.master;
  for (;;) {
    const admin = await admins.findOne({ _id: adminId });
    if (admin?.audit_due === undefined) return;
    await recordDue(context, admin);
    // Every change raises the version: one that came meanwhile has notes of its own, and another round.
    const { matched } = await persist(() =>
      admins.updateOne({ _id: adminId, version: admin.version }, { $unset: { audit_due: true, audit_due_at: true } }),
    );
    if (matched === 1) return;
  }
}

/** Records what is due of an admin that is about to be removed. */
export async function recordDue(context: Context, admin: AdminDocument): Promise<void> {
  for (const [eventId, note] of Object.entries(admin.audit_due ?? {})) {
    await record(context, admin.organization_id, eventId, note);
  }
}
