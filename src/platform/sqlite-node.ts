import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { StatementSync } from 'node:sqlite';
import { DatabaseSync } from 'node:sqlite';
import type { SqliteDriver, SqliteRow } from '../store/sqlite/driver.ts';
import { makePrivate } from './private-files.ts';

/** As MongoDB's limit. SQLite's own is 1 GB. */
const DOCUMENT_BYTES = 16 * 1024 * 1024;

/** How long a statement waits for another process's write, in milliseconds. */
const BUSY_MS = 5000;

const STATEMENTS = 256;

/** SQLite's result codes, and the system's, that an operator can do something about (sqlite.org/rescode.html). */
const REASONS: ReadonlyMap<number | string | undefined, string> = new Map<number | string, string>([
  [5, 'is in use by another process that does not release it'],
  [8, 'cannot be written'],
  [10, 'cannot be read or written: the disk reports an error'],
  [11, 'is damaged'],
  [13, 'cannot be written: the disk is full'],
  [14, 'cannot be opened'],
  [26, 'is not a database, or is damaged'],
  ['EACCES', 'is in a directory that cannot be made or entered: permission denied'],
  ['EPERM', 'is in a directory that cannot be made or entered: permission denied'],
  ['EROFS', 'is on a read-only file system'],
  ['ENOSPC', 'cannot be written: the disk is full'],
  ['ENOTDIR', 'is below a path that is not a directory'],
  ['EEXIST', 'is below a path that is not a directory'],
]);

/** The embedded store's file cannot be used. The message is fit for an operator. */
export class StoreFileError extends Error {
  override readonly name = 'StoreFileError';
  /** What is wrong, as the rest of a sentence that begins with the path. */
  readonly reason: string;

  constructor(path: string, reason: string, cause?: unknown) {
    super(`${path} ${reason}.`, { cause });
    this.reason = reason;
  }
}

/**
 * A SQLite file by node:sqlite, on Node and Bun. What a command wrote is on the disk when it resolves (WAL,
 * synchronous=FULL). Several processes may have the file open.
 * @param path the file, which only its owner may read, in a directory that is made when it is missing; `:memory:` for
 *   none
 * @throws {StoreFileError} when the file cannot be used
 */
export function openSqliteFile(path: string): SqliteDriver {
  const database = openDatabase(path);
  const prepared = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const known = prepared.get(sql);
    if (known !== undefined) return known;
    if (prepared.size === STATEMENTS) prepared.clear();
    const statement = database.prepare(sql);
    prepared.set(sql, statement);
    return statement;
  };
  const within = <T>(begin: string, work: () => T): T => {
    prepare(begin).run();
    try {
      const result = work();
      prepare('COMMIT').run();
      return result;
    } catch (error) {
      if (database.isTransaction) prepare('ROLLBACK').run();
      throw error;
    }
  };

  return {
    documentBytes: DOCUMENT_BYTES,
    rows: (sql, params) => prepare(sql).all(...params) as SqliteRow[],
    run: (sql, params) => Number(prepare(sql).run(...params).changes),
    transaction: (work) => within('BEGIN IMMEDIATE', work),
    snapshot: (work) => within('BEGIN', work),
    close: () => database.close(),
  };
}

function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    if (path !== ':memory:') preparePrivateFile(path);
    database = new DatabaseSync(path);
    database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    database.exec('PRAGMA journal_mode = WAL');
    database.exec('PRAGMA synchronous = FULL');
    // Reads the schema and takes the write lock: what cannot be written is known now.
    database.exec('SELECT 1 FROM sqlite_master LIMIT 1; BEGIN IMMEDIATE; ROLLBACK');
    return database;
  } catch (error) {
    database?.close();
    throw storeFileError(path, error);
  }
}

/** The error for a path that cannot be used, by the code of SQLite's error or the system's. */
export function storeFileError(path: string, error: unknown): StoreFileError {
  const { errcode, code } = error as { errcode?: number; code?: string };
  // The lower byte is the primary code.
  const reason = REASONS.get(errcode === undefined ? code : errcode & 0xff) ?? 'cannot be opened';
  return new StoreFileError(path, reason, error);
}

/** The file, and those beside it, are its owner's alone: SQLite gives new ones the mode of the database. */
function preparePrivateFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  for (const suffix of ['', '-wal', '-shm']) makePrivate(`${path}${suffix}`);
}
