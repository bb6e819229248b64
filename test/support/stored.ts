import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MongoClient } from 'mongodb';
import type { Document } from '../../src/store/port.ts';
import type { SqliteDriver, SqliteRow } from '../../src/store/sqlite/driver.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { Database } from '../../src/store/store.ts';
import { Store } from '../../src/store/store.ts';
import { readAll } from './read-all.ts';
import type { RunningService } from './service.ts';

/** How many documents each collection of the service has, on any store and runtime. */
export async function countStored(service: RunningService): Promise<Record<string, number>> {
  return service.store.kind === 'mongo'
    ? countInMongo(service.store.uri, service.masterDatabase)
    : countInSqlite(service.dataDirectory, service.masterDatabase);
}

/** Every document of a master collection, on any store and runtime. */
export async function readStored<T extends Document>(service: RunningService, collection: string): Promise<T[]> {
  const { store, masterDatabase, dataDirectory } = service;
  if (store.kind === 'mongo') {
    return withMongo(
      store.uri,
      (client) => client.db(masterDatabase).collection<T>(collection).find().toArray() as Promise<T[]>,
    );
  }
  const found = await inSqliteFiles(dataDirectory, masterDatabase, (database) =>
    readAll(database.collection<T>(collection)),
  );
  return found.flat();
}

function countInMongo(uri: string, name: string): Promise<Record<string, number>> {
  return withMongo(uri, async (client) => {
    const database = client.db(name);
    const names = (await database.listCollections({}, { nameOnly: true }).toArray()).map((found) => found.name);
    const counts = names.map(async (found) => [found, await database.collection(found).countDocuments()] as const);
    return Object.fromEntries(await Promise.all(counts));
  });
}

async function withMongo<T>(uri: string, work: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(uri);
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

async function countInSqlite(directory: string, name: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  await inSqliteFiles(directory, name, async (database) => {
    for (const collection of await database.listCollections()) {
      counts[collection.name] = await database.collection(collection.name).count({});
    }
  });
  return counts;
}

/** Does it in each file of the embedded store: one on Node and Bun, one for each gateway object on Workers. */
async function inSqliteFiles<T>(
  directory: string,
  name: string,
  work: (database: Database) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (!/\.(db|sqlite)$/.test(file)) continue;
    const driver = openForReading(join(directory, file));
    const store = new Store(createSqliteExecutor(driver));
    // The runtime of Workers has files of its own.
    const isStore = driver.rows("SELECT 1 FROM sqlite_master WHERE name = 'tenantry_collections'", []).length > 0;
    if (isStore) results.push(await work(store.database(name)));
    await store.close();
  }
  return results;
}

/** A driver that leaves a running service's file as it is. */
function openForReading(path: string): SqliteDriver {
  const database = new DatabaseSync(path, { readOnly: true });
  return {
    documentBytes: Number.MAX_SAFE_INTEGER,
    rows: (sql, params) => database.prepare(sql).all(...params) as SqliteRow[],
    run: () => 0,
    transaction: (work) => work(),
    snapshot: (work) => work(),
    close: () => database.close(),
  };
}
