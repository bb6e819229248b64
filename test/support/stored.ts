import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MongoClient } from 'mongodb';
import type { RunningService } from './service.ts';

/**
 * How many documents are in each collection that the service has, whatever store it is on; but for the budgets of
 * throttling, which pass by themselves within minutes.
 */
export async function countStored(service: RunningService): Promise<Record<string, number>> {
  const { budgets: _, ...counts } =
    service.store.kind === 'mongo'
      ? await countInMongo(service.store.uri, service.masterDatabase)
      : countInSqlite(service.dataDirectory, `${service.masterDatabase}.`);
  return counts;
}

async function countInMongo(uri: string, name: string): Promise<Record<string, number>> {
  const client = new MongoClient(uri);
  try {
    const database = client.db(name);
    const counts: Record<string, number> = {};
    for (const collection of await database.listCollections({}, { nameOnly: true }).toArray()) {
      counts[collection.name] = await database.collection(collection.name).countDocuments();
    }
    return counts;
  } finally {
    await client.close();
  }
}

/** The embedded store has a table `database.collection` for each; what else there is, is the runtime's own. */
function countInSqlite(directory: string, prefix: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (!/\.(db|sqlite)$/.test(file)) continue;
    const database = new DatabaseSync(join(directory, file), { readOnly: true });
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    for (const { name } of tables) {
      const table = String(name);
      if (!table.startsWith(prefix)) continue;
      const rows = database.prepare(`SELECT count(*) AS n FROM "${table}"`).get();
      counts[table.slice(prefix.length)] = Number(rows?.['n']);
    }
    database.close();
  }
  return counts;
}
