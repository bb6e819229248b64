/**
 * Writing to the log. Two writers never fork a chain: the place of an entry, its `_id`, can be taken once, and the one
 * who finds it taken tries the next. What is in the log already is not judged here: see verify.ts.
 */
import { isStoreError } from '../../store/port.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { dueSoon, makeCheckpointDue } from './checkpoint.ts';
import type { AuditEntry, AuditNote, AuditTail } from './schema.ts';
import { entryId } from './schema.ts';
import { isGenuineEntry, isGenuineNote, sealEntry } from './sealing.ts';
import { readTail, rememberTail } from './tail.ts';

/** Each try that fails was another's that succeeded. */
const ATTEMPTS = 100;

const FIRST_WAIT_MS = 2;
const MAX_WAIT_MS = 100;

export type Recording = Needs<'master' | 'seals' | 'auditTails' | 'wait' | 'clock' | 'log' | 'runInBackground'>;

/**
 * Records an event in its organization's chain: once, however often it is asked for, and by any number of instances.
 * @returns the entry, of this call or of an earlier one; undefined when it was refused, because the note, or what is
 *   stored under its event's id, was tampered with: the log of the service says so, and verify finds it
 * @throws {DomainError} unavailable when others wrote to the same chain for too long
 * @throws {StoreError}
 */
export async function record(context: Recording, note: AuditNote): Promise<AuditEntry | undefined> {
  if (!isGenuineNote(context.seals, note)) return refuse(context, note);
  const { organization_id, event_id } = note;
  const known = context.auditTails.get(organization_id);
  let tail = known !== undefined && known.sequence > 0 ? known : await firstTail(context, note);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const entry = entryAfter(context, tail, note);
    try {
      await retryOnUnknownOutcome(context, () => context.master.audit.insertOne(entry));
      return recorded(context, entry);
    } catch (error) {
      if (!isStoreError(error, 'DuplicateKey')) throw error;
      if (error.index === 'event_id') {
        const earlier = await context.master.audit.findOne({ event_id });
        return earlier !== undefined && isGenuineEntry(context.seals, earlier)
          ? recorded(context, earlier)
          : refuse(context, note);
      }
    }
    await context.wait(Math.random() * Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt));
    const newest = context.auditTails.get(organization_id);
    // Another request of this instance may have written the entry that was in the way.
    tail = newest !== undefined && newest.sequence > tail.sequence ? newest : await readTail(context, organization_id);
  }
  throw new DomainError('unavailable', 'Too much happens in this organization at once. Try again.');
}

/** The end of a chain that this instance has not seen. A creation is the first entry: it is tried as such. */
async function firstTail(context: Recording, { organization_id, event_id }: AuditNote): Promise<AuditTail> {
  if (event_id === organization_id) return { sequence: 0, seal: '', checkpointDue: null };
  const tail = await readTail(context, organization_id);
  if (tail.sequence > 0) return tail;
  // Where the creation waits still, it is recorded before anything else.
  const organization = await context.master.organizations.findOne({ _id: organization_id });
  if (organization?.operation?.kind === 'create') await record(context, organization.operation.audit);
  return context.auditTails.get(organization_id) ?? tail;
}

function entryAfter(
  { seals }: Recording,
  tail: AuditTail,
  { key: _key, seal: _seal, ...event }: AuditNote,
): AuditEntry {
  const sequence = tail.sequence + 1;
  return sealEntry(seals, { ...event, _id: entryId(event.organization_id, sequence), sequence, previous: tail.seal });
}

/** Announces the entry outside the database, in the log of the service, and has the checkpoint brought up to it. */
function recorded(context: Recording, entry: AuditEntry): AuditEntry {
  const { organization_id, sequence, action, outcome, request_id, seal } = entry;
  context.log('info', 'audit.recorded', { organization_id, sequence, action, outcome, request_id, seal });
  const tail = rememberTail(context, organization_id, { sequence, seal });
  if (tail.checkpointDue === null || tail.checkpointDue <= context.clock()) {
    context.auditTails.set(organization_id, { ...tail, checkpointDue: dueSoon(context) });
    void context.runInBackground((background) => makeCheckpointDue(background, organization_id));
  }
  return entry;
}

function refuse({ log }: Recording, note: AuditNote): undefined {
  log('error', 'audit.note_refused', { organization_id: note?.organization_id, event_id: note?.event_id });
}
