/**
 * Work whose amount a stranger decides is done in batches: the embedded store serves nobody else during a command, and a
 * server ends one that takes too long.
 */
import type { Filter, Projection } from '../store/port.ts';
import { BATCH_LIMIT } from '../store/port.ts';
import type { Collection } from '../store/store.ts';
import type { Needs } from './context.ts';

/** Batches that one piece of due work takes at most: the rest comes in a later round. */
const MAX_BATCHES = 20;

/** `full`: it ended at a bound, and there may be more. */
export type Outcome = 'full' | 'done';

/** Does a batch after the other while each was full. */
export async function inBatches({ wait }: Needs<'wait'>, batch: () => Promise<Outcome>): Promise<Outcome> {
  for (let batches = 0; batches < MAX_BATCHES; batches++) {
    if ((await batch()) === 'done') return 'done';
    await wait(1);
  }
  return 'full';
}

/**
 * Removes the documents that a filter finds, and still finds when they are removed.
 * @param order the field of the index that serves the filter
 */
export const removeInBatches = <T extends { readonly _id: string }>(
  context: Needs<'wait'>,
  collection: Collection<T>,
  filter: Filter,
  order: Projection,
): Promise<Outcome> =>
  inBatches(context, async () => {
    const found = await collection.find(filter, { sort: order, limit: BATCH_LIMIT, projection: order });
    const ids = found.map(({ _id }) => _id);
    if (ids.length > 0) await collection.deleteMany({ ...filter, _id: { $in: ids } });
    return ids.length < BATCH_LIMIT ? 'done' : 'full';
  });
