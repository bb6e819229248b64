import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import { storeContract } from '../contract/store-contract.ts';

const { TEST_MONGO_URI: uri } = process.env;

// A server that could not be had was named, loudly, by test/support/run.ts.
if (uri !== undefined) {
  storeContract('the MongoDB store, on Bun', async () => createMongoExecutor({ uri, timeoutMs: 10_000 }), [
    'a renamed collection has another id',
  ]);
}
