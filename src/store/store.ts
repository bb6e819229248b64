import type {
  CollectionEntry,
  CommandOf,
  Document,
  Executor,
  Filter,
  FindOptions,
  Index,
  MergeResult,
  Namespace,
  Op,
  Operation,
  Results,
  Update,
  UpdateResult,
} from './port.ts';
import { BATCH_LIMIT, StoreError } from './port.ts';
import {
  checkCollectionName,
  checkDatabaseName,
  checkDocument,
  checkFilter,
  checkIndexes,
  checkLimit,
  checkProjection,
  checkSort,
  checkUpdate,
} from './subset.ts';

/** The milliseconds that are left for what is under way; undefined: there is no bound but the adapter's own. */
export type TimeLeft = () => number | undefined;

type Upsert = { readonly upsert?: boolean };

type Run = <O extends Op>(operation: Extract<Operation, { op: O }>) => Promise<Results[O]>;

/**
 * A store of documents: the port's typed face, the same over every adapter. Every method may throw a StoreError. What
 * is outside the port's subset is refused here, before the adapter.
 */
export class Store {
  readonly #executor: Executor;
  readonly #run: Run;

  constructor(executor: Executor, timeLeft?: TimeLeft) {
    this.#executor = executor;
    this.#run = async (operation) => {
      const timeoutMs = timeLeft?.();
      if (timeoutMs !== undefined && timeoutMs <= 0) throw new StoreError('Unavailable', 'The time for this is up.');
      return executor.execute({ ...operation, timeoutMs } as unknown as CommandOf<never>);
    };
  }

  /** The same store, for work that has so much time: a call that would begin after that is Unavailable. */
  within(timeLeft: TimeLeft): Store {
    return new Store(this.#executor, timeLeft);
  }

  /** Databases and collections are names only: nothing is made, and nothing is asked of the store. */
  database(name: string): Database {
    checkDatabaseName(name);
    return new Database(this.#run, name);
  }

  /** Resolves when the store answers. */
  async ping(): Promise<void> {
    await this.#run({ op: 'ping' });
  }

  close(): Promise<void> {
    return this.#executor.close();
  }
}

export class Database {
  readonly name: string;
  readonly #run: Run;

  constructor(run: Run, name: string) {
    this.#run = run;
    this.name = name;
  }

  collection<T extends Document = Document>(name: string): Collection<T> {
    checkCollectionName(name);
    return new Collection<T>(this.#run, this.name, name);
  }

  /**
   * Makes the collection, or finds it made, and ensures its indexes.
   * @returns false when it was certainly there before
   */
  async createCollection(collection: string, indexes: readonly Index[] = []): Promise<boolean> {
    checkCollectionName(collection);
    checkIndexes(indexes);
    return this.#run({ op: 'createCollection', database: this.name, collection, indexes });
  }

  /** Renames, with documents and indexes, in one step. @throws NamespaceNotFound, NamespaceExists, NotPermitted */
  async renameCollection(collection: string, to: string): Promise<void> {
    checkCollectionName(collection);
    checkCollectionName(to);
    if (collection === to) throw new StoreError('InvalidArgument', 'A collection is not renamed to itself.');
    await this.#run({ op: 'renameCollection', database: this.name, collection, to });
  }

  /**
   * Puts into `to` every document of `collection` whose `_id` is not there, byte for byte and whatever its types, and
   * every index and rule of `collection` that `to` lacks. `collection` stays as it is. May be cut off and repeated.
   */
  async mergeCollection(collection: string, to: string): Promise<MergeResult> {
    checkCollectionName(collection);
    checkCollectionName(to);
    return this.#run({ op: 'mergeCollection', database: this.name, collection, to });
  }

  /** Drops the collection, or finds it gone. */
  async dropCollection(collection: string): Promise<void> {
    checkCollectionName(collection);
    await this.#run({ op: 'dropCollection', database: this.name, collection });
  }

  /** The collections that are there, in order of names: all, or those of up to 1000 names. */
  async listCollections(names?: readonly string[]): Promise<CollectionEntry[]> {
    if (names?.length === 0) return [];
    checkLimit(names?.length ?? 1);
    names?.forEach(checkCollectionName);
    return this.#run({ op: 'listCollections', database: this.name, names });
  }

  async drop(): Promise<void> {
    await this.#run({ op: 'dropDatabase', database: this.name });
  }
}

/** A collection that is not there reads as an empty one, and is made by the first insert, as in MongoDB. */
export class Collection<T extends Document = Document> {
  readonly name: string;
  readonly #run: Run;
  readonly #in: Namespace;

  constructor(run: Run, database: string, name: string) {
    this.#run = run;
    this.name = name;
    this.#in = { database, collection: name };
  }

  /** @throws DuplicateKey, DocumentTooLarge */
  async insertOne(document: T): Promise<void> {
    checkDocument(document);
    await this.#run({ op: 'insertOne', ...this.#in, document });
  }

  async findOne(filter: Filter, options: Omit<FindOptions, 'limit'> = {}): Promise<T | undefined> {
    return (await this.find(filter, { ...options, limit: 1 }))[0];
  }

  /** At most `limit` documents (1000 when left out). Page by a filter on the sort's fields. */
  async find(filter: Filter, { limit = BATCH_LIMIT, sort, projection }: FindOptions = {}): Promise<T[]> {
    checkFilter(filter);
    checkLimit(limit);
    checkSort(sort);
    checkProjection(projection);
    return (await this.#run({ op: 'find', ...this.#in, filter, limit, sort, projection })) as T[];
  }

  /** An upsert's filter has an `_id` by equality. @throws DuplicateKey, DocumentTooLarge */
  async updateOne(filter: Filter, update: Update, { upsert = false }: Upsert = {}): Promise<UpdateResult> {
    checkFilter(filter);
    checkUpdate(update, filter, upsert);
    return this.#run({ op: 'updateOne', ...this.#in, filter, update, upsert });
  }

  /** The document as the update left it. */
  async findOneAndUpdate(filter: Filter, update: Update, { upsert = false }: Upsert = {}): Promise<T | undefined> {
    checkFilter(filter);
    checkUpdate(update, filter, upsert);
    const found = await this.#run({ op: 'findOneAndUpdate', ...this.#in, filter, update, upsert });
    return (found as T | null) ?? undefined;
  }

  async replaceOne(filter: Filter, document: T): Promise<UpdateResult> {
    checkFilter(filter);
    checkDocument(document);
    return this.#run({ op: 'replaceOne', ...this.#in, filter, document });
  }

  /** The number removed: 0 or 1. */
  async deleteOne(filter: Filter): Promise<number> {
    checkFilter(filter);
    return this.#run({ op: 'deleteOne', ...this.#in, filter });
  }

  async deleteMany(filter: Filter): Promise<number> {
    checkFilter(filter);
    return this.#run({ op: 'deleteMany', ...this.#in, filter });
  }

  /** With an empty filter and no limit: an estimate, which costs the same however many documents there are. */
  async count(filter: Filter, { limit }: { limit?: number } = {}): Promise<number> {
    checkFilter(filter);
    return this.#run({ op: 'count', ...this.#in, filter, limit });
  }
}

export const createStore = (executor: Executor): Store => new Store(executor);
