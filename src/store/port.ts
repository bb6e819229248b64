/**
 * The document-store port: the small subset of MongoDB that the service needs, in MongoDB's own words.
 *
 * An adapter implements one function, {@link Executor.execute}, over plain {@link Command} objects. That is what
 * makes it cheap to wrap (faults, metrics) and to carry across a Durable Object's RPC. `createStore` in store.ts
 * puts the typed face on it that the domain uses, and refuses there, for every adapter alike, whatever is outside
 * the subset.
 */

/** What a comparison can be made with. Objects and arrays are stored, but compared by their fields. */
export type Scalar = null | boolean | number | string | Date;

/** What a field can hold: JSON and Date. Numbers are finite; strings are well-formed Unicode. */
export type Value = Scalar | readonly Value[] | { readonly [field: string]: Value };

/** A stored document. `_id` is a string that the service makes. */
export type Document = { readonly _id: string } & { readonly [field: string]: Value };

/** Operators on one field. Ranges compare within a type only, as MongoDB's do; `$eq: null` also finds the missing. */
export type Condition = {
  readonly $eq?: Scalar;
  readonly $ne?: Scalar;
  readonly $gt?: number | string | Date;
  readonly $gte?: number | string | Date;
  readonly $lt?: number | string | Date;
  readonly $lte?: number | string | Date;
  readonly $in?: readonly Scalar[];
};

/** Field paths (dotted for nested fields) to a value or a condition, with `$and` of further filters. */
export type Filter = { readonly [path: string]: Scalar | Condition | readonly Filter[] };

/** Field paths (dotted) to what becomes of them. Two paths of one update never overlap; `_id` never changes. */
export type Update = {
  readonly $set?: { readonly [path: string]: Value };
  readonly $unset?: { readonly [path: string]: true };
  readonly $inc?: { readonly [path: string]: number };
  /** Applied only when an upsert inserts. */
  readonly $setOnInsert?: { readonly [path: string]: Value };
};

/**
 * Fields that hold scalars, in order of weight; 1 ascending, -1 descending, in BSON's order of types, and strings by
 * code point.
 */
export type Sort = { readonly [field: string]: 1 | -1 };

/** Top-level fields to return; `_id` always comes along. */
export type Projection = { readonly [field: string]: 1 };

/** An index over top-level fields that hold scalars. A unique one treats a missing field as null, as MongoDB does. */
export type Index = {
  readonly name: string;
  readonly key: Sort;
  readonly unique?: boolean;
  /** Documents may be removed by the store this long after the Date in the (single) field: a convenience only. */
  readonly expireAfterSeconds?: number;
};

/** Documents one `find` returns at most, and names one `listCollections` takes at most. */
export const BATCH_LIMIT = 1000;

export type FindOptions = {
  readonly limit?: number;
  readonly sort?: Sort | undefined;
  readonly projection?: Projection | undefined;
};

/** A collection that is there. */
export type CollectionEntry = {
  readonly name: string;
  /**
   * What tells this collection from any other of the same name, before or after it, and stays when it is renamed
   * (MongoDB's UUID); null where the server does not say.
   */
  readonly id: string | null;
};

/** A collection, by its names: it may be there or not. */
export type Namespace = { readonly database: string; readonly collection: string };

type Change = Namespace & { readonly filter: Filter; readonly update: Update; readonly upsert: boolean };

/** Every operation of the port, as data. */
export type Operation =
  | { readonly op: 'ping' }
  | ({ readonly op: 'createCollection'; readonly indexes: readonly Index[] } & Namespace)
  | ({ readonly op: 'renameCollection'; readonly to: string } & Namespace)
  | ({ readonly op: 'mergeCollection'; readonly to: string } & Namespace)
  | ({ readonly op: 'dropCollection' } & Namespace)
  | { readonly op: 'listCollections'; readonly database: string; readonly names?: readonly string[] | undefined }
  | { readonly op: 'dropDatabase'; readonly database: string }
  | ({ readonly op: 'insertOne'; readonly document: Document } & Namespace)
  | ({ readonly op: 'find'; readonly filter: Filter } & FindOptions & { readonly limit: number } & Namespace)
  | ({ readonly op: 'updateOne' } & Change)
  | ({ readonly op: 'findOneAndUpdate' } & Change)
  | ({ readonly op: 'replaceOne'; readonly filter: Filter; readonly document: Document } & Namespace)
  | ({ readonly op: 'deleteOne'; readonly filter: Filter } & Namespace)
  | ({ readonly op: 'deleteMany'; readonly filter: Filter } & Namespace)
  | ({ readonly op: 'count'; readonly filter: Filter; readonly limit?: number | undefined } & Namespace);

/** An operation, and how long it may take, in milliseconds; left out: as long as the adapter lets any. */
export type Command = Operation & { readonly timeoutMs?: number | undefined };

/** What each operation resolves to. */
export type Results = {
  ping: null;
  /** Whether it may have been made by this call; false: it was there before. The indexes are ensured either way. */
  createCollection: boolean;
  renameCollection: null;
  mergeCollection: MergeResult;
  /** Also when it was not there. */
  dropCollection: null;
  /** In order of names, by code points: all of them, or those of the given names that are there. */
  listCollections: CollectionEntry[];
  dropDatabase: null;
  insertOne: null;
  find: Document[];
  updateOne: UpdateResult;
  /** The document as the update left it. */
  findOneAndUpdate: Document | null;
  replaceOne: UpdateResult;
  deleteOne: number;
  deleteMany: number;
  /** With an empty filter and no limit: the store's own estimate, which costs the same however many there are. */
  count: number;
};

export type Op = keyof Results;
export type CommandOf<O extends Op> = Extract<Command, { op: O }>;

/** Operations without an effect. */
export const READS: ReadonlySet<Op> = new Set<Op>(['ping', 'find', 'count', 'listCollections']);

/** What a lost reply means: nothing for a read, an unknown outcome for a write. */
export const lostReply = (op: Op): StoreErrorCode => (READS.has(op) ? 'Unavailable' : 'OutcomeUnknown');

export type UpdateResult = { matched: number; upserted: boolean };

/**
 * How many documents of the one collection are not in the other, equal in every byte, after whatever was absent there
 * was put in: their `_id`, or another unique key, is taken, or the other one's rules refuse them.
 */
export type MergeResult = { left: number };

/** What an adapter is. */
export interface Executor {
  /**
   * Runs one command, atomically for the document it writes.
   * @throws {StoreError} and nothing else: no driver's error leaves an adapter.
   */
  execute<O extends Op>(command: CommandOf<O>): Promise<Results[O]>;
  /** The most bytes one stored document may take, and what one would take in this store's encoding. */
  readonly limits: { readonly documentBytes: number; measure(document: Document): number };
  close(): Promise<void>;
}

export type StoreErrorCode =
  /** A unique index (named in `index`; `_id_` for the id) has this key already. */
  | 'DuplicateKey'
  /** The collection to rename is not there. */
  | 'NamespaceNotFound'
  /** The name to rename to is in use. */
  | 'NamespaceExists'
  /** The document is over {@link Executor.limits}, or would be after the update. */
  | 'DocumentTooLarge'
  /** The command is outside the port's subset, or does not fit the stored document. A mistake of the caller. */
  | 'InvalidArgument'
  /** The server refuses this operation here for good: a missing privilege, no such command, a bound on collections. */
  | 'NotPermitted'
  /** Nothing happened; try again later. */
  | 'Unavailable'
  /** It may have happened, or still happen: read back. */
  | 'OutcomeUnknown';

/** The only error an adapter throws. Its message is the port's own words, never a driver's. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;
  /** For DuplicateKey: the index that has the key already. */
  readonly index: string | undefined;

  constructor(code: StoreErrorCode, message: string, options: { index?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.index = options.index;
  }
}

/** Whether an error is the port's, and of one of these codes. */
export const isStoreError = (error: unknown, ...codes: StoreErrorCode[]): error is StoreError =>
  error instanceof StoreError && (codes.length === 0 || codes.includes(error.code));
