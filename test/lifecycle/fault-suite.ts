import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Executor } from '../../src/store/port.ts';
import type { Stage } from '../support/world.ts';
import { createStage } from '../support/world.ts';
import { enumerate } from './experiment.ts';
import { SCENARIOS } from './scenarios.ts';

const MINUTE_MS = 60_000;
const SHOWN = 3;

/**
 * Every fault at every store call of every operation, on one store.
 * @param shortForm where TEST_FAULTS=full is not set: tries each so-manieth point only
 */
export function faultSuite(name: string, open: () => Promise<Executor>, shortForm = 1): void {
  const every = process.env['TEST_FAULTS'] === 'full' ? 1 : shortForm;
  describe(`under faults, on ${name}`, () => {
    let store: Executor;
    let stage: Stage;
    let total = 0;
    const started = performance.now();

    beforeAll(async () => {
      store = await open();
      stage = await createStage(store);
    });

    afterAll(async () => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      process.stdout.write(`${name}: ${total} points in ${seconds} s\n`);
      await stage.close();
      await store.close();
    });

    for (const scenario of SCENARIOS) {
      it(
        scenario.name,
        async () => {
          const { points, calls, failures } = await enumerate(stage, scenario, every);
          total += points;
          process.stdout.write(`${name}: ${scenario.name}: ${calls} store calls, ${points} points enumerated\n`);
          if (failures.length > 0) process.stdout.write(`${failures.slice(0, SHOWN).join('\n')}\n`);
          expect(failures.map((failure) => failure.split('\n')[0])).toEqual([]);
        },
        60 * MINUTE_MS,
      );
    }
  });
}
