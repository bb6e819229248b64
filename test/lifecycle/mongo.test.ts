import { inject } from 'vitest';
import { faultSuite } from './fault-suite.ts';
import { SCENARIOS } from './scenarios.ts';
import { openFreshMongo } from './stores.ts';

/** SecantusDB gets slower with every collection that it has had: after so many scenarios, another one is started. */
const SCENARIOS_A_SERVER = 8;

// Without a server: test/support/global-setup.ts has said so. A point takes many times as long here as in memory.
for (let from = 0; inject('secantusUri') !== undefined && from < SCENARIOS.length; from += SCENARIOS_A_SERVER) {
  const scenarios = SCENARIOS.slice(from, from + SCENARIOS_A_SERVER);
  faultSuite(`SecantusDB (${from / SCENARIOS_A_SERVER + 1})`, openFreshMongo, { plain: 61, other: 9000 }, scenarios);
}
