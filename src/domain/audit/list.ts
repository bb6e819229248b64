import type { Condition, Filter } from '../../store/port.ts';
import type { Page } from '../page.ts';
import type { Principal } from '../session/schema.ts';
import { revealAddress } from './address.ts';
import { genuineCheckpoint, lastEntry } from './chain.ts';
import type { Recording } from './record.ts';
import type { AuditAction, AuditEntry } from './schema.ts';
import { entriesBetween, removedOf, sequenceOf } from './schema.ts';
import { recordSignInFailuresOf } from './sign-in-failures.ts';

/** Entries that one query goes through, and queries that one page takes at most. */
const WINDOW = 1000;
const WINDOWS = 5;

/** An entry as the organization's admins see it. */
export type AuditView = Omit<AuditEntry, '_id' | 'organization_id' | 'event_id' | 'previous' | 'key'>;

export type ListAuditInput = {
  principal: Pick<Principal, 'organization'>;
  /** From this time on, and up to and with that one. */
  from?: Date | undefined;
  to?: Date | undefined;
  action?: AuditAction | undefined;
  /** The sequence before which the page begins. */
  cursor?: number | undefined;
  limit: number;
};

/**
 * The log of the principal's organization, the newest entry first, without what is old and removed. A page goes through a bounded part of the log: with
 * a filter that fits few entries it may hold fewer than asked for, and still have a next one.
 */
export async function listAudit(
  context: Recording,
  { principal, from, to, action, cursor, limit }: ListAuditInput,
): Promise<Page<AuditView>> {
  const { _id, address_key } = principal.organization;
  await recordSignInFailuresOf(context, _id);
  const [last, checkpoint] = await Promise.all([
    cursor === undefined ? lastEntry(context, _id) : undefined,
    genuineCheckpoint(context, _id),
  ]);
  const first = removedOf(checkpoint).removed_to + 1;
  let before = cursor ?? (last === undefined ? 1 : sequenceOf(last._id) + 1);
  const at: Condition = { ...(from && { $gte: from }), ...(to && { $lte: to }) };
  const filter: Filter = { ...((from || to) && { at }), ...(action && { action }) };
  const found: AuditEntry[] = [];
  for (let windows = 0; windows < WINDOWS && before > first && found.length < limit; windows++) {
    const start = Math.max(first, before - WINDOW);
    const wanted = limit - found.length;
    const entries = { ...filter, ...entriesBetween(_id, start, before) };
    const page = await context.master.audit.find(entries, { sort: { _id: -1 }, limit: wanted });
    const oldest = page.at(-1);
    found.push(...page);
    before = page.length === wanted && oldest !== undefined ? sequenceOf(oldest._id) : start;
  }
  const items = await Promise.all(found.map((entry) => viewOf(entry, address_key)));
  return { items, next_cursor: before > first ? String(before) : null };
}

const viewOf = async (entry: AuditEntry, addressKey: string | null): Promise<AuditView> => ({
  sequence: entry.sequence,
  at: entry.at,
  actor: entry.actor,
  action: entry.action,
  target: entry.target,
  address: await revealAddress(addressKey, entry.address),
  request_id: entry.request_id,
  outcome: entry.outcome,
  count: entry.count,
  seal: entry.seal,
});
