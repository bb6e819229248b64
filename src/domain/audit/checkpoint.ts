/**
 * Checkpoints: how far each chain goes, at least. One is made due when something was recorded, and brought up to the
 * chain's end by the reconciler. It stays due until a look finds nothing new.
 */
import type { Needs } from '../context.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { AuditCheckpoint, AuditEntry } from './schema.ts';
import { entriesBetween, MAX_SEQUENCE } from './schema.ts';
import { isGenuineCheckpoint, isGenuineEntry, sealCheckpoint } from './sealing.ts';

const DUE_MS = 60_000;

export const dueSoon = ({ clock }: Needs<'clock'>): Date => new Date(clock().getTime() + DUE_MS);

/** The last entry of a chain, as it is stored. */
export const lastEntry = ({ master }: Needs<'master'>, organizationId: string): Promise<AuditEntry | undefined> =>
  master.audit.findOne(entriesBetween(organizationId, 1, MAX_SEQUENCE), { sort: { _id: -1 } });

/** The checkpoint of an organization without entries: it is stored before the organization is active. */
export const firstCheckpoint = (context: Needs<'seals' | 'clock'>, organizationId: string): AuditCheckpoint =>
  sealCheckpoint(context.seals, { _id: organizationId, sequence: 0, entry: '', due_at: dueSoon(context) });

/**
 * Makes an organization's checkpoint due, unless it is. Whatever else stands there is replaced: a time far ahead would
 * keep the checkpoint from being written.
 */
export async function makeCheckpointDue(context: Needs<'master' | 'clock'>, organizationId: string): Promise<void> {
  const { checkpoints } = context.master;
  const due_at = dueSoon(context);
  const isDue = (await checkpoints.count({ _id: organizationId, due_at: { $lte: due_at } }, { limit: 1 })) > 0;
  if (!isDue) await checkpoints.updateOne({ _id: organizationId }, { $set: { due_at } });
}

/** Brings a checkpoint that is due up to the chain's end: only forward, and never one that was tampered with. */
export async function writeDueCheckpoint(
  context: Needs<'master' | 'clock' | 'seals' | 'wait' | 'log'>,
  checkpoint: AuditCheckpoint,
): Promise<void> {
  const { checkpoints } = context.master;
  const { _id, sequence, seal, due_at } = checkpoint;
  if (!isGenuineCheckpoint(context.seals, checkpoint)) {
    context.log('error', 'audit.checkpoint_refused', { organization_id: _id });
    await checkpoints.updateOne({ _id }, { $set: { due_at: null } });
    return;
  }
  const last = await lastEntry(context, _id);
  if (last !== undefined && last.sequence > sequence && isGenuineEntry(context.seals, last)) {
    const content = { _id, sequence: last.sequence, entry: last.seal, due_at: dueSoon(context) };
    const next = sealCheckpoint(context.seals, content);
    const { matched } = await retryOnUnknownOutcome(context, () => checkpoints.replaceOne({ _id, seal }, next));
    if (matched === 1) {
      context.log('info', 'audit.checkpoint', { organization_id: _id, sequence: next.sequence, seal: next.entry });
    }
    return;
  }
  await checkpoints.updateOne({ _id, seal, due_at }, { $set: { due_at: null } });
  // An entry that came since found the checkpoint due still.
  const now = await lastEntry(context, _id);
  if (now !== undefined && now._id !== last?._id) await makeCheckpointDue(context, _id);
}
