/** Two 32-bit halves of a digest; `digest` writes them here, so that no call allocates. */
const result = { low: 0, high: 0 };

/** Digests a text to 64 bits. The answer is overwritten by the next call. */
export function digest(text: string): { readonly low: number; readonly high: number } {
  let low = 0x9e3779b9;
  let high = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    low = Math.imul(low ^ code, 0x85ebca6b);
    low ^= low >>> 15;
    high = Math.imul(high ^ code, 0xc2b2ae35);
    high ^= high >>> 13;
  }
  low = Math.imul(low ^ (low >>> 16), 0x2c1b3c6d) ^ Math.imul(high ^ (high >>> 12), 0x297a2d39);
  high = Math.imul(high ^ (high >>> 15), 0x735a2d97) ^ Math.imul(low ^ (low >>> 13), 0x1b873593);
  result.low = (low ^ (low >>> 16)) | 0;
  result.high = (high ^ (high >>> 14)) | 0;
  return result;
}

type Entry<Row> = { readonly key: string; readonly row: Row; readonly low: number; readonly high: number };

/**
 * A small immutable map, in order of its keys. It knows a digest of its content, which does not depend on the order of
 * the writes: a write costs the digest of one row, and nothing else of the state is looked at again.
 */
export class Table<Row> {
  readonly label: string;
  readonly entries: readonly Entry<Row>[];
  readonly low: number;
  readonly high: number;

  private constructor(label: string, entries: readonly Entry<Row>[], low: number, high: number) {
    this.label = label;
    this.entries = entries;
    this.low = low;
    this.high = high;
  }

  static empty<Row>(label: string): Table<Row> {
    return new Table<Row>(label, [], 0, 0);
  }

  private indexOf(key: string): number {
    const { entries } = this;
    for (let i = 0; i < entries.length; i++) if (entries[i]?.key === key) return i;
    return -1;
  }

  get(key: string): Row | undefined {
    for (const entry of this.entries) if (entry.key === key) return entry.row;
    return undefined;
  }

  has(key: string): boolean {
    return this.indexOf(key) !== -1;
  }

  keys(): string[] {
    return this.entries.map(({ key }) => key);
  }

  /** The table with this row; the same table where the row is the same object already. */
  with(key: string, row: Row): Table<Row> {
    const at = this.indexOf(key);
    const old = this.entries[at];
    if (old !== undefined && old.row === row) return this;
    const { low, high } = digest(`${this.label}|${key}|${JSON.stringify(row)}`);
    const entry = { key, row, low, high };
    const entries = this.entries.slice();
    if (old === undefined) {
      let place = entries.length;
      while (place > 0 && (entries[place - 1] as Entry<Row>).key > key) place--;
      entries.splice(place, 0, entry);
    } else entries[at] = entry;
    return new Table(
      this.label,
      entries,
      (this.low + low - (old?.low ?? 0)) | 0,
      (this.high + high - (old?.high ?? 0)) | 0,
    );
  }

  without(key: string): Table<Row> {
    const old = this.entries[this.indexOf(key)];
    if (old === undefined) return this;
    const entries = this.entries.filter((entry) => entry !== old);
    return new Table(this.label, entries, (this.low - old.low) | 0, (this.high - old.high) | 0);
  }
}
