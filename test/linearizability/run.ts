import { parseArgs } from 'node:util';
import { checkHistory, printHistory } from './history.ts';

const { values } = parseArgs({ options: { count: { type: 'string', default: '1000' }, seed: { type: 'string' } } });
const count = Number(values.count);
const first = Number(values.seed ?? process.env['SEED'] ?? 1);

/** Checks histories of `count` seeds from the first one on, and prints those that could not have come of one service. */
async function run(): Promise<void> {
  const start = performance.now();
  const failures: number[] = [];
  let calls = 0;
  let unknown = 0;
  let steps = 0;
  for (let seed = first; seed < first + count; seed++) {
    const history = await checkHistory(seed);
    calls += history.calls.length;
    unknown += history.calls.filter((call) => call.unknown).length;
    steps += history.trace.length;
    if (history.verdict.linearizable && count > 1) continue;
    process.stdout.write(`${printHistory(history)}\n`);
    if (!history.verdict.linearizable) failures.push(seed);
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stdout.write(
    `${count} histories from seed ${first}: ${calls} calls, ${unknown} of unknown outcome, ${steps} steps, ${seconds} s\n` +
      (failures.length === 0 ? 'All are linearizable.\n' : `NOT LINEARIZABLE: seeds ${failures.join(', ')}\n`),
  );
  // Requests of tasks that ended by a crash never end.
  process.exit(failures.length > 0 ? 1 : 0);
}

await run();
