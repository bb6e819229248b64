import { inject } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import { storeContract } from './store-contract.ts';

const uri = inject('secantusUri');

// A server that could not be had was named, loudly, by test/support/global-setup.ts.
if (uri !== undefined) {
  storeContract('the MongoDB store, on SecantusDB', async () => createMongoExecutor({ uri, timeoutMs: 10_000 }), [
    'a renamed collection has another id',
  ]);
}
