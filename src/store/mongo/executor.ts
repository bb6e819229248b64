/** The port over MongoDB's official driver: a near pass-through. For MongoDB 4.4 and newer, and compatible servers. */
import type { Collection, CollectionInfo, MongoClientOptions, UpdateFilter } from 'mongodb';
import { BSON, MongoClient } from 'mongodb';
import { compareStrings } from '../order.ts';
import type { CommandOf, Document, Executor, Namespace, Op, Results } from '../port.ts';
import { BATCH_LIMIT, lostReply } from '../port.ts';
import { CallLimiter } from './call-limiter.ts';
import { errorOf, isCode, MONGO_CODE, storeError } from './errors.ts';
import type { WriteOptions } from './merge.ts';
import { mergeCollection } from './merge.ts';

/** MongoDB's limit on a stored document. */
export const MONGO_DOCUMENT_BYTES = 16 * 1024 * 1024;

/** How often a server that is away is looked for, in milliseconds: the driver's own minimum. */
const HEARTBEAT_MS = 500;

const POOL_SIZE = 50;

/** Given with each write, and not to the client, where a URI could change it and each read would pay for it. */
const MAJORITY = { w: 'majority', j: true } as const;

type MongoOptions = {
  /** One that `checkMongoUri` finds nothing wrong with. */
  readonly uri: string;
  /** How long a command takes at most, in milliseconds, where it does not say so itself. */
  readonly timeoutMs: number;
  /** The most connections for commands. The driver's monitor has another one for each server. */
  readonly poolSize?: number;
};

/** What the document takes in this store: the bytes of its BSON. */
export const measureBson = (document: Document): number => BSON.calculateObjectSize(document);

/**
 * An executor with a pooled client of its own. Connects at the first command; a server that comes back is found. A
 * command ends within its time, and the server is told to stop after it (maxTimeMS), except where it makes indexes. A
 * merge has no time of its own, but each of its calls has the executor's. The driver's `timeoutMS` has no effect since
 * 7.9.
 */
export function createMongoExecutor({ uri, timeoutMs, poolSize = POOL_SIZE }: MongoOptions): Executor {
  const client = new MongoClient(uri, clientOptions(timeoutMs, poolSize));
  const limiter = new CallLimiter(poolSize);
  let connected = false;
  let closed = false;

  /**
   * Left to itself, the driver connects at the first command only, and is closed for good when the server is away then.
   * The result is kept here, not the promise: on Workers it would be another request's.
   */
  const connect = async (): Promise<void> => {
    try {
      await client.connect();
      connected = true;
    } catch (error) {
      throw errorOf('Unavailable', error);
    }
  };

  return {
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      if (closed) throw errorOf('Unavailable');
      const time = command.op === 'mergeCollection' ? undefined : (command.timeoutMs ?? timeoutMs);
      const deadline = performance.now() + (time ?? Number.POSITIVE_INFINITY);
      let sent = false;
      let isLate = false;
      const work = async (): Promise<Results[O]> => {
        if (!connected) await connect();
        const msLeft = Math.min(deadline - performance.now(), timeoutMs);
        // The caller was told that nothing happened.
        if (isLate || msLeft <= 0) throw errorOf('Unavailable');
        sent = true;
        const maxTimeMS = Math.ceil(msLeft);
        const call = { client, reading: { maxTimeMS }, writing: { maxTimeMS, writeConcern: MAJORITY } };
        return HANDLERS[command.op as O](call, command);
      };
      const late = () => {
        isLate = true;
        return errorOf(sent ? lostReply(command.op) : 'Unavailable');
      };
      try {
        return await limiter.run(time, work, late);
      } catch (error) {
        throw storeError(error, command.op);
      }
    },
    limits: { documentBytes: MONGO_DOCUMENT_BYTES, measure: measureBson },
    close: async () => {
      closed = true;
      await client.close();
    },
  };
}

const clientOptions = (timeoutMs: number, poolSize: number): MongoClientOptions => ({
  appName: 'tenantry',
  readPreference: 'primary',
  maxPoolSize: poolSize,
  serverSelectionTimeoutMS: timeoutMs,
  connectTimeoutMS: timeoutMs,
  socketTimeoutMS: timeoutMs,
  waitQueueTimeoutMS: timeoutMs,
  heartbeatFrequencyMS: HEARTBEAT_MS,
  // A stream of heartbeats would notice a frozen server only by its own, longer timeout.
  serverMonitoringMode: 'poll',
});

/** The client, and the options of what reads and of what writes. */
type Call = {
  readonly client: MongoClient;
  readonly reading: { readonly maxTimeMS: number };
  readonly writing: WriteOptions;
};

const collectionOf = ({ client }: Call, { database, collection }: Namespace): Collection<Document> =>
  client.db(database).collection<Document>(collection);

const HANDLERS: { readonly [O in Op]: (call: Call, command: CommandOf<O>) => Promise<Results[O]> } = {
  ping: async (call) => {
    await call.client.db('admin').command({ ping: 1, ...call.reading });
    return null;
  },
  createCollection: async (call, command) => {
    const made = await createCollection(call, command);
    const { database, collection, indexes } = command;
    // On a large collection it takes minutes. Without a limit, the server goes on when the caller has given up, and the
    // next call finds the indexes made.
    const { writeConcern } = call.writing;
    if (indexes.length > 0)
      await call.client.db(database).command({ createIndexes: collection, indexes, writeConcern });
    return made;
  },
  renameCollection: async (call, { database, collection, to }) => {
    await call.client.db(database).renameCollection(collection, to, call.writing);
    return null;
  },
  mergeCollection: (call, { database, collection, to }) =>
    mergeCollection(call.client.db(database), collection, to, call.writing),
  dropCollection: async (call, { database, collection }) => {
    try {
      await call.client.db(database).dropCollection(collection, call.writing);
    } catch (error) {
      // Newer servers do not mind.
      if (!isCode(error, MONGO_CODE.namespaceNotFound)) throw error;
    }
    return null;
  },
  listCollections: async (call, { database, names }) => {
    // By names and not by a pattern, for which the server would walk its whole catalogue.
    const filter = names === undefined ? {} : { name: names.length === 1 ? names[0] : { $in: names } };
    const found = await call.client
      .db(database)
      .listCollections<CollectionInfo>(filter, { ...call.reading, batchSize: BATCH_LIMIT })
      .toArray();
    return found
      .map(({ name, info }) => ({ name, id: info?.uuid?.toString('hex') ?? null }))
      .sort((a, b) => compareStrings(a.name, b.name));
  },
  dropDatabase: async (call, { database }) => {
    await call.client.db(database).dropDatabase(call.writing);
    return null;
  },
  insertOne: async (call, command) => {
    await collectionOf(call, command).insertOne(command.document, call.writing);
    return null;
  },
  find: (call, command) => {
    const { filter, limit, sort, projection } = command;
    const options = { ...call.reading, limit, batchSize: limit, singleBatch: limit === 1 };
    return collectionOf(call, command)
      .find(filter, { ...options, ...(sort && { sort }), ...(projection && { projection }) })
      .toArray();
  },
  updateOne: async (call, command) => {
    const { filter, update, upsert } = command;
    const options = { ...call.writing, upsert };
    const result = await collectionOf(call, command).updateOne(filter, update as UpdateFilter<Document>, options);
    return { matched: result.matchedCount, upserted: result.upsertedCount > 0 };
  },
  findOneAndUpdate: (call, command) => {
    const { filter, update, upsert } = command;
    const options = { ...call.writing, upsert, returnDocument: 'after' } as const;
    return collectionOf(call, command).findOneAndUpdate(filter, update as UpdateFilter<Document>, options);
  },
  replaceOne: async (call, command) => {
    const { filter, document } = command;
    const result = await collectionOf(call, command).replaceOne(filter, document, call.writing);
    return { matched: result.matchedCount, upserted: false };
  },
  deleteOne: async (call, command) =>
    (await collectionOf(call, command).deleteOne(command.filter, call.writing)).deletedCount,
  deleteMany: async (call, command) =>
    (await collectionOf(call, command).deleteMany(command.filter, call.writing)).deletedCount,
  count: (call, command) => {
    const { filter, limit } = command;
    const collection = collectionOf(call, command);
    // Counting by an empty filter would read every document.
    if (limit === undefined && Object.keys(filter).length === 0) return collection.estimatedDocumentCount(call.reading);
    return collection.countDocuments(filter, { ...call.reading, ...(limit && { limit }) });
  },
};

/** Newer servers find an equal collection made and say so no more than older ones that it was: so it is looked for. */
async function createCollection(call: Call, { database, collection }: Namespace): Promise<boolean> {
  const db = call.client.db(database);
  const found = await db.listCollections({ name: collection }, { nameOnly: true, ...call.reading }).toArray();
  if (found.length > 0) return false;
  try {
    await db.createCollection(collection, call.writing);
    return true;
  } catch (error) {
    if (isCode(error, MONGO_CODE.namespaceExists)) return false;
    throw error;
  }
}
