import type { Bound, SqliteDriver, SqliteRow } from '../store/sqlite/driver.ts';
import { DURABLE_OBJECT_DOCUMENT_BYTES } from '../store/sqlite/driver.ts';

/** What is used of a Durable Object's storage. */
export type DurableObjectSqlite = {
  readonly sql: {
    exec(sql: string, ...params: readonly Bound[]): { toArray(): SqliteRow[] };
  };
  transactionSync<T>(work: () => T): T;
};

/** A Durable Object's own SQLite, which nobody else has open. */
export function openDurableObjectSqlite(storage: DurableObjectSqlite): SqliteDriver {
  // Taken at once: a cursor that is left half-way would keep the table from being dropped.
  const rows = (sql: string, params: readonly Bound[]) => storage.sql.exec(sql, ...params).toArray();
  return {
    documentBytes: DURABLE_OBJECT_DOCUMENT_BYTES,
    rows,
    run: (sql, params) => {
      rows(sql, params);
      return rows('SELECT changes() AS n', [])[0]?.['n'] as number;
    },
    transaction: (work) => storage.transactionSync(work),
    snapshot: (work) => work(),
    close: () => {},
  };
}
