import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { ABLATIONS, type Ablation } from '../model/ablations.ts';
import { RULE_NAMES, type RuleName } from '../model/rules.ts';
import type { ScenarioName } from '../model/scenarios.ts';
import type { Counterexample, Outcome } from '../model/search.ts';

/** Scenarios that are exhausted in less than a second. The others: `npm run model`. */
const SMALL: readonly ScenarioName[] = [
  'back3',
  'clash',
  'backkept',
  'create2',
  'lost replies',
  'lost replies admin',
  'lost replies ids',
  'admin slug',
  'refuse retain ids',
];

/** Rules whose counterexample lies deeper: `npm run model` finds them. */
const DEEP: readonly RuleName[] = [
  'restamp',
  'ownClaimJudged',
  'placementReadAgain',
  'nextTargetByCompare',
  'takeOverCompares',
  'rollBackByStep',
  'abandonedWaitsForMove',
  'freshAside',
];

const RUN = fileURLToPath(new URL('../model/run.ts', import.meta.url));

/** Runs the model in a process of its own: vitest's module runner makes its inner loops several times slower. */
async function run<Line>(...args: readonly string[]): Promise<Line[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [RUN, ...args, '--json'], { maxBuffer: 64 << 20 });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('the model of the organization lifecycle', () => {
  const shallow = ABLATIONS.filter(({ without }) => !without.some((rule) => DEEP.includes(rule)));
  let checked: readonly (Outcome & { readonly scenario: ScenarioName })[];
  let ablated: readonly (Ablation & Partial<Counterexample>)[];

  beforeAll(async () => {
    const rules = new Set(shallow.flatMap(({ without }) => without));
    [checked, ablated] = await Promise.all([
      run<(typeof checked)[number]>('check', ...SMALL),
      run<(typeof ablated)[number]>('ablate', ...rules),
    ]);
  }, 60_000);

  it.each(SMALL)('finds no violation in any state of the scenario `%s`', (name) => {
    const outcome = checked.find(({ scenario }) => scenario === name);
    expect(outcome).toMatchObject({ exhausted: true, counterexample: null });
  });

  it('has a counterexample to look for without each rule', () => {
    const covered = new Set(ABLATIONS.flatMap(({ without }) => without));
    expect(RULE_NAMES.filter((name) => !covered.has(name))).toEqual([]);
  });

  it.each(
    shallow.map((ablation) => ({ ...ablation, rule: ablation.without.join(), kind: ablation.kinds.join(' or ') })),
  )('finds $kind without the rule $rule in the scenario `$scenario`', ({ without, scenario, kinds }) => {
    const found = ablated.find(
      (other) => other.scenario === scenario && `${other.without}` === `${without}` && `${other.kinds}` === `${kinds}`,
    );
    expect(kinds).toContain(found?.violations?.[0]?.kind);
    expect(found?.trace).not.toHaveLength(0);
  });
});
