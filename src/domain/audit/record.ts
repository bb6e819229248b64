/**
 * Writing to the log. Two writers never fork a chain: the place of an entry, its `_id`, can be taken once, and the one
 * who finds it taken tries the next. What is in the log already is not judged here: see verify.ts.
 */
import { isStoreError } from '../../store/port.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { ChainEnd } from './chain.ts';
import { genuineCheckpoint, lastEntry } from './chain.ts';
import { dueSoon, makeCheckpointDue } from './checkpoint.ts';
import type { AuditEvent } from './note.ts';
import { auditNote } from './note.ts';
import type { AuditEntry, AuditNote } from './schema.ts';
import { entryId, removedOf, sequenceOf } from './schema.ts';
import { isGenuineEntry, isGenuineNote, sealEntry } from './sealing.ts';

/** Each try that fails was another's that succeeded. */
const ATTEMPTS = 100;

const FIRST_WAIT_MS = 2;
const MAX_WAIT_MS = 100;

/** Organizations whose tail is remembered. */
const TAILS = 10_000;

/** The end of a chain, and a time at which the place after it was free. */
type Tail = ChainEnd & { readonly at: Date };

/** What the audit log asks of the context. */
export type Recording = Needs<
  'request' | 'master' | 'seals' | 'auditTails' | 'wait' | 'clock' | 'log' | 'runInBackground' | 'newId' | 'keyedHash'
>;

/** Records what the request at hand does. @throws {DomainError} as {@link record} */
export async function recordEvent(
  context: Recording,
  organization: Pick<OrganizationDocument, '_id' | 'address_key'>,
  event: AuditEvent,
): Promise<void> {
  await record(context, await auditNote(context, organization, event));
}

/**
 * Records an event in its organization's chain: once, however often it is asked for, and by any number of instances.
 * @returns the entry, of this call or of an earlier one; undefined when it was refused, because the note was tampered
 *   with, is as old as entries that were removed, or its event's id is another entry's: the log of the service says so,
 *   and the caller keeps a note that waits
 * @throws {DomainError} unavailable when others wrote to the same chain for too long
 * @throws {StoreError}
 */
export async function record(context: Recording, note: AuditNote): Promise<AuditEntry | undefined> {
  if (!isGenuineNote(context.seals, note) || (await mayBeRemoved(context, note))) return refuse(context, note);
  const { key: _key, seal: _seal, ...event } = note;
  const { organization_id, event_id } = event;
  let tail = rememberedTail(context, organization_id) ?? (await firstTail(context, note));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const sequence = tail.sequence + 1;
    const place = { _id: entryId(organization_id, sequence), sequence, previous: tail.seal };
    const entry = sealEntry(context.seals, { ...event, ...place });
    try {
      await retryOnUnknownOutcome(context, () => context.master.audit.insertOne(entry));
      if (isFresh(context, tail.at) || !(await isRemovedPlace(context, entry))) return recorded(context, entry);
      // This process stood still for half a day between the look at the end and the insert.
      await context.master.audit.deleteOne({ _id: entry._id, seal: entry.seal });
      return record(context, note);
    } catch (error) {
      if (!isStoreError(error, 'DuplicateKey')) throw error;
      if (error.index === 'event_id') {
        const earlier = await context.master.audit.findOne({ event_id });
        const isRecorded = earlier !== undefined && isGenuineEntry(context.seals, earlier) && isOf(earlier, note);
        return isRecorded ? recorded(context, earlier) : refuse(context, note);
      }
    }
    await context.wait(Math.random() * Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt));
    const newest = rememberedTail(context, organization_id);
    // Another request of this instance may have written the entry that was in the way.
    tail = newest !== undefined && newest.sequence > tail.sequence ? newest : await readEnd(context, organization_id);
  }
  throw new DomainError('unavailable', 'Too much happens in this organization at once. Try again.');
}

/** Whether an entry is the one of a note: an id alone could be another event's. */
const isOf = (entry: AuditEntry, note: AuditNote): boolean =>
  (['organization_id', 'action', 'actor', 'target'] as const).every((field) => entry[field] === note[field]);

/** The end of a chain that this instance has not seen. A creation is the first entry: it is tried as such. */
async function firstTail(context: Recording, { organization_id, event_id }: AuditNote): Promise<Tail> {
  if (event_id === organization_id) return { sequence: 0, seal: '', at: context.clock() };
  const end = await readEnd(context, organization_id);
  if (end.sequence > 0) return end;
  // Where the creation waits still, it is recorded before anything else.
  const organization = await context.master.organizations.findOne({ _id: organization_id });
  if (organization?.operation?.kind === 'create') await record(context, organization.operation.audit);
  return rememberedTail(context, organization_id) ?? end;
}

/**
 * The end of a chain, as it is: whether it is genuine is for verify to find. Its place is what its `_id` says, so that
 * an entry that was altered does not stop the log. Where the end was cut off, the log goes on after its checkpoint: the
 * gap is never filled, and is found.
 */
async function readEnd(context: Recording, organizationId: string): Promise<Tail> {
  const at = context.clock();
  const [last, checkpoint] = await Promise.all([
    lastEntry(context, organizationId),
    genuineCheckpoint(context, organizationId),
  ]);
  const sequence = last === undefined ? 0 : sequenceOf(last._id);
  if (checkpoint !== undefined && checkpoint.sequence > sequence) {
    return { sequence: checkpoint.sequence, seal: checkpoint.entry, at };
  }
  return { sequence, seal: String(last?.seal ?? ''), at };
}

/**
 * Notes are recorded within hours, unless the service stood still. What is younger was never removed: entries are kept
 * for a day at least, and no two clocks differ by the rest of it.
 */
const FRESH_MS = 12 * 60 * 60 * 1000;

const isFresh = ({ clock }: Recording, at: Date): boolean => clock().getTime() - at.getTime() < FRESH_MS;

/**
 * The end of a chain as this instance knows it, while that is fresh. Entries are removed from the beginning, so the
 * place after a fresh one was never freed; after an older one, others may have recorded entries that are removed.
 */
function rememberedTail(context: Recording, organizationId: string): Tail | undefined {
  const tail = context.auditTails.get(organizationId);
  return tail !== undefined && isFresh(context, tail.at) ? tail : undefined;
}

/** Whether an entry was put where older ones were removed: there it is not in the log. */
async function isRemovedPlace(context: Recording, { organization_id, sequence }: AuditEntry): Promise<boolean> {
  return sequence <= removedOf(await genuineCheckpoint(context, organization_id)).removed_to;
}

/** Whether the entry of a note may have been removed, as old as it is: it is not recorded again. */
export async function mayBeRemoved(context: Recording, { organization_id, at }: AuditNote): Promise<boolean> {
  if (isFresh(context, at)) return false;
  const until = (await genuineCheckpoint(context, organization_id))?.removed_until ?? null;
  return until !== null && at <= until;
}

/** Announces the entry outside the database, in the log of the service, and has the checkpoint brought up to it. */
function recorded(context: Recording, entry: AuditEntry): AuditEntry {
  const { auditTails } = context;
  const { organization_id, sequence, action, outcome, request_id, seal, at } = entry;
  context.log('info', 'audit.recorded', { organization_id, sequence, action, outcome, request_id, seal });
  const known = auditTails.get(organization_id);
  const isAskedFor = known !== undefined && known.checkpointDue > context.clock();
  const end = known !== undefined && known.sequence > sequence ? known : { sequence, seal, at };
  // The last one in the map is the one that was used last: the first is forgotten when there are too many.
  auditTails.delete(organization_id);
  auditTails.set(organization_id, { ...end, checkpointDue: isAskedFor ? known.checkpointDue : dueSoon(context) });
  const [oldest] = auditTails.keys();
  if (auditTails.size > TAILS && oldest !== undefined) auditTails.delete(oldest);
  if (!isAskedFor) void context.runInBackground((background) => makeCheckpointDue(background, organization_id));
  return entry;
}

function refuse({ log }: Recording, note: AuditNote): undefined {
  log('error', 'audit.note_refused', { organization_id: note?.organization_id, event_id: note?.event_id });
}
