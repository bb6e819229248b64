import type { Needs } from '../context.ts';
import { invalid } from '../errors.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { Principal } from '../session/schema.ts';
import type { AuditFault } from './chain.ts';
import { chainOf, genuineCheckpoint, PAGE } from './chain.ts';
import type { AuditCheckpoint } from './schema.ts';
import { entriesBetween, MAX_SEQUENCE, removedOf } from './schema.ts';
import type { ChainReader } from './verify-pending.ts';
import { areAllRecorded, pendingOfAdmins, pendingOfOrganization } from './verify-pending.ts';

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
 * look finds one too, from the same entry on: no read of a page need be of one moment, and old entries may be removed
 * meanwhile.
 */
export async function checkChain(reader: ChainReader, id: string, cursor: number): Promise<ChainCheck> {
  for (let found = await look(reader, id, cursor); ; ) {
    if (found.broken === null) return found;
    const { from } = found;
    found = await look(reader, id, cursor);
    if (found.from === from) return found;
  }
}

async function look(reader: ChainReader, id: string, cursor: number): Promise<ChainCheck> {
  const { master, seals } = reader;
  // Before the entries: the chain goes at least so far, whatever is written meanwhile.
  const named = await genuineCheckpoint(reader, id);
  const { removed_to, removed_entry } = removedOf(named);
  const start = Math.max(cursor, removed_to);
  // With the cursor's own entry, which the next one follows; the checkpoint says what the first one follows.
  const after =
    start > removed_to ? { sequence: start - 1, seal: undefined } : { sequence: removed_to, seal: removed_entry };
  const page = await master.audit.find(entriesBetween(id, after.sequence + 1, MAX_SEQUENCE), {
    sort: { _id: 1 },
    limit: start + PAGE - after.sequence,
  });
  const { entries, fault } = chainOf(seals, id, page, after, named);
  const to = after.sequence + entries.length;
  const check = (found: Partial<ChainCheck>): ChainCheck => ({
    ...{ valid: true, from: start + 1, to, broken: null, head: null, next_cursor: null },
    ...found,
  });
  const broken = (how: AuditFault) => check({ valid: false, broken: { sequence: to + 1, fault: how } });
  if (fault !== undefined) return broken(fault);
  if (to === start + PAGE) return check({ next_cursor: String(to) });
  if (named !== undefined && named.sequence < cursor && to < cursor) {
    // Nothing says that the chain went so far. Its end may have been cut off before the checkpoint, too.
    const end = await look(reader, id, named.sequence);
    if (end.broken === null) throw invalid('cursor', 'The log does not go so far.');
    return end;
  }
  if (to < Math.max(cursor, named?.sequence ?? 0)) return broken('truncated');
  const other = await faultOfRest(reader, id, to, named);
  if (other !== undefined) return broken(other);
  const last = entries.at(-1);
  return check({ head: last === undefined ? null : { sequence: to, seal: last.seal } });
}

/** What is wrong beside the entries, which go so far. */
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
  // The log of an organization that was erased long ago is removed, and its checkpoint too.
  const isGone = entries === 0 && organization.status === 'erased';
  if (checkpoint === undefined) return isGone ? undefined : 'checkpoint_lost';
  if (entries === 0 && organization.operation?.kind !== 'create') return 'missing';
  const own = pendingOfOrganization(reader, organization);
  if (own === undefined || admins === undefined) return 'pending_altered';
  const areRecorded = await areAllRecorded(reader, id, [own, ...admins], removedOf(checkpoint).removed_until);
  return areRecorded ? undefined : 'pending_altered';
}

/** False for one whose creation is under way, or was rolled back. */
const wasCreated = ({ _id, status, changed_by }: OrganizationDocument): boolean =>
  status === 'active' || status === 'deleted' || (changed_by !== _id && changed_by !== '');
