import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';

const TIMEOUT_MS = 30_000;

/** A MongoDB, or SQLite in memory. */
export const openStore = (uri: string | undefined): Executor =>
  uri === undefined
    ? createSqliteExecutor(openSqliteFile(':memory:'))
    : createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS });
