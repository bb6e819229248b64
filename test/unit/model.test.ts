import { describe, expect, it } from 'vitest';
import { ABLATIONS } from '../model/ablations.ts';
import { RULE_NAMES, rulesWithout } from '../model/rules.ts';
import { SCENARIOS, type ScenarioName } from '../model/scenarios.ts';
import { exhaust, shortest, traceLine } from '../model/search.ts';

/** Scenarios that are exhausted in a second at most. The others: `npm run model`. */
const SMALL: readonly ScenarioName[] = [
  'back3',
  'clash',
  'backkept',
  'create2',
  'lost replies admin',
  'lost replies ids',
  'admin',
  'admin slug',
];

/** Rules whose counterexample lies deeper: `npm run model` finds them. */
const DEEP: readonly string[] = [
  'restamp',
  'nextTargetByCompare',
  'takeOverCompares',
  'rollBackByStep',
  'abandonedWaitsForMove',
  'freshAside',
];

describe('the model of the organization lifecycle', () => {
  it.each(SMALL)('finds no violation in any state of the scenario `%s`', (name) => {
    const { exhausted, counterexample } = exhaust(SCENARIOS[name]);
    expect(counterexample?.trace.map(traceLine) ?? []).toEqual([]);
    expect(exhausted).toBe(true);
  });

  it('has a counterexample to look for without each rule', () => {
    const covered = new Set(ABLATIONS.flatMap(({ without }) => without));
    expect(RULE_NAMES.filter((name) => !covered.has(name))).toEqual([]);
  });

  const shallow = ABLATIONS.filter(({ without }) => !without.some((rule) => DEEP.includes(rule)));
  it.each(shallow)('finds what goes wrong without $without in `$scenario`: $kinds', ({ without, scenario, kinds }) => {
    const { counterexample } = shortest(SCENARIOS[scenario], { rules: rulesWithout(...without), kinds });
    expect(counterexample?.violations.map(({ kind }) => kind)).toEqual(expect.arrayContaining([expect.any(String)]));
    expect(kinds).toContain(counterexample?.violations[0]?.kind);
  });
});
