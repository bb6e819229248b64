export type SqliteRow = { readonly [column: string]: unknown };

export type Bound = string | number | null;

/** What the adapter needs of a SQLite: synchronous, as those of Node, Bun and Durable Objects are. */
export interface SqliteDriver {
  /** The most bytes of JSON that one document may take. */
  readonly documentBytes: number;
  rows(sql: string, params: readonly Bound[]): SqliteRow[];
  /** Runs a statement and says how many rows it changed. */
  run(sql: string, params: readonly Bound[]): number;
  /** Runs all of `work` or nothing of it, with no other writer in between. Transactions do not nest. */
  transaction<T>(work: () => T): T;
  /** Runs reads that see the store at one moment. */
  snapshot<T>(work: () => T): T;
  close(): void;
}

/** The platform's limit on a row of a Durable Object's SQLite in production; it is not enforced locally. */
export const DURABLE_OBJECT_DOCUMENT_BYTES = 2_000_000;
