import type { Condition, Filter } from '../../store/port.ts';
import type { BudgetContext } from '../rate-limit/budget.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import type { Principal } from '../session/schema.ts';
import { revealAddress } from './address.ts';
import { genuineCheckpoint, lastEntry } from './chain.ts';
import type { Recording } from './record.ts';
import type { AuditAction, AuditEntry } from './schema.ts';
import { entriesBetween, removedOf, sequenceOf } from './schema.ts';
import { recordSignInFailuresOf } from './sign-in-failures.ts';

/** Entries that one page goes through at most. */
const WINDOW = 1000;

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
 * The log of the principal's organization, the newest entry first, without what is old and removed. A page goes through
 * a bounded part of the log: with a filter it may hold fewer than asked for, and still have a next one. A look with a
 * filter draws on LIMIT_INSPECT.
 * @throws {DomainError} too_many_requests, busy
 */
export async function listAudit(
  context: Recording & BudgetContext,
  { principal, from, to, action, cursor, limit }: ListAuditInput,
) {
  const { _id, address_key } = principal.organization;
  const at: Condition = { ...(from && { $gte: from }), ...(to && { $lte: to }) };
  const filter: Filter = { ...((from || to) && { at }), ...(action && { action }) };
  if (Object.keys(filter).length > 0) await limitByAddress(context, 'inspect');
  await recordSignInFailuresOf(context, _id);
  const [last, checkpoint] = await Promise.all([
    cursor === undefined ? lastEntry(context, _id) : undefined,
    genuineCheckpoint(context, _id),
  ]);
  const first = removedOf(checkpoint).removed_to + 1;
  const before = cursor ?? (last === undefined ? 1 : sequenceOf(last._id) + 1);
  const start = Math.max(first, before - WINDOW);
  const entries = { ...filter, ...entriesBetween(_id, start, before) };
  const found = await context.master.audit.find(entries, { sort: { _id: -1 }, limit });
  const oldest = found.at(-1);
  const next = found.length === limit && oldest !== undefined ? sequenceOf(oldest._id) : start;
  const items = await Promise.all(found.map((entry) => viewOf(entry, address_key)));
  return { items, next_cursor: next > first ? String(next) : null };
}

/** An entry as the organization's admins see it. */
const viewOf = async (entry: AuditEntry, addressKey: string | null) => ({
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
