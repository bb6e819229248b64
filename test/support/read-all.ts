import type { Document, Filter } from '../../src/store/port.ts';
import { BATCH_LIMIT } from '../../src/store/port.ts';
import type { Collection } from '../../src/store/store.ts';

/** Every document that matches, in order of ids, however many: one `find` gives a page of them at most. */
export async function readAll<T extends Document>(collection: Collection<T>, filter: Filter = {}): Promise<T[]> {
  const all: T[] = [];
  for (;;) {
    const after = { ...filter, _id: { $gt: all.at(-1)?._id ?? '' } };
    const page = await collection.find(after, { sort: { _id: 1 }, limit: BATCH_LIMIT });
    all.push(...page);
    if (page.length < BATCH_LIMIT) return all;
  }
}
