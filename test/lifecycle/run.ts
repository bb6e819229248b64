import { parseArgs } from 'node:util';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createStage } from '../support/world.ts';
import type { Point } from './experiment.ts';
import { enumerate } from './experiment.ts';
import { SCENARIOS } from './scenarios.ts';
import { openStore } from './stores.ts';

const USAGE = `Tries faults at the store calls of operations.

  node test/lifecycle/run.ts                      every fault at every call, on SQLite
    --store <uri>       a MongoDB instead
    --scenario <name>   this one alone; a part of the name is enough
    --point <json>      this point alone, as a failure prints it
    --fault <name>      points of this fault alone
    --meanwhile <name>  points at which a third party does this, and nothing happens to the one that clears up
    --plain <n>         one in n of the plain faults (default 1)
    --other <n>         one in n of the other points (default 1)
    --failures <n>      ends a scenario after n failures (default 3)
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    store: { type: 'string' },
    scenario: { type: 'string', default: '' },
    point: { type: 'string' },
    fault: { type: 'string' },
    meanwhile: { type: 'string' },
    plain: { type: 'string', default: '1' },
    other: { type: 'string', default: '1' },
    failures: { type: 'string', default: '3' },
  },
});

function choose({ fault, meanwhile, rescuer }: Point): boolean {
  if (values.fault !== undefined && fault !== values.fault) return false;
  return values.meanwhile === undefined || (meanwhile === values.meanwhile && rescuer === undefined);
}

async function run(): Promise<void> {
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const only = values.point === undefined ? undefined : (JSON.parse(values.point) as Point);
  const store = openStore(values.store);
  const memory = createSqliteExecutor(openSqliteFile(':memory:'));
  const stages = { stage: await createStage(store), reference: await createStage(memory) };
  const named = SCENARIOS.filter(({ name }) => name === values.scenario);
  const scenarios = named.length > 0 ? named : SCENARIOS.filter(({ name }) => name.includes(values.scenario));
  let points = 0;
  let failed = 0;
  const started = performance.now();
  for (const scenario of scenarios) {
    const begun = performance.now();
    const report = await enumerate(stages, scenario, {
      every: { plain: Number(values.plain), other: Number(values.other) },
      failures: Number(values.failures),
      choose,
      ...(only !== undefined && { only }),
    });
    points += report.points;
    failed += report.failures.length;
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    process.stdout.write(`${scenario.name}: ${report.calls} store calls, ${report.points} points, ${seconds} s\n`);
    for (const failure of report.failures) process.stdout.write(`FAILED ${failure}\n`);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${points} points in ${seconds} s, ${failed} failures\n`);
  await stages.stage.close();
  await Promise.all([store.close(), memory.close()]);
  process.exitCode = failed === 0 && points > 0 ? 0 : 1;
}

await run();
