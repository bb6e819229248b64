import type { Value } from './port.ts';

/** BSON's order of types, for those that the port stores (MongoDB manual, "Comparison/Sort Order"). */
export const RANK = { null: 1, number: 2, string: 3, object: 4, array: 5, boolean: 7, date: 8 } as const;

export function rankOf(value: Value | undefined): number {
  if (value === null || value === undefined) return RANK.null;
  if (value instanceof Date) return RANK.date;
  if (Array.isArray(value)) return RANK.array;
  return RANK[typeof value as 'number' | 'string' | 'object' | 'boolean'];
}

/** Compares by code point, as MongoDB and SQLite do, which is the order of UTF-8; `<` goes by UTF-16 unit. */
export const compareStrings = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** BSON's order of scalars. Lists and objects are equal among themselves: the port does not sort by them. */
export function compareValues(a: Value | undefined, b: Value | undefined): number {
  const rank = rankOf(a);
  if (rank !== rankOf(b)) return rank - rankOf(b);
  if (rank === RANK.string) return compareStrings(a as string, b as string);
  const isNumeric = rank === RANK.number || rank === RANK.boolean || rank === RANK.date;
  return isNumeric ? Number(a) - Number(b) : 0;
}
