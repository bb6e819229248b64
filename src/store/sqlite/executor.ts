/**
 * The embedded store: the port over SQLite, on Node and Bun (node:sqlite) and in a Durable Object (its own SQLite).
 *
 * A collection is a table `database.collection` of an id and a JSON text. An index is one over expressions on that
 * text, in BSON's order. Filters go into SQL as far as indexes serve them; matcher.ts decides the rest.
 */
import { compareValues } from './order.ts';
import type {
  CommandOf,
  Document,
  Executor,
  Filter,
  Index,
  InsertManyResult,
  Op,
  Projection,
  Results,
  Sort,
  Update,
  UpdateResult,
  Value,
} from './port.ts';
import { StoreError } from './port.ts';
import { byteLength, decode, encode } from './sqlite/codec.ts';
import { createDocumentCopies } from './sqlite/documents.ts';
import { matches } from './sqlite/matcher.ts';
import type { Bound } from './sqlite/sql.ts';
import { orderOf, predicateOf, quoted, rankSql, valueSql } from './sqlite/sql.ts';
import { applyUpdate, upsertBase } from './sqlite/update.ts';

export type SqliteRow = { readonly [column: string]: unknown };

/** What the adapter needs of a SQLite: synchronous, as both are. */
export interface SqliteDriver {
  /** The most bytes of JSON that one document may take. */
  readonly documentBytes: number;
  rows(sql: string, params: readonly Bound[]): SqliteRow[];
  /** Runs a statement and says how many rows it changed. */
  run(sql: string, params: readonly Bound[]): number;
  /** Runs all of `work` or nothing of it, with no other writer in between. Transactions do not nest. */
  transaction<T>(work: () => T): T;
  /** A number that changes when tables or indexes do, also by another process. */
  schemaVersion(): number;
  close(): void;
}

/** Where the definitions of indexes are kept; no collection's table is named without a dot. */
const INDEXES_TABLE = 'tenantry_indexes';

const ID_INDEX = '_id_';

/** An executor over a SQLite that is this driver's alone or shared with other processes. Makes nothing yet. */
export function createSqliteExecutor(driver: SqliteDriver): Executor {
  const collections = createCollections(driver);
  const copies = createDocumentCopies(driver, (error) => storeError(error).code === 'DuplicateKey');
  const handlers: { [O in Op]: (command: CommandOf<O>) => Results[O] } = {
    ping: () => {
      driver.rows('SELECT 1', []);
      return null;
    },
    createCollection: ({ database, collection, indexes }) =>
      driver.transaction(() => {
        collections.create(tableName(database, collection));
        collections.ensureIndexes(tableName(database, collection), indexes);
        return null;
      }),
    ensureIndexes: ({ database, collection, indexes }) =>
      driver.transaction(() => {
        collections.create(tableName(database, collection));
        collections.ensureIndexes(tableName(database, collection), indexes);
        return null;
      }),
    renameCollection: ({ database, collection, to }) => {
      if (collection === to) throw new StoreError('InvalidArgument', 'A collection is not renamed to itself.');
      return driver.transaction(() => {
        if (!collections.exists(tableName(database, collection))) {
          throw new StoreError('NamespaceNotFound', 'The collection is not there.');
        }
        if (collections.exists(tableName(database, to))) {
          throw new StoreError('NamespaceExists', 'The new name is in use.');
        }
        driver.run(
          `ALTER TABLE ${quoted(tableName(database, collection))} RENAME TO ${quoted(tableName(database, to))}`,
          [],
        );
        return null;
      });
    },
    dropCollection: ({ database, collection }) =>
      driver.transaction(() => {
        collections.drop(tableName(database, collection));
        return null;
      }),
    listCollections: ({ database, prefix }) =>
      collections.list(`${database}.${prefix}`).map((table) => table.slice(database.length + 1)),
    dropDatabase: ({ database }) =>
      driver.transaction(() => {
        for (const table of collections.list(`${database}.`)) collections.drop(table);
        return null;
      }),
    insertOne: ({ database, collection, document }) => {
      insert(tableName(database, collection), document);
      return null;
    },
    insertMany: ({ database, collection, documents }) => insertMany(tableName(database, collection), documents),
    find: ({ database, collection, filter, limit, sort, projection }) =>
      find(tableName(database, collection), filter, limit, sort).map((found) => project(found, projection)),
    updateOne: (command) => update(command).result,
    findOneAndUpdate: (command) => {
      const { before, after } = update(command);
      return command.returnDocument === 'before' ? before : after;
    },
    replaceOne: ({ database, collection, filter, document }) =>
      driver.transaction(() => {
        const table = tableName(database, collection);
        const [found] = find(table, filter, 1);
        if (found === undefined) return { matched: 0, upserted: false };
        if (found._id !== document._id) throw new StoreError('InvalidArgument', '_id does not change.');
        store(table, document);
        return { matched: 1, upserted: false };
      }),
    deleteOne: ({ database, collection, filter }) => remove(tableName(database, collection), filter, 1),
    deleteMany: ({ database, collection, filter }) => remove(tableName(database, collection), filter),
    count: ({ database, collection, filter, limit }) => count(tableName(database, collection), filter, limit),
    digestDocuments: ({ database, collection, which }) => {
      const table = tableName(database, collection);
      if (!collections.exists(table)) return { documents: [], next: null };
      return 'ids' in which ? copies.digestsOf(table, which.ids) : copies.digestsAfter(table, which.after, which.limit);
    },
    copyDocuments: ({ database, collection, to, documents }) =>
      driver.transaction(() => {
        const from = tableName(database, collection);
        if (!collections.exists(from)) {
          return { copied: [], kept: [], refused: [], gone: documents.map(({ id }) => id) };
        }
        collections.create(tableName(database, to));
        return copies.copy(from, tableName(database, to), documents);
      }),
    deleteDocuments: ({ database, collection, documents }) =>
      driver.transaction(() => {
        const table = tableName(database, collection);
        return collections.exists(table) ? copies.remove(table, documents) : 0;
      }),
    copyIndexes: ({ database, collection, to }) =>
      driver.transaction(() => {
        const from = tableName(database, collection);
        if (!collections.exists(from)) throw new StoreError('NamespaceNotFound', 'The collection is not there.');
        collections.create(tableName(database, to));
        collections.ensureIndexes(tableName(database, to), collections.indexes(from));
        return null;
      }),
  };

  /** The documents that match, one by one, in no order. */
  function* candidates(table: string, filter: Filter, order = '', limit?: number): Iterable<Document> {
    const indexed = collections.indexedFields(table);
    if (indexed === undefined) return;
    const { sql, params, exact } = predicateOf(filter, indexed);
    const bound = exact && limit !== undefined ? ` LIMIT ${limit}` : '';
    const rows = driver.rows(`SELECT document FROM ${quoted(table)} WHERE ${sql}${order}${bound}`, params);
    for (const row of rows) {
      const document = decode(row['document'] as string);
      if (exact || matches(document, filter)) yield document;
    }
  }

  function find(table: string, filter: Filter, limit: number, sort?: Sort): Document[] {
    const order = orderOf(sort, collections.indexedFields(table) ?? new Set());
    if (order === undefined) {
      return [...candidates(table, filter)].sort(bySort(sort ?? {})).slice(0, limit);
    }
    const found: Document[] = [];
    for (const document of candidates(table, filter, order, limit)) {
      found.push(document);
      if (found.length === limit) break;
    }
    return found;
  }

  function count(table: string, filter: Filter, limit = Number.MAX_SAFE_INTEGER): number {
    const indexed = collections.indexedFields(table);
    if (indexed === undefined) return 0;
    const { sql, params, exact } = predicateOf(filter, indexed);
    if (!exact) return Math.min(limit, [...candidates(table, filter)].length);
    const counted = `SELECT count(*) AS n FROM (SELECT 1 FROM ${quoted(table)} WHERE ${sql} LIMIT ${limit})`;
    return driver.rows(counted, params)[0]?.['n'] as number;
  }

  function insert(table: string, document: Document): void {
    const params = [document._id, textOf(table, document)];
    const sql = `INSERT INTO ${quoted(table)} (_id, document) VALUES (?, ?)`;
    try {
      driver.run(sql, params);
    } catch (error) {
      if (!isMissingTable(error)) throw error;
      driver.transaction(() => {
        collections.create(table);
        driver.run(sql, params);
      });
    }
  }

  function insertMany(table: string, documents: readonly Document[]): InsertManyResult {
    return driver.transaction(() => {
      collections.create(table);
      const duplicates: InsertManyResult['duplicates'] = [];
      // Every text is made first: one that is too large refuses the whole batch.
      const rows = documents.map((document) => [document._id, textOf(table, document)] as const);
      for (const row of rows) {
        try {
          driver.run(`INSERT INTO ${quoted(table)} (_id, document) VALUES (?, ?)`, row);
        } catch (error) {
          const { code, index } = storeError(error);
          if (code !== 'DuplicateKey') throw error;
          duplicates.push({ _id: row[0], index: index ?? ID_INDEX });
        }
      }
      return { inserted: documents.length - duplicates.length, duplicates };
    });
  }

  function update(command: CommandOf<'updateOne' | 'findOneAndUpdate'>): {
    result: UpdateResult;
    before: Document | null;
    after: Document | null;
  } {
    const {
      database,
      collection,
      filter,
      update: changes,
      upsert,
    } = command as {
      database: string;
      collection: string;
      filter: Filter;
      update: Update;
      upsert: boolean;
    };
    const table = tableName(database, collection);
    return driver.transaction(() => {
      const [before] = find(table, filter, 1);
      if (before !== undefined) {
        const after = applyUpdate(decode(encode(before)), changes, false);
        store(table, after);
        return { result: { matched: 1, upserted: false }, before, after };
      }
      if (!upsert) return { result: { matched: 0, upserted: false }, before: null, after: null };
      const after = applyUpdate(upsertBase(filter), changes, true);
      collections.create(table);
      driver.run(`INSERT INTO ${quoted(table)} (_id, document) VALUES (?, ?)`, [after._id, textOf(table, after)]);
      return { result: { matched: 0, upserted: true }, before: null, after };
    });
  }

  function store(table: string, document: Document): void {
    driver.run(`UPDATE ${quoted(table)} SET document = ? WHERE _id = ?`, [textOf(table, document), document._id]);
  }

  function remove(table: string, filter: Filter, limit?: number): number {
    return driver.transaction(() => {
      const indexed = collections.indexedFields(table);
      if (indexed === undefined) return 0;
      const { sql, params, exact } = predicateOf(filter, indexed);
      if (exact && limit === undefined) return driver.run(`DELETE FROM ${quoted(table)} WHERE ${sql}`, params);
      const ids = Array.from(candidates(table, filter, '', limit), ({ _id }) => _id).slice(0, limit);
      return driver.run(`DELETE FROM ${quoted(table)} WHERE _id IN (SELECT value FROM json_each(?))`, [
        JSON.stringify(ids),
      ]);
    });
  }

  /** The text to store for a document, once it is known to be one that the table takes. */
  function textOf(table: string, document: Document): string {
    for (const field of collections.indexedFields(table) ?? []) {
      const value = document[field];
      if (typeof value === 'object' && value !== null && !(value instanceof Date)) {
        throw new StoreError('InvalidArgument', `The indexed field ${field} holds a scalar.`);
      }
    }
    const text = encode(document);
    // A text has at most three bytes for each of its units: most need no counting.
    if (text.length * 3 > driver.documentBytes && byteLength(text) > driver.documentBytes) {
      throw new StoreError('DocumentTooLarge', `A document takes at most ${driver.documentBytes} bytes here.`);
    }
    return text;
  }

  return {
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      try {
        return handlers[command.op as O](command);
      } catch (error) {
        throw storeError(error);
      }
    },
    limits: { documentBytes: driver.documentBytes, measure: measureDocument },
    close: async () => driver.close(),
  };
}

/** What a document takes in this store: the bytes of its JSON. */
export const measureDocument = (document: Document): number => byteLength(encode(document));

const tableName = (database: string, collection: string): string => `${database}.${collection}`;

/** The tables and indexes, as they are in the file now; what is known of them is kept while the schema stays. */
function createCollections(driver: SqliteDriver) {
  let version = -1;
  const known = new Map<string, ReadonlySet<string> | undefined>();

  const indexesOf = (table: string): { readonly sqlName: string; readonly index: Index }[] => {
    if (!tableExists(INDEXES_TABLE)) return [];
    const rows = driver.rows(
      `SELECT name, definition FROM ${INDEXES_TABLE} WHERE name IN (SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?)`,
      [table],
    );
    return rows.map((row) => ({
      sqlName: row['name'] as string,
      index: JSON.parse(row['definition'] as string) as Index,
    }));
  };

  const tableExists = (table: string): boolean =>
    driver.rows(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?`, [table]).length > 0;

  return {
    exists: tableExists,
    indexes: (table: string): Index[] => indexesOf(table).map(({ index }) => index),
    create: (table: string): void => {
      driver.run(
        `CREATE TABLE IF NOT EXISTS ${quoted(table)} (_id TEXT PRIMARY KEY NOT NULL, document TEXT NOT NULL)`,
        [],
      );
    },
    drop: (table: string): void => {
      for (const { sqlName } of indexesOf(table)) driver.run(`DELETE FROM ${INDEXES_TABLE} WHERE name = ?`, [sqlName]);
      driver.run(`DROP TABLE IF EXISTS ${quoted(table)}`, []);
    },
    list: (prefix: string): string[] =>
      driver
        .rows(
          `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, length(?1)) = ?1 ORDER BY name`,
          [prefix],
        )
        .map((row) => row['name'] as string),
    /** The fields of its indexes; undefined for a table that is not there. */
    indexedFields: (table: string): ReadonlySet<string> | undefined => {
      const current = driver.schemaVersion();
      if (current !== version) {
        known.clear();
        version = current;
      }
      if (!known.has(table)) {
        known.set(
          table,
          tableExists(table) ? new Set(indexesOf(table).flatMap(({ index }) => Object.keys(index.key))) : undefined,
        );
      }
      return known.get(table);
    },
    ensureIndexes: (table: string, indexes: readonly Index[]): void => {
      if (indexes.length === 0) return;
      driver.run(
        `CREATE TABLE IF NOT EXISTS ${INDEXES_TABLE} (name TEXT PRIMARY KEY NOT NULL, definition TEXT NOT NULL)`,
        [],
      );
      const present = new Map(indexesOf(table).map(({ index }) => [index.name, index]));
      for (const index of indexes) {
        const existing = present.get(index.name);
        if (existing === undefined) {
          // The name outlives a rename of the table, and another table may have an index of the same name by then.
          const sqlName = `${index.name}#${crypto.randomUUID()}`;
          driver.run(
            `CREATE ${index.unique ? 'UNIQUE ' : ''}INDEX ${quoted(sqlName)} ON ${quoted(table)} (${columns(index)})`,
            [],
          );
          driver.run(`INSERT INTO ${INDEXES_TABLE} (name, definition) VALUES (?, ?)`, [sqlName, JSON.stringify(index)]);
        } else if (columns(existing) !== columns(index) || Boolean(existing.unique) !== Boolean(index.unique)) {
          throw new StoreError('InvalidArgument', `There is another index named ${index.name}.`);
        }
      }
    },
  };
}

const columns = (index: Index): string =>
  Object.entries(index.key)
    .flatMap(([field, direction]) => {
      const way = direction === 1 ? '' : ' DESC';
      return [`${rankSql(field)}${way}`, `${valueSql(field)}${way}`];
    })
    .join(',');

function bySort(sort: Sort): (a: Document, b: Document) => number {
  const terms = Object.entries(sort);
  return (a, b) => {
    for (const [field, direction] of terms) {
      const order = compareValues(sortKey(a[field], direction), sortKey(b[field], direction));
      if (order !== 0) return order * direction;
    }
    return 0;
  };
}

/** A list sorts by its least element ascending, by its greatest descending; an empty one before everything. */
function sortKey(value: Value | undefined, direction: 1 | -1): Value | undefined {
  if (!Array.isArray(value)) return value;
  const [first, ...others] = value as readonly Value[];
  if (first === undefined) return undefined;
  return others.reduce((best, one) => (compareValues(one, best) * direction < 0 ? one : best), first);
}

function project(document: Document, projection: Projection | undefined): Document {
  if (projection === undefined) return document;
  return Object.fromEntries(
    Object.entries(document).filter(([field]) => field === '_id' || Object.hasOwn(projection, field)),
  ) as Document;
}

const isMissingTable = (error: unknown): boolean => error instanceof Error && /no such table/.test(error.message);

/** SQLite's errors in the port's words. All that is not a clash leaves nothing behind: a statement is all or nothing. */
function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : '';
  if (/UNIQUE constraint failed/.test(message)) {
    const index = /index '([a-z0-9_]+)#/.exec(message)?.[1] ?? ID_INDEX;
    return new StoreError('DuplicateKey', `The key is in ${index} already.`, { index, cause: error });
  }
  return new StoreError('Unavailable', 'The embedded store could not do it.', { cause: error });
}
