import type { Value } from './port.ts';

/** BSON's order of types, for those that the port stores (MongoDB manual, "Comparison/Sort Order"). */
export const RANK = { null: 1, number: 2, string: 3, object: 4, array: 5, boolean: 7, date: 8 } as const;

export function rankOf(value: Value | undefined): number {
  if (value === null || value === undefined) return RANK.null;
  if (value instanceof Date) return RANK.date;
  if (Array.isArray(value)) return RANK.array;
  return RANK[typeof value as 'number' | 'string' | 'object' | 'boolean'];
}

/** Compares by code point, as MongoDB and SQLite do; JavaScript's own `<` goes by UTF-16 unit. */
export function compareStrings(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // A surrogate stands for a code point above all others that a single unit can be.
    const xHigh = x >= 0xd800 && x <= 0xdfff;
    const yHigh = y >= 0xd800 && y <= 0xdfff;
    return xHigh === yHigh ? x - y : xHigh ? 1 : -1;
  }
  return a.length - b.length;
}

/** BSON's order of scalars. Lists and objects are equal among themselves: the port does not sort by them. */
export function compareValues(a: Value | undefined, b: Value | undefined): number {
  const rank = rankOf(a);
  if (rank !== rankOf(b)) return rank - rankOf(b);
  if (rank === RANK.string) return compareStrings(a as string, b as string);
  const isNumeric = rank === RANK.number || rank === RANK.boolean || rank === RANK.date;
  return isNumeric ? Number(a) - Number(b) : 0;
}
