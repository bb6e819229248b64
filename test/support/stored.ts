import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MongoClient } from 'mongodb';
import type { SqliteDriver, SqliteRow } from '../../src/store/sqlite/driver.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { Store } from '../../src/store/store.ts';
import type { RunningService } from './service.ts';

/** How many documents each collection of the service has, on any store and runtime. */
export async function countStored(service: RunningService): Promise<Record<string, number>> {
  return service.store.kind === 'mongo'
    ? countInMongo(service.store.uri, service.masterDatabase)
    : countInSqlite(service.dataDirectory, service.masterDatabase);
}

async function countInMongo(uri: string, name: string): Promise<Record<string, number>> {
  const client = new MongoClient(uri);
  try {
    const database = client.db(name);
    const names = (await database.listCollections({}, { nameOnly: true }).toArray()).map((found) => found.name);
    const counts = names.map(async (found) => [found, await database.collection(found).countDocuments()] as const);
    return Object.fromEntries(await Promise.all(counts));
  } finally {
    await client.close();
  }
}

/** The files of the embedded store: one on Node and Bun, one for each gateway object on Workers. */
async function countInSqlite(directory: string, name: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (!/\.(db|sqlite)$/.test(file)) continue;
    const driver = openForReading(join(directory, file));
    // The runtime of Workers has files of its own.
    const isStore = driver.rows("SELECT 1 FROM sqlite_master WHERE name = 'tenantry_collections'", []).length > 0;
    const store = new Store(createSqliteExecutor(driver));
    const database = store.database(name);
    for (const collection of isStore ? await database.listCollections() : []) {
      counts[collection.name] = await database.collection(collection.name).count({});
    }
    await store.close();
  }
  return counts;
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
