import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Executor } from '../../src/store/port.ts';
import { RACES, runRace } from './races.ts';
import { openStore } from './stores.ts';

const MS = 600_000;
const SEEDS = Array.from({ length: process.env['TEST_FAULTS'] === 'full' ? 1000 : 20 }, (_, index) => index + 1);

describe('in whatever order the calls of several instances come', () => {
  let store: Executor;

  beforeAll(() => {
    store = openStore(undefined);
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
