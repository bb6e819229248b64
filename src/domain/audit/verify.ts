import type { Needs } from '../context.ts';
import { invalid } from '../errors.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { Principal } from '../session/schema.ts';
import type { AuditCheckpoint, AuditEntry, Seals } from './schema.ts';
import { entriesBetween, entryId, MAX_SEQUENCE } from './schema.ts';
import { isGenuineCheckpoint, isGenuineEntry } from './sealing.ts';
import type { ChainReader } from './verify-pending.ts';
import { areAllRecorded, pendingOfAdmins, pendingOfOrganization } from './verify-pending.ts';

/** Entries that one call checks. */
const PAGE = 500;

/** What can be wrong with a log. */
export const AUDIT_FAULTS = [
  /** There is no entry of this sequence, though there are later ones, or there has to be one. */
  'missing',
  /** The entry is not as it was made, or was not made by the service. */
  'altered',
  /** The entry was made by the service, for another place. */
  'moved',
  /** The entry does not follow from the one before. */
  'unlinked',
  /** The first entry is not the organization's creation. */
  'second_beginning',
  /** The checkpoint names an entry of this sequence or a later one, and that is not there. */
  'truncated',
  /** The checkpoint was removed or altered. */
  'checkpoint_lost',
  /** What waited to be recorded after these entries was added, altered or removed. */
  'pending_altered',
] as const;

export type AuditFault = (typeof AUDIT_FAULTS)[number];

export type ChainCheck = {
  /** Whether nothing is wrong with what was checked. */
  valid: boolean;
  /** The sequences found in order: from the one after the cursor's, to and with `to`. */
  from: number;
  to: number;
  /** Where the log breaks first: at the sequence after `to`. */
  broken: { sequence: number; fault: AuditFault } | null;
  /** The last entry, to be compared with what was noted elsewhere; null where the chain goes on, or is broken. */
  head: { sequence: number; seal: string } | null;
  /** What to go on with; null when the whole chain was checked, or is broken. */
  next_cursor: string | null;
};

/**
 * Checks the log of the principal's organization, a part at a time, and at its end what waits to be recorded.
 * @param input.cursor the sequence after which to go on; 0 and left out: from the beginning
 * @throws {DomainError} invalid_input for a cursor beyond the log
 */
export const verifyAudit = (
  context: Needs<'master' | 'seals'>,
  { principal, cursor = 0 }: { principal: Pick<Principal, 'organization'>; cursor?: number | undefined },
): Promise<ChainCheck> => checkChain(context, principal.organization._id, cursor);

/**
 * Checks an organization's log, a part at a time, whatever the organization's status. A fault is reported when a second
 * look finds one too: no read of a page need be of one moment.
 */
export async function checkChain(reader: ChainReader, id: string, cursor: number): Promise<ChainCheck> {
  const found = await look(reader, id, cursor);
  return found.broken === null ? found : look(reader, id, cursor);
}

async function look(reader: ChainReader, id: string, cursor: number): Promise<ChainCheck> {
  const { master, seals } = reader;
  // Before the entries: the chain goes at least so far, whatever is written meanwhile.
  const checkpoint = await master.checkpoints.findOne({ _id: id });
  // With the cursor's own entry, which the next one follows.
  const begin = Math.max(cursor, 1);
  const entries = await master.audit.find(entriesBetween(id, begin, MAX_SEQUENCE), {
    sort: { _id: 1 },
    limit: cursor + PAGE + 1 - begin,
  });
  const named = checkpoint !== undefined && isGenuineCheckpoint(seals, checkpoint) ? checkpoint : undefined;
  let to = begin - 1;
  let previous: AuditEntry | undefined;
  const check = (found: Partial<ChainCheck>): ChainCheck => ({
    ...{ valid: true, from: cursor + 1, to, broken: null, head: null, next_cursor: null },
    ...found,
  });
  const broken = (fault: AuditFault) => check({ valid: false, broken: { sequence: to + 1, fault } });
  for (const entry of entries) {
    const isCursor = to + 1 === cursor;
    const fault = faultOf(seals, entry, id, to + 1, isCursor ? undefined : (previous?.seal ?? ''), named);
    if (fault !== undefined) return broken(fault);
    previous = entry;
    to++;
  }
  if (to === cursor + PAGE) return check({ next_cursor: String(to) });
  if (named !== undefined && named.sequence < cursor && to < cursor) {
    // Nothing says that the chain went so far. Its end may have been cut off before the checkpoint, too.
    const end = await look(reader, id, named.sequence);
    if (end.broken === null) throw invalid('cursor', 'The log does not go so far.');
    return end;
  }
  if (to < Math.max(cursor, named?.sequence ?? 0)) return broken('truncated');
  const fault = await faultOfRest(reader, id, to, named);
  if (fault !== undefined) return broken(fault);
  return check({ head: previous === undefined ? null : { sequence: to, seal: previous.seal } });
}

/** @param previous the seal that the entry has to follow; undefined: any */
function faultOf(
  seals: Seals,
  entry: AuditEntry,
  id: string,
  sequence: number,
  previous: string | undefined,
  checkpoint: AuditCheckpoint | undefined,
): AuditFault | undefined {
  const place = entryId(id, sequence);
  if (entry._id !== place) return entry._id > place && isPlace(entry._id) ? 'missing' : 'altered';
  if (!isGenuineEntry(seals, entry)) {
    const home = { ...entry, _id: entryId(entry.organization_id, entry.sequence) };
    return isGenuineEntry(seals, home) ? 'moved' : 'altered';
  }
  if (previous !== undefined && entry.previous !== previous) return 'unlinked';
  if (sequence === 1 && !isCreation(entry)) return 'second_beginning';
  return checkpoint?.sequence === sequence && checkpoint.entry !== entry.seal ? 'truncated' : undefined;
}

/** Whether it is an id that an entry can have; what has another one was put in by hand. */
const isPlace = (id: string): boolean => /:\d{12}$/.test(id);

const isCreation = ({ action, event_id, organization_id }: AuditEntry): boolean =>
  action === 'organization.created' && event_id === organization_id;

/** What is wrong beside the entries, of which there are so many. */
async function faultOfRest(
  reader: ChainReader,
  id: string,
  entries: number,
  checkpoint: AuditCheckpoint | undefined,
): Promise<AuditFault | undefined> {
  // In this order: an event that an admin was changed by waits on the organization then, or was recorded before, and
  // an event that waits no more is in the log.
  const admins = await pendingOfAdmins(reader, id);
  const organization = await reader.master.organizations.findOne({ _id: id });
  if (organization === undefined || (entries === 0 && !wasCreated(organization))) return undefined;
  if (checkpoint === undefined) return 'checkpoint_lost';
  if (entries === 0 && organization.operation?.kind !== 'create') return 'missing';
  const own = pendingOfOrganization(reader, organization);
  if (own === undefined || admins === undefined) return 'pending_altered';
  return (await areAllRecorded(reader, id, own, admins)) ? undefined : 'pending_altered';
}

/** False for one whose creation is under way, or was rolled back. */
const wasCreated = ({ _id, status, changed_by }: OrganizationDocument): boolean =>
  status === 'active' || status === 'deleted' || (changed_by !== _id && changed_by !== '');
