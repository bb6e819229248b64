import { inject } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo.ts';
import type { Executor } from '../../src/store/port.ts';
import { givenUri, startMongo } from '../support/wire-server.ts';
import { faultSuite } from './fault-suite.ts';

const TIMEOUT_MS = 30_000;

/** A point takes many times as long here as in memory. */
const SHORT_FORM = { plain: 17, other: 127 };

const connect = (uri: string): Executor => createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS });

/** A server of this suite's own: SecantusDB gets slower with every database that it has had. */
async function openFresh(): Promise<Executor> {
  const given = givenUri();
  if (given !== undefined) return connect(given);
  const server = await startMongo({ durable: false });
  if (server === undefined) throw new Error('The server that was there at the start cannot be started again.');
  const executor = connect(server.uri);
  return {
    ...executor,
    close: async () => {
      await executor.close();
      await server.stop();
    },
  };
}

// A server that could not be had was named, loudly, by test/support/global-setup.ts.
if (inject('secantusUri') !== undefined) faultSuite('SecantusDB', openFresh, SHORT_FORM);
