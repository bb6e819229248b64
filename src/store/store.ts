import type {
  CopyRequest,
  CopyResult,
  DigestPage,
  DigestSelection,
  Document,
  DocumentDigest,
  Executor,
  Filter,
  Index,
  InsertManyResult,
  Projection,
  Sort,
  Update,
  UpdateResult,
} from './port.ts';
import { BATCH_LIMIT } from './port.ts';
import {
  checkCollectionName,
  checkDatabaseName,
  checkDocument,
  checkFilter,
  checkIds,
  checkIndexes,
  checkLimit,
  checkProjection,
  checkSort,
  checkUpdate,
} from './subset.ts';

/** A store of documents: the port's typed face, the same over every adapter. Every method may throw a StoreError. */
export type Store = {
  /** Databases and collections are names only: nothing is made, and nothing is asked of the store. */
  database(name: string): Database;
  /** Resolves when the store answers. */
  ping(): Promise<void>;
  readonly limits: Executor['limits'];
  close(): Promise<void>;
};

export type Database = {
  readonly name: string;
  collection<T extends Document = Document>(name: string): Collection<T>;
  /** Makes the collection, or finds it made, and ensures its indexes. */
  createCollection(name: string, indexes?: readonly Index[]): Promise<void>;
  /** Renames, with documents and indexes, in one step. @throws NamespaceNotFound, NamespaceExists, NotPermitted */
  renameCollection(from: string, to: string): Promise<void>;
  /** Makes the collection `to`, or finds it made, with every index of `from`. @throws NamespaceNotFound, NotPermitted */
  copyIndexes(from: string, to: string): Promise<void>;
  /** Drops the collection, or finds it gone. */
  dropCollection(name: string): Promise<void>;
  /** Names of the collections that start with `prefix`, in order of code points. */
  listCollections(prefix?: string): Promise<string[]>;
  drop(): Promise<void>;
};

export type FindOptions = { limit?: number; sort?: Sort; projection?: Projection };

/** A collection that is not there reads as an empty one, and is made by the first insert, as in MongoDB. */
export type Collection<T extends Document = Document> = {
  readonly name: string;
  /** @throws DuplicateKey, DocumentTooLarge */
  insertOne(document: T): Promise<void>;
  /** Inserts up to 1000 documents independently; those that clash are named in the result, not thrown. */
  insertMany(documents: readonly T[]): Promise<InsertManyResult>;
  findOne(filter: Filter, options?: Omit<FindOptions, 'limit'>): Promise<T | undefined>;
  /** At most `limit` documents (1000 when left out). Page by a filter on the sort's fields. */
  find(filter: Filter, options?: FindOptions): Promise<T[]>;
  /** An upsert's filter has an `_id` by equality. @throws DuplicateKey, DocumentTooLarge */
  updateOne(filter: Filter, update: Update, options?: { upsert?: boolean }): Promise<UpdateResult>;
  findOneAndUpdate(
    filter: Filter,
    update: Update,
    options?: { upsert?: boolean; returnDocument?: 'before' | 'after' },
  ): Promise<T | undefined>;
  replaceOne(filter: Filter, document: T): Promise<UpdateResult>;
  /** The number removed: 0 or 1. */
  deleteOne(filter: Filter): Promise<number>;
  deleteMany(filter: Filter): Promise<number>;
  count(filter: Filter, options?: { limit?: number }): Promise<number>;
  ensureIndexes(indexes: readonly Index[]): Promise<void>;
  /** Ids and digests of documents that anyone wrote, of any type: those after an id, or up to 1000 by their ids. */
  digests(which: DigestSelection): Promise<DigestPage>;
  /** Copies up to 1000 documents, byte for byte, each as it may be: see {@link CopyRequest}. None crosses the port. */
  copyTo(to: string, documents: readonly CopyRequest[]): Promise<CopyResult>;
  /** Removes up to 1000 documents that still have these digests, and says how many. */
  deleteDigested(documents: readonly DocumentDigest[]): Promise<number>;
};

/** Puts the typed face on an adapter. What is outside the port's subset is refused here, before the adapter. */
export function createStore(executor: Executor): Store {
  return {
    database: (name) => createDatabase(executor, name),
    ping: async () => {
      await executor.execute({ op: 'ping' });
    },
    limits: executor.limits,
    close: () => executor.close(),
  };
}

function createDatabase(executor: Executor, database: string): Database {
  checkDatabaseName(database);
  return {
    name: database,
    collection: <T extends Document>(name: string) => createCollection<T>(executor, database, name),
    createCollection: async (collection, indexes = []) => {
      checkCollectionName(collection);
      checkIndexes(indexes);
      await executor.execute({ op: 'createCollection', database, collection, indexes });
    },
    renameCollection: async (collection, to) => {
      checkCollectionName(collection);
      checkCollectionName(to);
      await executor.execute({ op: 'renameCollection', database, collection, to });
    },
    copyIndexes: async (collection, to) => {
      checkCollectionName(collection);
      checkCollectionName(to);
      await executor.execute({ op: 'copyIndexes', database, collection, to });
    },
    dropCollection: async (collection) => {
      checkCollectionName(collection);
      await executor.execute({ op: 'dropCollection', database, collection });
    },
    listCollections: async (prefix = '') => {
      if (prefix !== '') checkCollectionName(prefix);
      return executor.execute({ op: 'listCollections', database, prefix });
    },
    drop: async () => {
      await executor.execute({ op: 'dropDatabase', database });
    },
  };
}

function createCollection<T extends Document>(executor: Executor, database: string, collection: string): Collection<T> {
  checkCollectionName(collection);
  const find = async (filter: Filter, { limit = BATCH_LIMIT, sort, projection }: FindOptions = {}): Promise<T[]> => {
    checkFilter(filter);
    checkLimit(limit);
    checkSort(sort);
    checkProjection(projection);
    const found = await executor.execute({
      op: 'find',
      database,
      collection,
      filter,
      limit,
      ...(sort && { sort }),
      ...(projection && { projection }),
    });
    return found as T[];
  };

  return {
    name: collection,
    insertOne: async (document) => {
      checkDocument(document);
      await executor.execute({ op: 'insertOne', database, collection, document });
    },
    insertMany: async (documents) => {
      checkLimit(documents.length);
      documents.forEach(checkDocument);
      return executor.execute({ op: 'insertMany', database, collection, documents });
    },
    findOne: async (filter, options) => (await find(filter, { ...options, limit: 1 }))[0],
    find,
    updateOne: async (filter, update, { upsert = false } = {}) => {
      checkFilter(filter);
      checkUpdate(update, filter, upsert);
      return executor.execute({ op: 'updateOne', database, collection, filter, update, upsert });
    },
    findOneAndUpdate: async (filter, update, { upsert = false, returnDocument = 'after' } = {}) => {
      checkFilter(filter);
      checkUpdate(update, filter, upsert);
      const command = { op: 'findOneAndUpdate', database, collection, filter, update, upsert, returnDocument } as const;
      return ((await executor.execute(command)) as T | null) ?? undefined;
    },
    replaceOne: async (filter, document) => {
      checkFilter(filter);
      checkDocument(document);
      return executor.execute({ op: 'replaceOne', database, collection, filter, document });
    },
    deleteOne: async (filter) => {
      checkFilter(filter);
      return executor.execute({ op: 'deleteOne', database, collection, filter });
    },
    deleteMany: async (filter) => {
      checkFilter(filter);
      return executor.execute({ op: 'deleteMany', database, collection, filter });
    },
    count: async (filter, { limit } = {}) => {
      checkFilter(filter);
      return executor.execute({ op: 'count', database, collection, filter, ...(limit !== undefined && { limit }) });
    },
    ensureIndexes: async (indexes) => {
      checkIndexes(indexes);
      await executor.execute({ op: 'ensureIndexes', database, collection, indexes });
    },
    digests: async (which) => {
      if ('ids' in which) checkIds(which.ids);
      else checkLimit(which.limit);
      return executor.execute({ op: 'digestDocuments', database, collection, which });
    },
    copyTo: async (to, documents) => {
      checkCollectionName(to);
      checkIds(documents.map(({ id }) => id));
      return executor.execute({ op: 'copyDocuments', database, collection, to, documents });
    },
    deleteDigested: async (documents) => {
      checkIds(documents.map(({ id }) => id));
      return executor.execute({ op: 'deleteDocuments', database, collection, documents });
    },
  };
}
