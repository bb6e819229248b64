import type { Document, Filter } from '../store/port.ts';
import type { Collection } from '../store/store.ts';

/** One page of a list. */
export type Page<T> = {
  items: T[];
  /** The cursor of the next page; null when there is none. */
  next_cursor: string | null;
};

export type PageInput = { readonly cursor?: string | undefined; readonly limit: number };

/**
 * A page of the documents that match, in the order of ids, each as `view` shows it. A cursor is the last id of the page
 * before.
 */
export async function findPage<T extends Document, V>(
  collection: Collection<T>,
  filter: Filter,
  { cursor, limit }: PageInput,
  view: (document: T) => V,
): Promise<Page<V>> {
  const after = cursor === undefined ? filter : { $and: [filter, { _id: { $gt: cursor } }] };
  const found = await collection.find(after, { sort: { _id: 1 }, limit: limit + 1 });
  const items = found.slice(0, limit);
  return { items: items.map(view), next_cursor: found.length > limit ? (items.at(-1)?._id ?? null) : null };
}
