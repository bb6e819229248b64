/**
 * Old entries are removed from the beginning of a log: a page at a time, never the last entry that the checkpoint
 * knows, and only after the checkpoint says so. So the log that is left begins where its checkpoint says, and nobody
 * else can remove its beginning unnoticed. An entry that is not as it was made stays, with all that follow.
 */
import type { Needs } from '../context.ts';
import type { Outcome } from '../in-batches.ts';
import { inBatches } from '../in-batches.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { PAGE, readChain } from './chain.ts';
import { refuseCheckpoint } from './checkpoint.ts';
import type { AuditCheckpoint } from './schema.ts';
import { entriesBetween, removedOf } from './schema.ts';
import { isGenuineCheckpoint, sealCheckpoint } from './sealing.ts';

type Removing = Needs<'master' | 'clock' | 'seals' | 'wait' | 'log' | 'settings'>;

/** Removes what is old in the log of a checkpoint that is due for it. A crash in between leaves it due. */
export function removeExpiredEntries(context: Removing, checkpoint: AuditCheckpoint): Promise<Outcome> {
  let due: AuditCheckpoint | undefined = checkpoint;
  return inBatches(context, async () => {
    due = due && (await removePage(context, due));
    return due === undefined ? 'done' : 'full';
  });
}

/** @returns the checkpoint after it, where the whole page was old */
async function removePage(context: Removing, checkpoint: AuditCheckpoint): Promise<AuditCheckpoint | undefined> {
  const { audit, checkpoints } = context.master;
  const { key: _key, seal, ...content } = checkpoint;
  const { _id, sequence, due_at } = content;
  const { removed_to, removed_entry, removed_until } = removedOf(content);
  if (!isGenuineCheckpoint(context.seals, checkpoint)) return refuseCheckpoint(context, { _id }, 'oldest_at');
  const before = context.clock().getTime() - context.settings.auditRetentionMs;
  const { entries, fault } = await readChain(context, _id, { sequence: removed_to, seal: removed_entry });
  const kept = entries.find((entry) => entry.sequence >= sequence || entry.at.getTime() >= before);
  const old = kept === undefined ? entries : entries.slice(0, entries.indexOf(kept));
  const last = old.at(-1);
  let current = checkpoint;
  if (last !== undefined) {
    const times = old.map(({ at }) => at.getTime());
    current = sealCheckpoint(context.seals, {
      ...content,
      removed_to: last.sequence,
      removed_entry: last.seal,
      removed_until: new Date(Math.max(removed_until?.getTime() ?? 0, ...times)),
    });
    // What was recorded meanwhile made the checkpoint due: that must stay.
    const asRead = { _id, seal, due_at };
    const { matched } = await retryOnUnknownOutcome(context, () => checkpoints.replaceOne(asRead, current));
    if (matched === 0) return undefined;
    context.log('info', 'audit.removed', { organization_id: _id, sequence: last.sequence, seal: last.seal });
  }
  // With what one left that died here.
  await retryOnUnknownOutcome(context, () =>
    audit.deleteMany(entriesBetween(_id, 1, (last?.sequence ?? removed_to) + 1)),
  );
  if (old.length === PAGE) return current;
  const asLeft = { _id, seal: current.seal };
  if (fault !== undefined && kept === undefined) return refuseCheckpoint(context, asLeft, 'oldest_at', fault);
  // Nothing is to be done while the oldest entry is the last one that the checkpoint knows: the next one changes that.
  const oldest_at = kept !== undefined && kept.at.getTime() >= before ? kept.at : null;
  await checkpoints.updateOne(asLeft, { $set: { oldest_at } });
  return undefined;
}
