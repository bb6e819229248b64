import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import type { FaultyOptions } from '../support/faults.ts';
import type { Stage } from '../support/world.ts';
import { createStage } from '../support/world.ts';
import type { Every } from './experiment.ts';
import { enumerate } from './experiment.ts';
import { SCENARIOS } from './scenarios.ts';

const MINUTE_MS = 60_000;
const SHOWN = 3;

/** What TEST_FAULTS asks for: every fault at every call, or every plain one (crash before, crash after, reply lost). */
const FORMS: Readonly<Record<string, Every>> = {
  full: { plain: 1, other: 1 },
  plain: { plain: 1, other: Number.POSITIVE_INFINITY },
};

/**
 * Every fault at every store call of every operation, on one store.
 * @param shortForm what is tried of it where TEST_FAULTS does not ask for more
 */
export function faultSuite(
  name: string,
  open: () => Promise<Executor>,
  shortForm: Every,
  options: FaultyOptions = {},
): void {
  const every = FORMS[process.env['TEST_FAULTS'] ?? ''] ?? shortForm;
  describe(`under faults, on ${name}`, () => {
    let stores: readonly Executor[];
    let stages: { readonly stage: Stage; readonly reference: Stage };
    let total = 0;
    const started = performance.now();

    beforeAll(async () => {
      const store = await open();
      const memory = createSqliteExecutor(openSqliteFile(':memory:'));
      stores = [store, memory];
      stages = { stage: await createStage(store, options), reference: await createStage(memory) };
    });

    afterAll(async () => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      process.stdout.write(`${name}: ${total} points in ${seconds} s\n`);
      await stages.stage.close();
      await Promise.all(stores.map((store) => store.close()));
    });

    for (const scenario of SCENARIOS) {
      it(
        scenario.name,
        async () => {
          const { points, calls, failures } = await enumerate(stages, scenario, every);
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
