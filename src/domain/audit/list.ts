import type { Condition, Filter } from '../../store/port.ts';
import type { Context } from '../context.ts';
import type { Page } from '../page.ts';
import type { Principal } from '../session/authenticate.ts';
import { revealAddress } from './address.ts';
import type { AuditEntry } from './chain.ts';
import { entriesBetween } from './chain.ts';
import type { AuditAction } from './event.ts';
import { lastEntry } from './record.ts';
import { recordFailuresOf } from './sign-in-failures.ts';

/** Entries that one look goes through, and looks that one page takes at most. */
const WINDOW = 1000;
const WINDOWS = 5;

/** An entry as the organization's admins see it. */
export type AuditView = Omit<AuditEntry, '_id' | 'organization_id' | 'event_id' | 'previous' | 'key'>;

export type ListAuditInput = {
  /** From this time on, and up to and with that one. */
  from?: Date | undefined;
  to?: Date | undefined;
  action?: AuditAction | undefined;
  /** The sequence before which the page begins. */
  cursor?: number | undefined;
  limit: number;
};

/**
 * The log of the principal's organization, the newest entry first. A page goes through a bounded part of the log: with
 * a filter that fits few entries it may hold fewer than asked for, and still have a next one.
 */
export async function listAudit(
  context: Context,
  { organization }: Principal,
  input: ListAuditInput,
): Promise<Page<AuditView>> {
  const { audit, audit_heads } = context.master;
  await recordFailuresOf(context, organization._id);
  const head = await audit_heads.findOne({ _id: organization._id });
  let before = input.cursor ?? ((await lastEntry(context, organization._id))?.sequence ?? 0) + 1;
  const filter = filterOf(input);
  const found: AuditEntry[] = [];
  for (let windows = 0; windows < WINDOWS && before > 1 && found.length < input.limit; windows++) {
    const from = Math.max(1, before - WINDOW);
    const limit = input.limit - found.length;
    const page = await audit.find(
      { ...filter, ...entriesBetween(organization._id, from, before) },
      { sort: { _id: -1 }, limit },
    );
    found.push(...page);
    before = page.length === limit ? (page.at(-1)?.sequence ?? from) : from;
  }
  const items = await Promise.all(found.map((entry) => viewOf(entry, head?.address_key ?? null)));
  return { items, next_cursor: before > 1 ? String(before) : null };
}

function filterOf({ from, to, action }: ListAuditInput): Filter {
  const at: Condition = { ...(from && { $gte: from }), ...(to && { $lte: to }) };
  return { ...(Object.keys(at).length > 0 && { at }), ...(action && { action }) };
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
