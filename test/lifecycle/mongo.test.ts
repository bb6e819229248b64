import { inject } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo.ts';
import { faultSuite } from './fault-suite.ts';

const TIMEOUT_MS = 30_000;

/** A point takes many times as long here as in memory. */
const SHORT_FORM = { plain: 11, other: 83 };

// A server that could not be had was named, loudly, by test/support/global-setup.ts.
for (const [name, uri] of [
  ['SecantusDB', inject('secantusUri')],
  ['FerretDB', inject('ferretUri')],
] as const) {
  if (uri !== undefined) faultSuite(name, async () => createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS }), SHORT_FORM);
}
