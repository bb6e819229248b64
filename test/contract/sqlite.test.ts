import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { sqliteFileContract } from './sqlite-file-contract.ts';
import { storeContract } from './store-contract.ts';

const directory = mkdtempSync(join(tmpdir(), 'tenantry-contract-'));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

storeContract('the SQLite store, in a file', async () =>
  createSqliteExecutor(openSqliteFile(join(directory, 'data', 'tenantry.db'))),
);

storeContract('the SQLite store, in memory', async () => createSqliteExecutor(openSqliteFile(':memory:')));

sqliteFileContract(directory);
