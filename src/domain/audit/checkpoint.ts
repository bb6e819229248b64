/**
 * Checkpoints: how far each chain goes, at least. One is made due when something was recorded, and brought up to the
 * chain's end by the reconciler. It stays due until a look finds nothing new.
 */
import type { Needs } from '../context.ts';
import type { Outcome } from '../in-batches.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { AuditFault } from './chain.ts';
import { lastEntry, PAGE, readChain } from './chain.ts';
import type { AuditCheckpoint } from './schema.ts';
import { sequenceOf } from './schema.ts';
import { isGenuineCheckpoint, sealCheckpoint } from './sealing.ts';

const DUE_MS = 60_000;

export const dueSoon = ({ clock }: Needs<'clock'>): Date => new Date(clock().getTime() + DUE_MS);

/** The checkpoint of an organization without entries: it is stored before the organization is active. */
export const firstCheckpoint = (context: Needs<'seals' | 'clock'>, organizationId: string): AuditCheckpoint =>
  sealCheckpoint(context.seals, {
    _id: organizationId,
    sequence: 0,
    entry: '',
    removed_to: 0,
    removed_entry: '',
    removed_until: null,
    due_at: dueSoon(context),
    oldest_at: null,
  });

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

/**
 * Brings a checkpoint that is due up to the chain's end, a page of entries at a time: only forward, never one that was
 * tampered with, and only over entries that follow from the one it names. So no end that was cut off is covered by what
 * is recorded later.
 * @returns `full` where the chain may go on
 */
export async function writeDueCheckpoint(
  context: Needs<'master' | 'clock' | 'seals' | 'wait' | 'log'>,
  checkpoint: AuditCheckpoint,
): Promise<Outcome | undefined> {
  const { checkpoints } = context.master;
  const { key: _key, seal, ...content } = checkpoint;
  const { _id, sequence, entry, due_at } = content;
  if (!isGenuineCheckpoint(context.seals, checkpoint)) return refuseCheckpoint(context, { _id }, 'due_at');
  const { entries, fault } = await readChain(context, _id, { sequence, seal: entry });
  const last = entries.at(-1);
  if (last !== undefined) {
    const outcome = entries.length === PAGE ? 'full' : 'done';
    const next = sealCheckpoint(context.seals, {
      ...content,
      sequence: last.sequence,
      entry: last.seal,
      due_at: outcome === 'full' ? context.clock() : dueSoon(context),
      // Before any time: what the oldest entry is now is looked at.
      oldest_at: checkpoint.oldest_at ?? new Date(0),
    });
    const { matched } = await retryOnUnknownOutcome(context, () => checkpoints.replaceOne({ _id, seal }, next));
    if (matched === 1) {
      context.log('info', 'audit.checkpoint', { organization_id: _id, sequence: next.sequence, seal: next.entry });
    }
    return outcome;
  }
  if (fault !== undefined) return refuseCheckpoint(context, { _id, seal }, 'due_at', fault);
  await checkpoints.updateOne({ _id, seal, due_at }, { $set: { due_at: null } });
  // An entry that came since found the checkpoint due still.
  const now = await lastEntry(context, _id);
  if (now !== undefined && sequenceOf(now._id) > sequence) await makeCheckpointDue(context, _id);
  return undefined;
}

/**
 * Leaves a checkpoint as it is, for verify to find what is wrong, and says so in the log of the service.
 * @param asRead nothing is wrong where it is not like that any more: another instance was faster
 */
export async function refuseCheckpoint(
  { master, log }: Needs<'master' | 'log'>,
  asRead: { readonly _id: string; readonly seal?: string },
  due: 'due_at' | 'oldest_at',
  fault: AuditFault = 'checkpoint_lost',
): Promise<undefined> {
  const { matched } = await master.checkpoints.updateOne(asRead, { $set: { [due]: null } });
  if (matched === 1) log('error', 'audit.checkpoint_refused', { organization_id: asRead._id, fault });
  return undefined;
}
