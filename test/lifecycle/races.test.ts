import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { RACES, runRace } from './races.ts';

const MS = 600_000;
const SEEDS = Array.from({ length: process.env['TEST_FAULTS'] === 'full' ? 1000 : 40 }, (_, index) => index + 1);

describe('in whatever order the calls of several instances come', () => {
  let store: Executor;

  beforeAll(() => {
    store = createSqliteExecutor(openSqliteFile(':memory:'));
  });

  afterAll(() => store.close());

  for (const race of RACES) {
    it(
      race.name,
      async () => {
        expect(await runRace(store, race, SEEDS)).toEqual([]);
      },
      MS,
    );
  }
});
