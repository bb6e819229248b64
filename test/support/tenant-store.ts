import { join } from 'node:path';
import { Master } from '../../src/domain/master.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Document } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { Database } from '../../src/store/store.ts';
import { Store } from '../../src/store/store.ts';
import type { RunningService } from './service.ts';

const TIMEOUT_MS = 20_000;

/** The database of a service on Node or Bun, master and tenants in one, opened beside the service. */
export function openDatabase(service: RunningService): { database: Database; master: Master; close(): Promise<void> } {
  const { store, dataDirectory, masterDatabase } = service;
  const opened = new Store(
    store.kind === 'mongo'
      ? createMongoExecutor({ uri: store.uri, timeoutMs: TIMEOUT_MS })
      : createSqliteExecutor(openSqliteFile(join(dataDirectory, 'tenantry.db'))),
  );
  const database = opened.database(masterDatabase);
  return { database, master: new Master(opened, masterDatabase), close: () => opened.close() };
}

/** Every document of a database, by its collection. */
export async function readDatabase(database: Database): Promise<Map<string, readonly Document[]>> {
  const collections = new Map<string, readonly Document[]>();
  for (const { name } of await database.listCollections()) {
    const all: Document[] = [];
    for (let page: readonly Document[] = []; ; ) {
      const filter = { _id: { $gt: page.at(-1)?._id ?? '' } };
      page = await database.collection(name).find(filter, { sort: { _id: 1 } });
      if (page.length === 0) break;
      all.push(...page);
    }
    collections.set(name, all);
  }
  return collections;
}
