import { test } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import { storeContract } from '../contract/store-contract.ts';

const uri = process.env['TEST_MONGO_URI'] || process.env['TEST_SHARED_MONGO_URI'];

if (uri === undefined || uri === '') {
  test.skip('the MongoDB store, on Bun: this machine has no server', () => {});
} else {
  storeContract('the MongoDB store, on Bun', async () => createMongoExecutor({ uri, timeoutMs: 10_000 }));
}
