/**
 * What waits to be recorded. Every change of an organization or an admin says which event it was (`changed_by`): that
 * is in the log, or waits where the change was written. So a note that was taken away leaves an event without any.
 */
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { AuditNote, Seals } from './schema.ts';
import { isGenuineChange, isGenuineEntry, isGenuineNote, isGenuinePending } from './sealing.ts';

/** Documents that one query asks for. */
const BATCH = 500;

/** What it takes to check a log. */
export type ChainReader = Needs<'master' | 'seals'>;

/** The events that a document waits to have recorded, and the one that the log has to know otherwise. */
type Waiting = { readonly events: readonly string[]; readonly changed_by: string };

/** What waits on the admins of an organization; undefined: something there is not as it was made. */
export async function pendingOfAdmins({ master, seals }: ChainReader, id: string): Promise<Waiting[] | undefined> {
  const found: Waiting[] = [];
  const projection = { changed_by: 1, audit_pending: 1 } as const;
  for (let after = ''; ; ) {
    const filter = { organization_id: id, _id: { $gt: after } };
    const page = await master.admins.find(filter, { sort: { _id: 1 }, limit: BATCH, projection });
    for (const admin of page) {
      const notes = notesOf(seals, admin);
      if (!notes?.every(({ organization_id }) => organization_id === id)) return undefined;
      found.push({ events: notes.map(({ event_id }) => event_id), changed_by: admin.changed_by });
    }
    const last = page.at(-1);
    if (last === undefined || page.length < BATCH) return found;
    after = last._id;
  }
}

const notesOf = (
  seals: Seals,
  { _id, audit_pending }: Pick<AdminDocument, '_id' | 'audit_pending'>,
): readonly AuditNote[] | undefined => {
  if (audit_pending === null) return [];
  return isGenuinePending(seals, _id, audit_pending) ? audit_pending.notes : undefined;
};

/** What waits on an organization; undefined: something there is not as it was made. */
export function pendingOfOrganization(
  { seals }: ChainReader,
  { _id, operation, changed_by }: OrganizationDocument,
): Waiting | undefined {
  const isOwn = (note: AuditNote) => isGenuineNote(seals, note) && note.organization_id === _id;
  const change = operation?.kind === 'rename' ? operation.admin : null;
  if (change !== null && !isGenuineChange(seals, change.admin_id, change.audit)) return undefined;
  // A move is no event: what was changed before it counts.
  if (operation?.kind === 'move') return { events: [], changed_by: operation.replaces };
  if (operation === null || operation.audit === null) return { events: [], changed_by };
  if (!isOwn(operation.audit) || operation.audit.event_id !== operation.id) return undefined;
  return { events: [operation.id], changed_by };
}

/**
 * Whether each event that the log has to know is in it, or waits, or was removed with the beginning of the log.
 * @param waiting the organization's first: it is named by the admins that its operation changed, too
 * @param removedUntil the time of the latest entry that was removed
 */
export async function areAllRecorded(
  { master, seals }: ChainReader,
  id: string,
  waiting: readonly Waiting[],
  removedUntil: Date | null,
): Promise<boolean> {
  const isWaiting = ({ events, changed_by }: Waiting) =>
    events.includes(changed_by) || waiting[0]?.events.includes(changed_by);
  const missing = new Set(waiting.filter((one) => !isWaiting(one)).map(({ changed_by }) => changed_by));
  const events = [...missing];
  for (let from = 0; from < events.length; from += BATCH) {
    const batch = { event_id: { $in: events.slice(from, from + BATCH) } };
    const entries = await master.audit.find(batch, { limit: BATCH });
    for (const entry of entries) {
      if (entry.organization_id === id && isGenuineEntry(seals, entry)) missing.delete(entry.event_id);
    }
  }
  return [...missing].every((event) => removedUntil !== null && madeAt(event) < removedUntil.getTime() + CLOCK_MS);
}

/**
 * A clock that was set back gives ids of a later time than the notes that follow. It is far less than the shortest time
 * that entries are kept: an event of that time that is nowhere is a fault.
 */
const CLOCK_MS = 60 * 60 * 1000;

/** When the id that an event's begins with was made (UUIDv7): not after the event. NaN for another id. */
function madeAt(eventId: string): number {
  const [, high = '', low = ''] = /^([0-9a-f]{8})-([0-9a-f]{4})-7/.exec(eventId) ?? [];
  return Number.parseInt(high + low, 16);
}
