/**
 * The embedded store: the port over SQLite, on Node and Bun (node:sqlite) and in a Durable Object (its own SQLite).
 *
 * A document is a row of its id and its JSON text (see catalogue.ts for the tables). An index is one over expressions
 * on that text, in BSON's order. Filters go into SQL as far as indexes serve them; matcher.ts decides the rest.
 */
import { compareValues } from '../order.ts';
import type {
  CommandOf,
  Document,
  Executor,
  Filter,
  MergeResult,
  Namespace,
  Op,
  Projection,
  Results,
  Sort,
  UpdateResult,
} from '../port.ts';
import { READS, StoreError } from '../port.ts';
import { Catalogue } from './catalogue.ts';
import { decode, encode } from './codec.ts';
import type { SqliteDriver } from './driver.ts';
import { matches } from './matcher.ts';
import type { Table } from './sql.ts';
import { nonScalarSql, orderOf, predicateOf } from './sql.ts';
import { applyUpdate, upsertBase } from './update.ts';

/**
 * An executor over a SQLite that is this driver's alone or shared with other processes. Makes its tables when they are
 * missing. Each command is one transaction, or one snapshot.
 */
export function createSqliteExecutor(driver: SqliteDriver): Executor {
  const commands = new SqliteCommands(driver);
  return {
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      try {
        return commands.run(command);
      } catch (error) {
        throw storeError(error);
      }
    },
    limits: { documentBytes: driver.documentBytes, measure: measureDocument },
    close: async () => driver.close(),
  };
}

/** What a document takes in this store: the bytes of its JSON. */
export const measureDocument = (document: Document): number => Buffer.byteLength(encode(document));

type Handlers = { readonly [O in Op]: (command: CommandOf<O>) => Results[O] };

class SqliteCommands {
  readonly #driver: SqliteDriver;
  readonly #catalogue: Catalogue;

  constructor(driver: SqliteDriver) {
    this.#driver = driver;
    this.#catalogue = new Catalogue(driver);
  }

  run<O extends Op>(command: CommandOf<O>): Results[O] {
    const handler = this.#handlers[command.op as O];
    if (READS.has(command.op)) return this.#driver.snapshot(() => handler(command));
    return this.#driver.transaction(() => {
      const result = handler(command);
      this.#catalogue.purge();
      return result;
    });
  }

  readonly #handlers: Handlers = {
    ping: () => {
      this.#driver.rows('SELECT 1', []);
      return null;
    },
    createCollection: ({ database, collection, indexes }) => {
      const found = this.#catalogue.find(database, collection);
      this.#catalogue.ensureIndexes(found ?? this.#catalogue.create(database, collection), indexes);
      return found === undefined;
    },
    renameCollection: (command) => {
      const { database, to } = command;
      const table = this.#find(command);
      if (table === undefined) throw new StoreError('NamespaceNotFound', 'The collection does not exist.');
      if (this.#catalogue.find(database, to) !== undefined) {
        throw new StoreError('NamespaceExists', 'The new name is in use.');
      }
      this.#catalogue.rename(table, to);
      return null;
    },
    mergeCollection: (command) => this.#merge(command),
    dropCollection: (command) => {
      const table = this.#find(command);
      if (table !== undefined) this.#catalogue.drop(table);
      return null;
    },
    listCollections: ({ database, names }) => this.#catalogue.list(database, names),
    dropDatabase: ({ database }) => {
      for (const { name } of this.#catalogue.list(database)) {
        const table = this.#catalogue.find(database, name);
        if (table !== undefined) this.#catalogue.drop(table);
      }
      return null;
    },
    insertOne: (command) => {
      this.#insert(this.#catalogue.findOrCreate(command.database, command.collection), command.document);
      return null;
    },
    find: (command) => {
      const { filter, limit, sort, projection } = command;
      return this.#select(this.#find(command), filter, limit, sort).map((found) => project(found, projection));
    },
    updateOne: (command) => {
      const { matched, upserted } = this.#update(command);
      return { matched, upserted };
    },
    findOneAndUpdate: (command) => this.#update(command).document,
    replaceOne: (command) => {
      const table = this.#find(command);
      const [found] = this.#select(table, command.filter, 1);
      if (table === undefined || found === undefined) return { matched: 0, upserted: false };
      if (found._id !== command.document._id) throw new StoreError('InvalidArgument', '_id does not change.');
      this.#replace(table, command.document);
      return { matched: 1, upserted: false };
    },
    deleteOne: (command) => this.#delete(command, 1),
    deleteMany: (command) => this.#delete(command),
    count: (command) => this.#count(command),
  };

  #find({ database, collection }: Namespace): Table | undefined {
    return this.#catalogue.find(database, collection);
  }

  /** The documents that match; without a sort, in no order. */
  #select(table: Table | undefined, filter: Filter, limit = Number.MAX_SAFE_INTEGER, sort?: Sort): Document[] {
    if (table === undefined) return [];
    const { where, params, exact } = predicateOf(filter, table);
    const order = orderOf(sort, table.fields);
    const inOrder = order !== undefined;
    const selected = `SELECT document FROM ${table.name} WHERE ${where}${order ?? ''}`;
    const limited = exact && inOrder;
    const rows = this.#driver.rows(limited ? `${selected} LIMIT ?` : selected, limited ? [...params, limit] : params);
    const found: Document[] = [];
    for (const row of rows) {
      const document = decode(row['document'] as string);
      if (exact || matches(document, filter)) found.push(document);
      if (inOrder && found.length === limit) break;
    }
    return inOrder ? found : found.sort(bySort(sort ?? {})).slice(0, limit);
  }

  #count(command: CommandOf<'count'>): number {
    const { filter, limit = Number.MAX_SAFE_INTEGER } = command;
    const table = this.#find(command);
    if (table === undefined) return 0;
    const { where, params, exact } = predicateOf(filter, table);
    if (!exact) return Math.min(limit, this.#select(table, filter).length);
    const counted = `SELECT count(*) AS n FROM (SELECT 1 FROM ${table.name} WHERE ${where} LIMIT ?)`;
    return this.#driver.rows(counted, [...params, limit])[0]?.['n'] as number;
  }

  #insert(table: Table, document: Document): void {
    const values = [...table.scopeParams, document._id, this.#textOf(table, document)];
    this.#driver.run(`INSERT INTO ${table.name} VALUES (${values.map(() => '?').join(', ')})`, values);
  }

  /** Gives the document as it is now, too. */
  #update(command: CommandOf<'updateOne' | 'findOneAndUpdate'>): UpdateResult & { document: Document | null } {
    const { database, collection, filter, update, upsert } = command;
    const table = this.#find(command);
    const [found] = this.#select(table, filter, 1);
    if (table !== undefined && found !== undefined) {
      const document = applyUpdate(found, update, false);
      this.#replace(table, document);
      return { matched: 1, upserted: false, document };
    }
    if (!upsert) return { matched: 0, upserted: false, document: null };
    const document = applyUpdate(upsertBase(filter), update, true);
    this.#insert(table ?? this.#catalogue.create(database, collection), document);
    return { matched: 0, upserted: true, document };
  }

  #replace(table: Table, document: Document): void {
    const sql = `UPDATE ${table.name} SET document = ? WHERE ${table.scope}_id = ?`;
    this.#driver.run(sql, [this.#textOf(table, document), ...table.scopeParams, document._id]);
  }

  #delete(command: CommandOf<'deleteOne'> | CommandOf<'deleteMany'>, limit?: number): number {
    const { filter } = command;
    const table = this.#find(command);
    if (table === undefined) return 0;
    const { where, params, exact } = predicateOf(filter, table);
    if (exact && limit === undefined) return this.#driver.run(`DELETE FROM ${table.name} WHERE ${where}`, params);
    const ids = this.#select(table, filter, limit).map(({ _id }) => _id);
    const byIds = `DELETE FROM ${table.name} WHERE ${table.scope}_id IN (SELECT value FROM json_each(?))`;
    return this.#driver.run(byIds, [...table.scopeParams, JSON.stringify(ids)]);
  }

  #merge(command: CommandOf<'mergeCollection'>): MergeResult {
    const from = this.#find(command);
    if (from === undefined) return { left: 0 };
    let to = this.#catalogue.findOrCreate(command.database, command.to);
    for (const index of from.indexes) {
      try {
        to = this.#catalogue.ensureIndexes(to, [index]);
      } catch (error) {
        // An index that the documents there do not fit does not keep the others out.
        if (!['DuplicateKey', 'InvalidArgument'].includes(storeError(error).code)) throw error;
        to = this.#catalogue.findOrCreate(command.database, command.to);
      }
    }
    const row = [...to.scopeParams.map(() => '?'), '_id', 'document'].join(', ');
    this.#driver.run(
      `INSERT OR IGNORE INTO ${to.name} SELECT ${row} FROM ${from.name}` +
        ` WHERE ${from.scope}NOT ${nonScalarSql([...to.fields])}`,
      [...to.scopeParams, ...from.scopeParams],
    );
    const [counted] = this.#driver.rows(
      `SELECT count(*) AS n FROM (SELECT _id AS id, document AS text FROM ${from.name} WHERE ${from.scope}1)` +
        ` WHERE NOT EXISTS (SELECT 1 FROM ${to.name} WHERE ${to.scope}_id = id AND document = text)`,
      [...from.scopeParams, ...to.scopeParams],
    );
    return { left: counted?.['n'] as number };
  }

  /** The text to store for a document, once it is known to be one that the table takes. */
  #textOf(table: Table, document: Document): string {
    for (const field of table.fields) {
      const value = document[field];
      if (typeof value === 'object' && value !== null && !(value instanceof Date)) {
        throw new StoreError('InvalidArgument', `The indexed field ${field} holds a scalar.`);
      }
    }
    const text = encode(document);
    const { documentBytes } = this.#driver;
    // A text has at most three bytes for each of its units: most need no counting.
    if (text.length * 3 > documentBytes && Buffer.byteLength(text) > documentBytes) {
      throw new StoreError('DocumentTooLarge', `A document takes at most ${documentBytes} bytes here.`);
    }
    return text;
  }
}

function bySort(sort: Sort): (a: Document, b: Document) => number {
  const terms = Object.entries(sort);
  return (a, b) => {
    for (const [field, direction] of terms) {
      const order = compareValues(a[field], b[field]);
      if (order !== 0) return order * direction;
    }
    return 0;
  };
}

function project(document: Document, projection: Projection | undefined): Document {
  if (projection === undefined) return document;
  return Object.fromEntries(
    Object.entries(document).filter(([field]) => field === '_id' || Object.hasOwn(projection, field)),
  ) as Document;
}

/** SQLite's errors in the port's words. All that is not a clash leaves nothing behind: a statement is all or nothing. */
function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : '';
  if (/UNIQUE constraint failed/.test(message)) {
    const index = /index '([a-z0-9_]+)#/.exec(message)?.[1] ?? '_id_';
    return new StoreError('DuplicateKey', `The key is in ${index} already.`, { index, cause: error });
  }
  return new StoreError('Unavailable', 'The embedded store could not do it.', { cause: error });
}
