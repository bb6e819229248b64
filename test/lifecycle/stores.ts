import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { givenUri, startMongo } from '../support/wire-server.ts';

const TIMEOUT_MS = 30_000;

/** A MongoDB, or SQLite in memory. */
export const openStore = (uri: string | undefined): Executor =>
  uri === undefined
    ? createSqliteExecutor(openSqliteFile(':memory:'))
    : createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS });

/** A MongoDB of one suite's own: SecantusDB gets slower with every database that it has had. */
export async function openFreshMongo(): Promise<Executor> {
  const given = givenUri();
  if (given !== undefined) return openStore(given);
  const server = await startMongo({ durable: false });
  if (server === undefined) throw new Error('The server that was there at the start cannot be started again.');
  const executor = openStore(server.uri);
  return {
    limits: executor.limits,
    execute: (command) => executor.execute(command),
    close: async () => {
      await executor.close();
      await server.stop();
    },
  };
}
