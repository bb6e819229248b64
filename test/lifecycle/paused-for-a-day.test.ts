import { describe, expect, inject, test } from 'vitest';
import { DAY_MS } from '../support/world.ts';
import type { Point } from './experiment.ts';
import { enumerate } from './experiment.ts';
import { useStages } from './fault-suite.ts';
import { SCENARIOS } from './scenarios.ts';
import { openFreshMongo, openStore } from './stores.ts';

const MS = 600_000;

const STORES = {
  SQLite: async () => openStore(undefined),
  // Without a server: test/support/global-setup.ts has said so.
  ...(inject('secantusUri') !== undefined && { SecantusDB: openFreshMongo }),
};

/** Operations, and how others take the names while the instance is paused: before they clear up behind it, and after. */
const OPERATIONS: Readonly<Record<string, readonly string[]>> = {
  rename: [
    'others take the old name and the new one',
    'it is renamed on, and others take its names',
    'it is deleted, and others take its names',
  ],
  delete: ['others take its names', 'others take its names, and it is written to'],
  'delete after renames with late writes': ['others take its names, and it is written to'],
};

/** What SecantusDB, where a point takes a hundred times as long, tries of it unless TEST_FAULTS asks for all. */
const SHORT_FORM: typeof OPERATIONS = {
  rename: ['it is deleted, and others take its names'],
  delete: ['others take its names, and it is written to'],
};

describe.each(Object.entries(STORES))('on %s', (store, open) => {
  const all = store === 'SQLite' || process.env['TEST_FAULTS'] === 'full';

  describe.each(Object.entries(all ? OPERATIONS : SHORT_FORM))(
    'a %s that is paused at any of its store calls for 24 hours',
    (operation, meanwhiles) => {
      const stages = useStages(open);

      test.each(meanwhiles)(
        'touches no document of another organization, while %s',
        async (wanted) => {
          const scenario = SCENARIOS.find(({ name }) => name === operation);
          if (scenario === undefined) throw new Error(`There is no scenario "${operation}".`);
          // The third party comes before others have cleared up, and after; on SecantusDB by turns.
          const choose = ({ fault, meanwhile, at, isFirst, rescuer }: Point) =>
            fault === 'pause' && meanwhile === wanted && rescuer === undefined && (all || (at % 2 === 0) === isFirst);
          const { points, failures, calls } = await enumerate(
            stages(),
            { ...scenario, pauseMs: DAY_MS },
            { every: { plain: 1, other: 1 }, choose },
          );
          expect(failures).toEqual([]);
          expect(points).toBe(all ? 2 * calls : calls);
        },
        MS,
      );
    },
  );
});
