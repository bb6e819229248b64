import { inject } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo.ts';
import { storeContract } from './store-contract.ts';

const TIMEOUT_MS = 10_000;

const servers = { SecantusDB: inject('secantusUri'), FerretDB: inject('ferretUri') };

// A server that could not be had was named, loudly, by test/support/global-setup.ts.
for (const [name, uri] of Object.entries(servers)) {
  if (uri !== undefined) {
    storeContract(`the MongoDB store, on ${name}`, async () => createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS }));
  }
}
