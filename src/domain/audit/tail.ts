/** The end of an organization's chain, as this instance knows it. */
import type { Needs } from '../context.ts';
import type { AuditEntry, AuditTail } from './schema.ts';
import { entriesBetween, MAX_SEQUENCE, sequenceOf } from './schema.ts';

/** Organizations whose tail is remembered. */
const TAILS = 10_000;

export async function lastEntry({ master }: Needs<'master'>, organizationId: string): Promise<AuditEntry | undefined> {
  const entries = entriesBetween(organizationId, 1, MAX_SEQUENCE);
  return master.audit.findOne(entries, { sort: { _id: -1 } });
}

/**
 * The last entry, as it is: whether it is genuine is for verify to find. Its place is what its `_id` says, so that one
 * that was altered does not stop the log.
 */
export async function readTail(context: Needs<'master' | 'auditTails'>, organizationId: string): Promise<AuditTail> {
  const last = await lastEntry(context, organizationId);
  const end =
    last === undefined ? { sequence: 0, seal: '' } : { sequence: sequenceOf(last._id), seal: String(last.seal) };
  return rememberTail(context, organizationId, end);
}

/** Remembers the end of a chain, unless one further on is known. The organization looked at longest ago is forgotten. */
export function rememberTail(
  { auditTails }: Needs<'auditTails'>,
  organizationId: string,
  end: Pick<AuditTail, 'sequence' | 'seal'>,
): AuditTail {
  const known = auditTails.get(organizationId);
  const tail =
    known !== undefined && known.sequence > end.sequence
      ? known
      : { ...end, checkpointDue: known?.checkpointDue ?? null };
  auditTails.delete(organizationId);
  auditTails.set(organizationId, tail);
  const [oldest] = auditTails.keys();
  if (auditTails.size > TAILS && oldest !== undefined) auditTails.delete(oldest);
  return tail;
}
