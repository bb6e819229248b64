import type { CollectionEntry, Index } from '../port.ts';
import { StoreError } from '../port.ts';
import type { SqliteDriver } from './driver.ts';
import type { Table } from './sql.ts';
import { indexColumns, nonScalarSql } from './sql.ts';

const CATALOGUE = 'tenantry_collections';
const DOCUMENTS = 'tenantry_documents';
const DROPPED = 'tenantry_dropped';

/** Rows of dropped collections that one write removes at most. */
const PURGE_ROWS = 500;

/**
 * Which collections there are. Each is a row with an id that is never used again. Collections without indexes share
 * one table, so that making, renaming and dropping one changes rows and never the schema, whose size SQLite pays for at
 * every change. One with indexes has a table of its own, named by its id. Nothing of a row is kept in memory: another
 * process may rename a collection at any time. Callers hold a transaction or a snapshot.
 */
export class Catalogue {
  readonly #driver: SqliteDriver;

  /** Makes the store's own tables where they are missing. */
  constructor(driver: SqliteDriver) {
    this.#driver = driver;
    driver.run(
      `CREATE TABLE IF NOT EXISTS ${CATALOGUE} (id INTEGER PRIMARY KEY AUTOINCREMENT, database TEXT NOT NULL,` +
        ' name TEXT NOT NULL, indexes TEXT, UNIQUE (database, name))',
      [],
    );
    driver.run(
      `CREATE TABLE IF NOT EXISTS ${DOCUMENTS} (collection INTEGER NOT NULL, _id TEXT NOT NULL,` +
        ' document TEXT NOT NULL, PRIMARY KEY (collection, _id)) WITHOUT ROWID',
      [],
    );
    driver.run(`CREATE TABLE IF NOT EXISTS ${DROPPED} (id INTEGER PRIMARY KEY)`, []);
  }

  find(database: string, name: string): Table | undefined {
    const sql = `SELECT id, indexes FROM ${CATALOGUE} WHERE database = ? AND name = ?`;
    const [row] = this.#driver.rows(sql, [database, name]);
    if (row === undefined) return undefined;
    const indexes = row['indexes'] as string | null;
    return indexes === null ? shared(row['id'] as number) : own(row['id'] as number, JSON.parse(indexes));
  }

  /** In order of names: all of a database, or those of the names that are there. */
  list(database: string, names?: readonly string[]): CollectionEntry[] {
    const named = names === undefined ? '' : ' AND name IN (SELECT value FROM json_each(?))';
    const params = names === undefined ? [database] : [database, JSON.stringify(names)];
    return this.#driver
      .rows(`SELECT id, name FROM ${CATALOGUE} WHERE database = ?${named} ORDER BY name`, params)
      .map((row) => ({ name: row['name'] as string, id: String(row['id']) }));
  }

  /** A collection that was not there. */
  create(database: string, name: string): Table {
    const sql = `INSERT INTO ${CATALOGUE} (database, name) VALUES (?, ?) RETURNING id`;
    return shared(this.#driver.rows(sql, [database, name])[0]?.['id'] as number);
  }

  findOrCreate(database: string, name: string): Table {
    return this.find(database, name) ?? this.create(database, name);
  }

  rename({ id }: Table, to: string): void {
    this.#driver.run(`UPDATE ${CATALOGUE} SET name = ? WHERE id = ?`, [to, id]);
  }

  /** The documents of a shared table are out of reach at once, and removed bit by bit by `purge`. */
  drop(table: Table): void {
    this.#driver.run(`DELETE FROM ${CATALOGUE} WHERE id = ?`, [table.id]);
    if (isShared(table)) this.#driver.run(`INSERT INTO ${DROPPED} (id) VALUES (?)`, [table.id]);
    else this.#driver.run(`DROP TABLE ${table.name}`, []);
  }

  /** Removes some rows of a dropped collection, if there is any: called by each write, so that none takes long. */
  purge(): void {
    const [dropped] = this.#driver.rows(`SELECT id FROM ${DROPPED} LIMIT 1`, []);
    if (dropped === undefined) return;
    const { name, scope, scopeParams } = shared(dropped['id'] as number);
    const removed = this.#driver.run(
      `DELETE FROM ${name} WHERE ${scope}_id IN (SELECT _id FROM ${name} WHERE ${scope}1 LIMIT ${PURGE_ROWS})`,
      [...scopeParams, ...scopeParams],
    );
    if (removed < PURGE_ROWS) this.#driver.run(`DELETE FROM ${DROPPED} WHERE id = ?`, [dropped['id'] as number]);
  }

  /**
   * The collection with these indexes too.
   * @throws {StoreError} InvalidArgument for another definition under a name, or a document that it does not fit; the
   *   driver's error for two documents of one unique key
   */
  ensureIndexes(table: Table, indexes: readonly Index[]): Table {
    let current = table;
    for (const index of indexes) {
      const existing = current.indexes.find(({ name }) => name === index.name);
      if (existing === undefined) current = this.#addIndex(current, index);
      else if (!isEqual(existing, index)) {
        throw new StoreError('InvalidArgument', `There is another index named ${index.name}.`);
      }
    }
    return current;
  }

  #addIndex(table: Table, index: Index): Table {
    const indexes = [...table.indexes, index];
    const extended = own(table.id, indexes);
    if (isShared(table)) this.#moveDocuments(table, extended);
    const lists = `SELECT 1 FROM ${extended.name} WHERE ${nonScalarSql(Object.keys(index.key))} LIMIT 1`;
    if (this.#driver.rows(lists, []).length > 0) {
      throw new StoreError('InvalidArgument', `A document has no scalar for index ${index.name}.`);
    }
    const unique = index.unique === true ? 'UNIQUE ' : '';
    // The number keeps names apart: they are unique in a file, not in a table.
    const name = `"${index.name}#${table.id}"`;
    this.#driver.run(`CREATE ${unique}INDEX ${name} ON ${extended.name} (${indexColumns(index)})`, []);
    this.#driver.run(`UPDATE ${CATALOGUE} SET indexes = ? WHERE id = ?`, [JSON.stringify(indexes), table.id]);
    return extended;
  }

  #moveDocuments({ name, scope, scopeParams }: Table, to: Table): void {
    this.#driver.run(`CREATE TABLE ${to.name} (_id TEXT PRIMARY KEY NOT NULL, document TEXT NOT NULL)`, []);
    this.#driver.run(`INSERT INTO ${to.name} SELECT _id, document FROM ${name} WHERE ${scope}1`, scopeParams);
    this.#driver.run(`DELETE FROM ${name} WHERE ${scope}1`, scopeParams);
    // Holds also where the index then cannot be built, and the caller goes on without it.
    this.#driver.run(`UPDATE ${CATALOGUE} SET indexes = '[]' WHERE id = ?`, [to.id]);
  }
}

const shared = (id: number): Table => ({
  id,
  name: DOCUMENTS,
  scope: 'collection=? AND ',
  scopeParams: [id],
  indexes: [],
  fields: new Set(),
});

const own = (id: number, indexes: readonly Index[]): Table => ({
  id,
  name: `collection_${id}`,
  scope: '',
  scopeParams: [],
  indexes,
  fields: new Set(indexes.flatMap(({ key }) => Object.keys(key))),
});

const isShared = (table: Table): boolean => table.name === DOCUMENTS;

const isEqual = (a: Index, b: Index): boolean =>
  indexColumns(a) === indexColumns(b) && Boolean(a.unique) === Boolean(b.unique);
