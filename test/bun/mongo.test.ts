import { test } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import { storeContract } from '../contract/store-contract.ts';
import { givenUri, sharedServer } from '../support/wire-server.ts';

const uri = givenUri() ?? sharedServer()?.uri;

if (uri === undefined) {
  // Why there is none was said, loudly, by test/support/run.ts.
  test.skip('the MongoDB store, on Bun: there is no server', () => {});
} else {
  storeContract('the MongoDB store, on Bun', async () => createMongoExecutor({ uri, timeoutMs: 10_000 }), [
    'a renamed collection has another id',
  ]);
}
