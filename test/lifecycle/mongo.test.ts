import { inject } from 'vitest';
import { faultSuite } from './fault-suite.ts';
import { openFreshMongo } from './stores.ts';

// Without a server: test/support/global-setup.ts has said so. A point takes many times as long here as in memory.
if (inject('secantusUri') !== undefined) faultSuite('SecantusDB', openFreshMongo, { plain: 23, other: 700 });
