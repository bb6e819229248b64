/** Reading a chain: which entries follow one another as they were made. */
import type { Needs } from '../context.ts';
import type { AuditCheckpoint, AuditEntry, Seals } from './schema.ts';
import { entriesBetween, entryId, MAX_SEQUENCE } from './schema.ts';
import { isGenuineCheckpoint, isGenuineEntry } from './sealing.ts';

/** Entries that are read at once. */
export const PAGE = 500;

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

/** A place in a chain: the next entry comes after it. */
export type ChainEnd = Pick<AuditEntry, 'sequence' | 'seal'>;

/** Entries in order; and what is wrong with the next one, if anything is. */
type ChainPart = { readonly entries: readonly AuditEntry[]; readonly fault: AuditFault | undefined };

/** The last entry of a chain, as it is stored. */
export const lastEntry = ({ master }: Needs<'master'>, organizationId: string): Promise<AuditEntry | undefined> =>
  master.audit.findOne(entriesBetween(organizationId, 1, MAX_SEQUENCE), { sort: { _id: -1 } });

/** An organization's checkpoint; undefined where it is not as it was made. */
export async function genuineCheckpoint({ master, seals }: Needs<'master' | 'seals'>, organizationId: string) {
  const found = await master.checkpoints.findOne({ _id: organizationId });
  return found !== undefined && isGenuineCheckpoint(seals, found) ? found : undefined;
}

/**
 * Reads the entries after a place, a page at most, up to the first that does not follow from the one before. A fault
 * is reported when a second look finds one too: no read of a page need be of one moment.
 */
export async function readChain(
  { master, seals }: Needs<'master' | 'seals'>,
  organizationId: string,
  after: ChainEnd,
): Promise<ChainPart> {
  const look = async () => {
    const stored = entriesBetween(organizationId, after.sequence + 1, MAX_SEQUENCE);
    const page = await master.audit.find(stored, { sort: { _id: 1 }, limit: PAGE });
    return chainOf(seals, organizationId, page, after);
  };
  const found = await look();
  return found.fault === undefined ? found : look();
}

/**
 * The part of a page that is in order.
 * @param after.seal what the first entry has to follow; undefined: any
 */
export function chainOf(
  seals: Seals,
  organizationId: string,
  page: readonly AuditEntry[],
  after: { readonly sequence: number; readonly seal: string | undefined },
  checkpoint?: AuditCheckpoint,
): ChainPart {
  let { sequence, seal } = after;
  for (const [index, entry] of page.entries()) {
    const fault = faultOf(seals, entry, organizationId, ++sequence, seal, checkpoint);
    if (fault !== undefined) return { entries: page.slice(0, index), fault };
    seal = entry.seal;
  }
  return { entries: page, fault: undefined };
}

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
