import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Executor } from '../../src/store/port.ts';
import type { Stage } from '../support/world.ts';
import { createStage } from '../support/world.ts';
import type { Every } from './experiment.ts';
import { enumerate } from './experiment.ts';
import type { Scenario } from './scenarios.ts';
import { SCENARIOS } from './scenarios.ts';
import { openStore } from './stores.ts';

const MINUTE_MS = 60_000;
const SHOWN = 3;

/** What TEST_FAULTS asks for: every fault at every call, or every plain one. */
const FORMS: Readonly<Record<string, Every>> = {
  full: { plain: 1, other: 1 },
  plain: { plain: 1, other: Number.POSITIVE_INFINITY },
};

/** The stages of a suite: the store that is tested, and one where the expected states are found. */
export type Stages = { readonly stage: Stage; readonly reference: Stage };

/** Opens both before the tests and closes them after. */
export function useStages(open: () => Promise<Executor>): () => Stages {
  let stores: readonly Executor[] = [];
  let stages: Stages | undefined;

  beforeAll(async () => {
    stores = [await open(), openStore(undefined)];
    const [stage, reference] = await Promise.all(stores.map((store) => createStage(store)));
    if (stage === undefined || reference === undefined) throw new Error('There are two stores.');
    stages = { stage, reference };
  }, MINUTE_MS);

  afterAll(async () => {
    await stages?.stage.close();
    await Promise.all(stores.map((store) => store.close()));
  });

  return () => {
    if (stages === undefined) throw new Error('The stores are not open.');
    return stages;
  };
}

/**
 * Faults at the store calls of every operation, on one store.
 * @param shortForm what is tried where TEST_FAULTS does not ask for more
 */
export function faultSuite(
  name: string,
  open: () => Promise<Executor>,
  shortForm: Every,
  scenarios: readonly Scenario[] = SCENARIOS,
): void {
  const every = FORMS[process.env['TEST_FAULTS'] ?? ''] ?? shortForm;
  describe(`under faults, on ${name}`, () => {
    const stages = useStages(open);
    let total = 0;

    afterAll(() => {
      process.stdout.write(`${name}: ${total} points in all\n`);
    });

    for (const scenario of scenarios) {
      it(
        scenario.name,
        async () => {
          const { points, failures } = await enumerate(stages(), scenario, { every });
          total += points;
          if (failures.length > 0) process.stdout.write(`${failures.slice(0, SHOWN).join('\n')}\n`);
          expect(failures.map((failure) => failure.split('\n')[0])).toEqual([]);
        },
        60 * MINUTE_MS,
      );
    }
  });
}
