import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { StatementSync } from 'node:sqlite';
import { DatabaseSync } from 'node:sqlite';
import type { SqliteDriver, SqliteRow } from '../store/sqlite.ts';

/** As MongoDB's limit. SQLite's own is 1 GB. */
const DOCUMENT_BYTES = 16 * 1024 * 1024;

/** How long a statement waits for another process's write, in milliseconds. */
const BUSY_MS = 5000;

const STATEMENTS = 256;

/**
 * A SQLite file by node:sqlite, on Node and Bun. What a command wrote is on the disk when it resolves (WAL,
 * synchronous=FULL). Several processes may have the file open.
 * @param path the file, in a directory that is made when it is missing; `:memory:` for none
 */
export function openSqliteFile(path: string): SqliteDriver {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
  database.exec('PRAGMA journal_mode = WAL');
  database.exec('PRAGMA synchronous = FULL');

  const prepared = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const known = prepared.get(sql);
    if (known !== undefined) return known;
    if (prepared.size === STATEMENTS) prepared.clear();
    const statement = database.prepare(sql);
    prepared.set(sql, statement);
    return statement;
  };
  const version = database.prepare('PRAGMA schema_version');

  return {
    documentBytes: DOCUMENT_BYTES,
    rows: (sql, params) => prepare(sql).all(...params) as SqliteRow[],
    run: (sql, params) => Number(prepare(sql).run(...params).changes),
    transaction: (work) => {
      prepare('BEGIN IMMEDIATE').run();
      try {
        const result = work();
        prepare('COMMIT').run();
        return result;
      } catch (error) {
        if (database.isTransaction) prepare('ROLLBACK').run();
        throw error;
      }
    },
    schemaVersion: () => (version.get() as { schema_version: number }).schema_version,
    close: () => database.close(),
  };
}
