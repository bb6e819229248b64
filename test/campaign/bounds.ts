import { parseArgs } from 'node:util';
import type { BoundsReport, Measured } from './under-attack.ts';
import { measureUnderAttack } from './under-attack.ts';

const HELP = `The campaign of bounds: one address, one access token and the addresses of one /48 call every route as fast as
they can, one after another, while an owner signs in from another address on a new device.

  npm run campaign:bounds -- [options]

  --seconds N       of each of the three phases (60)
  --connections N   at once (50)
  --seed S          chooses the calls (10)
  --runtime R       node or bun (node)
  --mongo URI       a MongoDB instead of the embedded store

It prints what grew beside its bound, and ends with code 1 when a bound is exceeded, an answer is 5xx other than 503
busy, or the owner cannot sign in.
`;

function printed({ phase, what, measured, bound }: Measured): string {
  const sign = measured > bound ? 'EXCEEDED' : '';
  return [
    phase.padEnd(12),
    what.padEnd(52),
    String(Math.round(measured)).padStart(8),
    String(Math.round(bound)).padStart(8),
    sign,
  ].join(' ');
}

function print({ measured, answers, unexpected, owner }: BoundsReport): void {
  const lines = [
    ...measured.map(printed),
    ...Object.entries(answers).flatMap(([phase, operations]) =>
      Object.entries(operations)
        .toSorted()
        .map(([operation, statuses]) => `${phase}: ${operation}: ${JSON.stringify(statuses)}`),
    ),
    `the owner signed in ${owner.signIns} times, 99 of 100 in ${Math.round(owner.p99)} ms; refused: ${JSON.stringify(owner.refusals)}`,
    ...[...new Set(unexpected)].map((line) => `unexpected: ${line}`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    connections: { type: 'string', default: '50' },
    seed: { type: 'string', default: '10' },
    runtime: { type: 'string', default: 'node' },
    mongo: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const report = await measureUnderAttack({
    runtime: values.runtime === 'bun' ? 'bun' : 'node',
    store: values.mongo === undefined ? { kind: 'embedded' } : { kind: 'mongo', uri: values.mongo },
    seconds: Number(values.seconds),
    ownerSeconds: 2,
    connections: Number(values.connections),
    addresses: 1000,
    seed: Number(values.seed),
    env: { STORE_TIMEOUT_MS: '5000' },
    progress: (line) => process.stdout.write(`${line}\n`),
  });
  print(report);
  const isExceeded = report.measured.some(({ measured, bound }) => measured > bound);
  process.exitCode = isExceeded || report.unexpected.length > 0 ? 1 : 0;
}
