import type { Context, Master } from '../context.ts';
import type { Principal } from '../session/authenticate.ts';
import type { AuditEntry, AuditHead, Seals } from './chain.ts';
import { entriesBetween, entryId, isGenuineEntry, isGenuineHead } from './chain.ts';

/** Entries that one call checks. */
const PAGE = 500;

/** What is wrong with a chain. */
export type ChainFault =
  /** There is no entry of this sequence, though there are later ones. */
  | 'missing'
  /** The entry is not as it was made, or was not made by the service. */
  | 'altered'
  /** The entry was made by the service, for another place. */
  | 'moved'
  /** The entry does not follow from the one before. */
  | 'unlinked'
  /** The chain ends before this sequence, and went further. */
  | 'truncated'
  /** The head of the chain was removed, altered or put back, as found by whoever wrote this entry, or just now. */
  | 'head_lost';

export type ChainCheck = {
  /** Whether nothing is wrong with what was checked. */
  whole: boolean;
  /** The sequences found in order: from the one after the cursor's, to and with `to`. */
  from: number;
  to: number;
  /** Where the chain breaks first. */
  broken: { sequence: number; fault: ChainFault } | null;
  /** The last entry, to be compared with what was noted elsewhere; null where the chain goes on. */
  head: { sequence: number; seal: string } | null;
  /** What to go on with; null when the whole chain was checked, or is broken. */
  next_cursor: string | null;
};

/**
 * Checks the chain of the principal's organization, a part at a time.
 * @param input.cursor the sequence after which to go on; 0 and left out: from the beginning
 */
export const verifyAudit = (
  context: Context,
  { organization }: Principal,
  { cursor = 0 }: { cursor?: number | undefined },
): Promise<ChainCheck> => checkChain(context, organization._id, cursor);

/** What it takes to check a chain. */
export type ChainReader = {
  readonly master: Pick<Master, 'audit' | 'audit_heads' | 'organizations'>;
  readonly seals: Seals;
};

/** Checks an organization's chain, a part at a time, whether the organization is still there or not. */
export async function checkChain(context: ChainReader, id: string, cursor: number): Promise<ChainCheck> {
  const { master, seals } = context;
  // The head first: the chain goes at least so far, whatever is written meanwhile.
  const head = await master.audit_heads.findOne({ _id: id });
  const entries = await master.audit.find(entriesBetween(id, cursor, cursor + PAGE + 1), {
    sort: { _id: 1 },
    limit: PAGE + 1,
  });
  const first = cursor + 1;
  let previous: AuditEntry | undefined;
  let expected = cursor;
  const broken = (fault: ChainFault): ChainCheck => ({
    whole: false,
    from: first,
    to: expected - 1,
    broken: { sequence: expected, fault },
    head: null,
    next_cursor: null,
  });
  // The entry of the cursor itself is there to be followed.
  if (cursor === 0) expected = 1;
  for (const entry of entries) {
    if (entry._id !== entryId(id, expected))
      return broken(entry._id > entryId(id, expected) && isPlace(entry._id) ? 'missing' : 'altered');
    const fault = faultOf(context, entry, previous, head, expected, expected === cursor);
    if (fault !== undefined) return broken(fault);
    previous = entry;
    expected++;
  }
  const to = expected - 1;
  // The cursor is of an entry that was there.
  if (previous === undefined && cursor > 0) return broken('truncated');
  if (entries.length > 0 && to === cursor + PAGE) {
    return { whole: true, from: first, to, broken: null, head: null, next_cursor: String(to) };
  }
  if (head !== undefined && isGenuineHead(seals, head) && head.sequence > to) {
    return broken((await goesOn(context, id, expected)) ? 'missing' : 'truncated');
  }
  if (await isHeadLost(context, id, to)) return broken('head_lost');
  if (to === 0 && !(await isBeingCreated(context, id))) return broken('missing');
  return {
    whole: true,
    from: first,
    to,
    broken: null,
    head: previous === undefined ? null : { sequence: to, seal: previous.seal },
    next_cursor: null,
  };
}

/** Whether it is an id that an entry can have; what has another one was put in by hand. */
const isPlace = (id: string): boolean => /:\d{12}$/.test(id);

function faultOf(
  { seals }: ChainReader,
  entry: AuditEntry,
  previous: AuditEntry | undefined,
  head: AuditHead | undefined,
  expected: number,
  isCursor: boolean,
): ChainFault | undefined {
  if (entry.sequence !== expected) {
    const home = { ...entry, _id: entryId(entry.organization_id, entry.sequence) };
    return isGenuineEntry(seals, home) ? 'moved' : 'altered';
  }
  if (!isGenuineEntry(seals, entry)) return 'altered';
  if (!isCursor && entry.previous !== (previous?.seal ?? '')) return 'unlinked';
  if (head?.sequence === expected && isGenuineHead(seals, head) && head.entry !== entry.seal) return 'unlinked';
  return entry.action === 'audit.head_lost' ? 'head_lost' : undefined;
}

async function goesOn({ master }: ChainReader, organizationId: string, from: number): Promise<boolean> {
  const later = await master.audit.count(
    { _id: { $gt: entryId(organizationId, from), $lt: `${organizationId};` } },
    { limit: 1 },
  );
  return later > 0;
}

/** Whether the head is not where the service keeps it, by now: at the last entry, or the one before. */
async function isHeadLost({ master, seals }: ChainReader, organizationId: string, to: number): Promise<boolean> {
  const head = await master.audit_heads.findOne({ _id: organizationId });
  if (head === undefined) return to > 0;
  return !isGenuineHead(seals, head) || head.sequence < to - 1;
}

/** Whether its creation, which is recorded before all else, may not have been recorded yet. */
async function isBeingCreated({ master }: ChainReader, organizationId: string): Promise<boolean> {
  const organization = await master.organizations.findOne({ _id: organizationId });
  return organization?.operation?.kind === 'create';
}
