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
  readonly $exists?: boolean;
};

/** Field paths (dotted for nested fields) to a value or a condition, with `$and` and `$or` of further filters. */
export type Filter = { readonly [path: string]: Scalar | Condition | readonly Filter[] };

/** Field paths (dotted) to what becomes of them. Two paths of one update never overlap; `_id` never changes. */
export type Update = {
  readonly $set?: { readonly [path: string]: Value };
  readonly $unset?: { readonly [path: string]: true };
  readonly $inc?: { readonly [path: string]: number };
  /** Applied only when an upsert inserts. */
  readonly $setOnInsert?: { readonly [path: string]: Value };
};

/** Fields in order of weight; 1 ascending, -1 descending, in BSON's order of types and strings by code point. */
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

/** Documents one `find` returns at most, and one `insertMany` takes at most; the same for digests and copies. */
export const BATCH_LIMIT = 1000;

/**
 * A stored document of whatever kind, known by two texts: its id as canonical Extended JSON, which may be of any type
 * that the store has, and a SHA-256 (hex) of its bytes as they are stored.
 */
export type DocumentDigest = { readonly id: string; readonly digest: string };

/** Which documents to digest: the ones after an id (null: from the start) in the order of the ids, or these. */
export type DigestSelection =
  | { readonly after: string | null; readonly limit: number }
  | { readonly ids: readonly string[] };

/** A document to copy. */
export type CopyRequest = {
  readonly id: string;
  /** Copied only while it has this digest; null: as it is. */
  readonly digest: string | null;
  /** What it may replace: a document of its id with this digest; null: nothing, there must be none. */
  readonly over: string | null;
};

type In = { readonly database: string; readonly collection: string };

/** Every operation of the port, as data. */
export type Command =
  | { readonly op: 'ping' }
  | ({ readonly op: 'createCollection'; readonly indexes: readonly Index[] } & In)
  | ({ readonly op: 'ensureIndexes'; readonly indexes: readonly Index[] } & In)
  | ({ readonly op: 'renameCollection'; readonly to: string } & In)
  | ({ readonly op: 'dropCollection' } & In)
  | { readonly op: 'listCollections'; readonly database: string; readonly prefix: string }
  | { readonly op: 'dropDatabase'; readonly database: string }
  | ({ readonly op: 'insertOne'; readonly document: Document } & In)
  | ({ readonly op: 'insertMany'; readonly documents: readonly Document[] } & In)
  | ({
      readonly op: 'find';
      readonly filter: Filter;
      readonly limit: number;
      readonly sort?: Sort;
      readonly projection?: Projection;
    } & In)
  | ({ readonly op: 'updateOne'; readonly filter: Filter; readonly update: Update; readonly upsert: boolean } & In)
  | ({
      readonly op: 'findOneAndUpdate';
      readonly filter: Filter;
      readonly update: Update;
      readonly upsert: boolean;
      readonly returnDocument: 'before' | 'after';
    } & In)
  | ({ readonly op: 'replaceOne'; readonly filter: Filter; readonly document: Document } & In)
  | ({ readonly op: 'deleteOne'; readonly filter: Filter } & In)
  | ({ readonly op: 'deleteMany'; readonly filter: Filter } & In)
  | ({ readonly op: 'count'; readonly filter: Filter; readonly limit?: number } & In)
  | ({ readonly op: 'digestDocuments'; readonly which: DigestSelection } & In)
  | ({ readonly op: 'copyDocuments'; readonly to: string; readonly documents: readonly CopyRequest[] } & In)
  | ({ readonly op: 'deleteDocuments'; readonly documents: readonly DocumentDigest[] } & In)
  | ({ readonly op: 'copyIndexes'; readonly to: string } & In);

/** What each operation resolves to. */
export type Results = {
  ping: null;
  /** Also when it was there already: the indexes are ensured either way. */
  createCollection: null;
  ensureIndexes: null;
  renameCollection: null;
  /** Also when it was not there. */
  dropCollection: null;
  /** Names, in order of code points. */
  listCollections: string[];
  dropDatabase: null;
  insertOne: null;
  insertMany: InsertManyResult;
  find: Document[];
  updateOne: UpdateResult;
  findOneAndUpdate: Document | null;
  replaceOne: UpdateResult;
  deleteOne: number;
  deleteMany: number;
  count: number;
  digestDocuments: DigestPage;
  copyDocuments: CopyResult;
  /** How many were removed: of these ids, and still of these digests. */
  deleteDocuments: number;
  /** Every index of the one, of whatever kind, is on the other, which is made when it is not there. */
  copyIndexes: null;
};

export type Op = keyof Results;
export type CommandOf<O extends Op> = Extract<Command, { op: O }>;

/** Documents are inserted independently of one another: one that clashes is reported, the others go in. */
export type InsertManyResult = { inserted: number; duplicates: { _id: string; index: string }[] };

/** Digests of up to `limit` documents, fewer when they are large; `next` is what to go on after, null at the end. */
export type DigestPage = { documents: DocumentDigest[]; next: string | null };

/** What became of each document that was to be copied, whole and byte for byte. */
export type CopyResult = {
  /** There now, as it was read, with its digest; also when it was there already. */
  copied: DocumentDigest[];
  /** Not copied: under its id is something else than what it may replace. */
  kept: string[];
  /** Not copied: another document has its key in a unique index, or the store's driver would bend it. */
  refused: string[];
  /** Not copied: it is not in the collection any more, or has another digest. */
  gone: string[];
};

export type UpdateResult = { matched: number; upserted: boolean };

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
  /** The server refuses this operation here for good: a missing privilege, a sharded collection, no such command. */
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
