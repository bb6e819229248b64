import { parseArgs } from 'node:util';
import { ABLATIONS, type Ablation } from './ablations.ts';
import { RULE_NAMES, RULES, type RuleName, rulesWithout } from './rules.ts';
import { LARGE, SCENARIO_NAMES, SCENARIOS, type ScenarioName } from './scenarios.ts';
import { exhaust, type Outcome, shortest, traceLine, walk } from './search.ts';

const USAGE = `The model of the organization lifecycle.

  node test/model/run.ts check [scenario ...]       search every state of the scenarios
  node test/model/run.ts ablate [rule ...]          switch a rule off: a shortest counterexample must be found
  node test/model/run.ts trace <rule> [scenario]    print the counterexample
  node test/model/run.ts walk [seed]                random walks beyond the scenarios
  node test/model/run.ts rules                      list the rules

  --seconds <n>    time limit for each scenario, rule or walk
  --json           results and counterexamples as JSON, one a line
`;

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
const figures = ({ states, transitions, seconds }: Outcome): string =>
  `${states.toLocaleString('en')} states, ${transitions.toLocaleString('en')} transitions, ${seconds.toFixed(1)} s`;

/** Shows how far a search is, on a terminal only. */
function progressOf(label: string): (states: number) => void {
  let shown = performance.now();
  return (states) => {
    if (!process.stderr.isTTY || performance.now() - shown < 1000) return;
    shown = performance.now();
    process.stderr.write(`\r${label}: ${states.toLocaleString('en')} states\r`);
  };
}

function print({ counterexample }: Outcome): void {
  if (counterexample === null) return;
  for (const { kind, detail } of counterexample.violations) say(`  ${kind}: ${detail}`);
  counterexample.trace.forEach((step, index) => {
    say(`  ${index + 1}. ${traceLine(step)}`);
  });
}

function check(names: readonly ScenarioName[], seconds: number | undefined, json: boolean): boolean {
  let ok = true;
  let states = 0;
  for (const name of names) {
    const limits = { progress: progressOf(name), ...(seconds === undefined ? {} : { seconds }) };
    const outcome = exhaust(SCENARIOS[name], limits);
    if (json) say(JSON.stringify({ scenario: name, ...outcome }));
    else {
      const result = outcome.counterexample ? 'VIOLATION' : outcome.exhausted ? 'exhausted' : 'CUT by the time limit';
      say(`${name}: ${result}, ${figures(outcome)}`);
      print(outcome);
    }
    states += outcome.states;
    ok &&= outcome.exhausted;
  }
  if (!json) say(`${states.toLocaleString('en')} states in all`);
  return ok;
}

function findCounterexample({ without, scenario, kinds }: Ablation, seconds: number | undefined): Outcome {
  const limits = { rules: rulesWithout(...without), kinds, ...(seconds === undefined ? {} : { seconds }) };
  return shortest(SCENARIOS[scenario], limits);
}

function ablate(chosen: readonly Ablation[], seconds: number | undefined, json: boolean): boolean {
  let ok = true;
  for (const ablation of chosen) {
    const outcome = findCounterexample(ablation, seconds);
    const { counterexample } = outcome;
    if (json) say(JSON.stringify({ ...ablation, ...counterexample }));
    else {
      const found = counterexample && `${counterexample.violations[0]?.kind} after ${counterexample.trace.length}`;
      say(
        `without ${ablation.without.join()} in ${ablation.scenario}: ${found ?? 'NOTHING FOUND'}, ${figures(outcome)}`,
      );
    }
    ok &&= counterexample !== null;
  }
  return ok;
}

function walkAtRandom(seed: number, seconds: number): boolean {
  const outcome = walk(LARGE, seed, { seconds });
  say(`${figures(outcome).replace('states', 'walks')}: ${outcome.counterexample ? 'VIOLATION' : 'no violation'}`);
  print(outcome);
  return outcome.counterexample === null;
}

const isScenario = (name: string): name is ScenarioName => name in SCENARIOS;
const isRule = (name: string): name is RuleName => name in RULES;

function main(): boolean {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: 'string' }, json: { type: 'boolean', default: false } },
  });
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  const [mode, ...names] = positionals;
  if (mode === 'check' && names.every(isScenario))
    return check(names.length > 0 ? names : SCENARIO_NAMES, seconds, values.json);
  if (mode === 'ablate' && names.every(isRule)) {
    const chosen = ABLATIONS.filter(
      ({ without }) => names.length === 0 || without.some((rule) => names.includes(rule)),
    );
    return ablate(chosen, seconds, values.json);
  }
  const [first = '', second] = names;
  if (mode === 'trace' && isRule(first)) {
    const known = ABLATIONS.filter(({ without }) => without.includes(first));
    for (const ablation of known) {
      if (second !== undefined && ablation.scenario !== second) continue;
      const outcome = findCounterexample(ablation, seconds);
      say(`without ${first} in ${ablation.scenario}: ${figures(outcome)}`);
      print(outcome);
    }
    return true;
  }
  if (mode === 'walk') return walkAtRandom(Number(first || 1), seconds ?? 60);
  if (mode === 'rules') {
    for (const name of RULE_NAMES) say(`${name}: ${RULES[name]}`);
    return true;
  }
  process.stderr.write(USAGE);
  return false;
}

if (import.meta.main) process.exitCode = main() ? 0 : 1;
