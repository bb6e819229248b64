/**
 * What sign-ins do to everybody else: GET /health/live and GET /org/get while 50 sign-ins are in flight, beside the same
 * service when it is idle, on Node and on Bun. Prints the 99th percentiles and their ratios.
 */
import { parseArgs } from 'node:util';
import { startService } from '../test/support/service.ts';
import type { Load, Measured } from './load.ts';
import { measure } from './load.ts';

const HELP = `npm run bench:login-load -- [--seconds 10] [--sign-ins 50]

The 99th percentile of GET /health/live and GET /org/get while so many sign-ins are in flight, and its ratio to the idle
service's, on Node and on Bun over the embedded store.
`;

const READERS = 4;
const ORGANIZATION = { organization_name: 'Acme', email: 'admin@acme.example', password: 'TestPass123' };

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    'sign-ins': { type: 'string', default: '50' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(HELP);
else
  for (const runtime of ['node', 'bun'] as const)
    await run(runtime, Number(values.seconds), Number(values['sign-ins']));

async function run(runtime: 'node' | 'bun', seconds: number, signIns: number): Promise<void> {
  const service = await startService({ runtime, store: { kind: 'embedded' } });
  const post = (path: string, body: unknown): Load => ({
    url: `${service.url}${path}`,
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const { email, password } = ORGANIZATION;
  const create = post('/org/create', ORGANIZATION);
  await (await fetch(create.url, { method: 'POST', headers: { ...create.headers }, body: create.body ?? '' })).text();
  const reads: readonly Load[] = [
    { url: `${service.url}/health/live` },
    { url: `${service.url}/org/get?organization_name=${ORGANIZATION.organization_name}` },
  ];
  for (const read of reads) await measure(read, READERS, 1);
  const idle: Measured[] = [];
  for (const read of reads) idle.push(await measure(read, READERS, seconds));
  const load = measure(post('/admin/login', { email, password }), signIns, (seconds + 1) * reads.length);
  const busy: Measured[] = [];
  for (const read of reads) busy.push(await measure(read, READERS, seconds));
  const { rate } = await load;
  await service.stop();

  process.stdout.write(`\n${runtime}: ${signIns} sign-ins in flight, ${rate.toFixed(1)} a second\n`);
  for (const [index, read] of reads.entries()) {
    const [before, during] = [idle[index]?.p99 ?? 0, busy[index]?.p99 ?? 0];
    const cells = [
      `idle p99 ${before.toFixed(2)} ms`,
      `p99 ${during.toFixed(2)} ms`,
      `x${(during / before).toFixed(1)}`,
    ];
    process.stdout.write(
      `  ${new URL(read.url).pathname.padEnd(14)}${cells.map((cell) => cell.padStart(22)).join('')}\n`,
    );
  }
}
