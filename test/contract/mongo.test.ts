import { inject } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo.ts';
import type { Shortcoming } from './store-contract.ts';
import { storeContract } from './store-contract.ts';

const TIMEOUT_MS = 10_000;

const FERRET: readonly Shortcoming[] = [
  'refuses lists in lists',
  'stores any size',
  'does not name the index',
  'tells missing from null in unique keys',
  'takes 0 and false for one key',
];

// A server that could not be had was named, loudly, by test/support/global-setup.ts.
for (const [name, uri, shortcomings] of [
  ['SecantusDB', inject('secantusUri'), []],
  ['FerretDB', inject('ferretUri'), FERRET],
] as const) {
  if (uri !== undefined) {
    storeContract(
      `the MongoDB store, on ${name}`,
      async () => createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS }),
      shortcomings,
    );
  }
}
