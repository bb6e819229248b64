import { DURABLE_OBJECT_DOCUMENT_BYTES } from '../store/limits.ts';
import type { SqliteDriver, SqliteRow } from '../store/sqlite.ts';

/** What is used of a Durable Object's storage. */
export type DurableObjectSqlite = {
  readonly sql: {
    exec(sql: string, ...params: (string | number | null)[]): { toArray(): SqliteRow[] };
  };
  transactionSync<T>(work: () => T): T;
};

/** A Durable Object's own SQLite, which nobody else has open. */
export function openDurableObjectSqlite(storage: DurableObjectSqlite): SqliteDriver {
  let schemaVersion = 0;
  const changes = () => storage.sql.exec('SELECT changes() AS n').toArray()[0]?.['n'] as number;
  return {
    documentBytes: DURABLE_OBJECT_DOCUMENT_BYTES,
    // Taken at once: a cursor that is left half-way would keep the table from being dropped.
    rows: (sql, params) => storage.sql.exec(sql, ...params).toArray(),
    run: (sql, params) => {
      if (/^(CREATE|DROP|ALTER) /.test(sql)) schemaVersion++;
      storage.sql.exec(sql, ...params).toArray();
      return changes();
    },
    transaction: (work) => storage.transactionSync(work),
    schemaVersion: () => schemaVersion,
    close: () => {},
  };
}
