import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Executor } from '../../src/store/port.ts';
import { ABLATIONS } from '../model/ablations.ts';
import { rulesWithout } from '../model/rules.ts';
import { SCENARIOS } from '../model/scenarios.ts';
import type { TraceStep } from '../model/search.ts';
import { shortest, traceLine } from '../model/search.ts';
import { replay } from './replay.ts';
import { openFreshMongo, openStore } from './stores.ts';

const MS = 120_000;
const SECONDS = 30;

const STORES: Readonly<Record<string, () => Promise<Executor>>> = {
  SQLite: async () => openStore(undefined),
  // Without a server: test/support/global-setup.ts has said so.
  ...(inject('secantusUri') !== undefined && { SecantusDB: openFreshMongo }),
};

const traces = new Map<string, readonly TraceStep[]>();

/** The shortest way to what goes wrong without the rule; found once for all stores. */
function traceOf({ without, scenario, kinds }: (typeof ABLATIONS)[number]): readonly TraceStep[] {
  const key = `${without.join()} ${scenario} ${kinds.join()}`;
  const limits = { rules: rulesWithout(...without), kinds, seconds: SECONDS };
  const trace = traces.get(key) ?? shortest(SCENARIOS[scenario], limits).counterexample?.trace;
  if (trace === undefined) throw new Error(`Without ${without.join()}, the model finds nothing in ${scenario}.`);
  traces.set(key, trace);
  return trace;
}

describe.each(Object.entries(STORES))(
  "the model's counterexamples do nothing to the real code, on %s",
  (name, open) => {
    const all = { calls: 0, made: 0 };
    let store: Executor;

    beforeAll(async () => {
      store = await open();
    }, MS);

    afterAll(async () => {
      // A rule that the code has keeps it from some of them.
      process.stdout.write(`${name}: ${all.made} of ${all.calls} calls of the traces were made in their order\n`);
      await store.close();
    });

    test.each(ABLATIONS.map((ablation) => [`${ablation.without.join()} in ${ablation.scenario}`, ablation] as const))(
      'without %s',
      async (_what, ablation) => {
        const trace = traceOf(ablation);
        const { violations, calls, made } = await replay(store, SCENARIOS[ablation.scenario], trace);
        expect(violations, trace.map(traceLine).join('\n')).toEqual([]);
        all.calls += calls;
        all.made += made;
      },
      MS,
    );
  },
);
