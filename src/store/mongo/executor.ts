/** The port over MongoDB's official driver: a near pass-through. For MongoDB 4.4 and newer, and what speaks like it. */
import type {
  Collection,
  CreateIndexesOptions,
  IndexSpecification,
  MongoClientOptions,
  Document as MongoDocument,
} from 'mongodb';
import { BSON, MongoClient } from 'mongodb';
import { copyDocuments, copyIndexes, deleteDocuments, digestDocuments } from './mongo/documents.ts';
import { clashesIn, duplicateIndex, isCode, MONGO_CODE, storeError } from './mongo/errors.ts';
import type { Command, CommandOf, Document, Executor, Index, InsertManyResult, Op, Results } from './port.ts';
import { StoreError } from './port.ts';

/** MongoDB's limit on a stored document. */
export const MONGO_DOCUMENT_BYTES = 16 * 1024 * 1024;

/** How often a server that is away is looked for, in milliseconds: the driver's own minimum. */
const HEARTBEAT_MS = 500;

const POOL_SIZE = 50;

const CONDITIONAL_WRITES: ReadonlySet<Op> = new Set<Op>(['updateOne', 'findOneAndUpdate', 'replaceOne', 'deleteOne']);

export type MongoOptions = {
  readonly uri: string;
  /** After this many milliseconds without an answer, a command is given up. */
  readonly timeoutMs: number;
};

/** What the document takes in this store: the bytes of its BSON. */
export const measureBson = (document: Document): number => BSON.calculateObjectSize(document);

/** An executor with a pooled client of its own. Connects at the first command; a server that comes back is found. */
export function createMongoExecutor({ uri, timeoutMs }: MongoOptions): Executor {
  const client = connectLazily(uri, timeoutMs);
  const collectionOf = (command: { database: string; collection: string }): Collection<MongoDocument> =>
    client().db(command.database).collection(command.collection);

  let atomic: boolean | undefined;
  /** Whether the server makes conditional writes atomic. FerretDB 1 looks for the document, then writes it. */
  const isAtomic = async (): Promise<boolean> => {
    atomic ??= !('ferretdbVersion' in (await client().db('admin').command({ buildInfo: 1 })));
    return atomic;
  };

  const handlers: { [O in Op]: (command: CommandOf<O>) => Promise<Results[O]> } = {
    ping: async () => {
      await client().db('admin').command({ ping: 1 });
      return null;
    },
    createCollection: async (command) => {
      try {
        await client().db(command.database).createCollection(command.collection);
      } catch (error) {
        // Older servers refuse where newer ones find it made.
        if (!isCode(error, MONGO_CODE.namespaceExists)) throw error;
      }
      await ensureIndexes(collectionOf(command), command.indexes);
      return null;
    },
    ensureIndexes: async (command) => {
      await ensureIndexes(collectionOf(command), command.indexes);
      return null;
    },
    renameCollection: async (command) => {
      if (command.collection === command.to) {
        throw new StoreError('InvalidArgument', 'A collection is not renamed to itself.');
      }
      await client().db(command.database).renameCollection(command.collection, command.to);
      return null;
    },
    dropCollection: async (command) => {
      try {
        await client().db(command.database).dropCollection(command.collection);
      } catch (error) {
        if (!isCode(error, MONGO_CODE.namespaceNotFound)) throw error;
      }
      return null;
    },
    listCollections: async ({ database, prefix }) => {
      const named = prefix === '' ? {} : { name: { $regex: `^${prefix}` } };
      const found = await client().db(database).listCollections(named, { nameOnly: true }).toArray();
      return found
        .map(({ name }) => name)
        .filter((name) => name.startsWith(prefix))
        .sort();
    },
    dropDatabase: async ({ database }) => {
      await client().db(database).dropDatabase();
      return null;
    },
    insertOne: async (command) => {
      await collectionOf(command).insertOne(command.document as unknown as MongoDocument);
      return null;
    },
    insertMany: (command) => insertMany(collectionOf(command), command.documents),
    find: async (command) => {
      const options = { limit: command.limit, singleBatch: command.limit === 1, ...pick(command) };
      return (await collectionOf(command)
        .find(command.filter as MongoDocument, options)
        .toArray()) as unknown as Document[];
    },
    updateOne: async (command) => {
      const { filter, update, upsert } = command;
      const result = await collectionOf(command).updateOne(filter as MongoDocument, update as MongoDocument, {
        upsert,
      });
      return { matched: result.matchedCount, upserted: result.upsertedCount > 0 };
    },
    findOneAndUpdate: async (command) => {
      const { filter, update, upsert, returnDocument } = command;
      const found = await collectionOf(command).findOneAndUpdate(filter as MongoDocument, update as MongoDocument, {
        upsert,
        returnDocument,
      });
      return found as unknown as Document | null;
    },
    replaceOne: async (command) => {
      const { _id, ...replacement } = command.document;
      const found = await collectionOf(command).replaceOne(
        command.filter as MongoDocument,
        { _id, ...replacement } as unknown as MongoDocument,
      );
      return { matched: found.matchedCount, upserted: false };
    },
    deleteOne: async (command) => (await collectionOf(command).deleteOne(command.filter as MongoDocument)).deletedCount,
    deleteMany: async (command) =>
      (await collectionOf(command).deleteMany(command.filter as MongoDocument)).deletedCount,
    count: async (command) =>
      collectionOf(command).countDocuments(
        command.filter as MongoDocument,
        command.limit === undefined ? {} : { limit: command.limit },
      ),
    digestDocuments: (command) => digestDocuments(collectionOf(command), command.which),
    copyDocuments: async (command) => {
      const target = collectionOf({ ...command, collection: command.to });
      return copyDocuments(collectionOf(command), target, command.documents, await isAtomic());
    },
    deleteDocuments: async (command) => deleteDocuments(collectionOf(command), command.documents, await isAtomic()),
    copyIndexes: async (command) => {
      await copyIndexes(client().db(command.database), command.collection, command.to);
      return null;
    },
  };

  const turns = createTurns(isAtomic);
  return {
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      try {
        await client.connect();
        const run = () => handlers[command.op as O](command);
        return CONDITIONAL_WRITES.has(command.op) ? await turns(command, run) : await run();
      } catch (error) {
        throw storeError(error, command.op);
      }
    },
    limits: { documentBytes: MONGO_DOCUMENT_BYTES, measure: measureBson },
    close: () => client.close(),
  };
}

/**
 * Lets conditional writes take turns where the server does not make them atomic. That holds for one instance of the
 * service only, so such a server is for one instance only.
 */
function createTurns(isAtomic: () => Promise<boolean>) {
  const last = new Map<string, Promise<unknown>>();
  return async <T>(command: Command, run: () => Promise<T>): Promise<T> => {
    if (!('collection' in command) || (await isAtomic())) return run();
    const namespace = `${command.database}.${command.collection}`;
    const turn = (last.get(namespace) ?? Promise.resolve()).then(run, run);
    last.set(namespace, turn);
    try {
      return await turn;
    } finally {
      if (last.get(namespace) === turn) last.delete(namespace);
    }
  };
}

type LazyClient = (() => MongoClient) & { connect(): Promise<void>; close(): Promise<void> };

/** A client that is made when it is first needed, so that a wrong address is an error of a command, not of an import. */
function connectLazily(uri: string, timeoutMs: number): LazyClient {
  let client: MongoClient | undefined;
  let connected: Promise<unknown> | undefined;
  let closed = false;
  const options: MongoClientOptions = {
    appName: 'tenantry',
    maxPoolSize: POOL_SIZE,
    serverSelectionTimeoutMS: timeoutMs,
    connectTimeoutMS: timeoutMs,
    socketTimeoutMS: timeoutMs,
    waitQueueTimeoutMS: timeoutMs,
    heartbeatFrequencyMS: HEARTBEAT_MS,
    // A stream of heartbeats would notice a frozen server only by its own, longer timeout.
    serverMonitoringMode: 'poll',
    writeConcern: { w: 'majority' },
  };
  const get = () => {
    if (closed) throw new StoreError('Unavailable', 'The store is closed.');
    client ??= new MongoClient(uri, options);
    return client;
  };
  return Object.assign(get, {
    // Left to itself, the driver tries its first connection once, and is closed for good when the server is away then.
    connect: async () => {
      connected ??= get()
        .connect()
        .catch((error: unknown) => {
          connected = undefined;
          throw error;
        });
      await connected;
    },
    close: async () => {
      closed = true;
      await client?.close();
    },
  });
}

const pick = ({ sort, projection }: CommandOf<'find'>) => ({
  ...(sort && { sort }),
  ...(projection && { projection }),
});

async function ensureIndexes(collection: Collection<MongoDocument>, indexes: readonly Index[]): Promise<void> {
  for (const { name, key, unique, expireAfterSeconds } of indexes) {
    const options: CreateIndexesOptions = { name, ...(unique && { unique }) };
    try {
      const expiring = expireAfterSeconds === undefined ? options : { ...options, expireAfterSeconds };
      await collection.createIndex(key as IndexSpecification, expiring);
    } catch (error) {
      // A server without expiring indexes gets a plain one: expiry is checked on read all the same.
      if (expireAfterSeconds === undefined || !isCode(error, ...MONGO_CODE.unsupported)) throw error;
      await collection.createIndex(key as IndexSpecification, options);
    }
  }
}

async function insertMany(
  collection: Collection<MongoDocument>,
  documents: readonly Document[],
): Promise<InsertManyResult> {
  try {
    const { insertedCount } = await collection.insertMany(documents as unknown as MongoDocument[], { ordered: false });
    return { inserted: insertedCount, duplicates: [] };
  } catch (error) {
    const failures = clashesIn(error);
    return {
      inserted: documents.length - failures.length,
      duplicates: failures.map((failure) => ({
        _id: documents[failure.index]?._id ?? '',
        index: duplicateIndex(failure.errmsg),
      })),
    };
  }
}
