import { parseArgs } from 'node:util';
import { newEmail } from '../support/caller.ts';
import { GaveUp } from '../support/deadline.ts';
import type { OpenApi } from '../support/hostile-bodies.ts';
import { hostileBody, operationsOf } from '../support/hostile-bodies.ts';
import { createRandom } from '../support/random.ts';
import type { RunningService, Runtime } from '../support/service.ts';
import { startService } from '../support/service.ts';

const HELP = `The campaign of hostile bodies: each is sent to a POST or PUT route, while another caller asks whether the process lives.

  npm run campaign:bodies -- [options]

  --bodies N    how many, on each runtime (10000)
  --seed S      chooses them (10)
  --runtime R   node, bun or workerd (all three)

It ends with code 1 when an answer is not a refusal (4xx). It prints the slowest answers.
`;

const RUNTIMES: readonly Runtime[] = ['node', 'bun', 'workerd'];

/** Answers that are slower than this are counted, in milliseconds. */
const SLOW_MS = 100;

/** Bodies that are sent before any is timed: a new process compiles its code. */
const WARM_UP = 200;

/** How many of the slowest bodies are sent again, each so many times: a machine with other work makes any answer slow. */
const AGAIN = 50;
const TIMES = 5;

type Timed = { readonly what: string; readonly ms: number };

type Refused = Timed & { readonly send: () => Promise<Response> };

/** The slowest of the answers, and how many were slow. */
function summary(answers: readonly Timed[]): string {
  const sorted = [...answers].sort((a, b) => b.ms - a.ms);
  const at = (share: number) => `${sorted[Math.floor(sorted.length * share)]?.ms.toFixed(1)} ms`;
  const slow = sorted.filter(({ ms }) => ms > SLOW_MS).length;
  const slowest = `slowest ${at(0)} (${sorted[0]?.what})`;
  return `${answers.length} answers: ${slowest}, 1 % over ${at(0.01)}, median ${at(0.5)}, ${slow} over ${SLOW_MS} ms`;
}

async function timed(what: string, request: () => Promise<Response>): Promise<Timed & { readonly status: number }> {
  const start = performance.now();
  const response = await request();
  await response.arrayBuffer();
  return { what, ms: performance.now() - start, status: response.status };
}

async function signIn({ url }: RunningService): Promise<string> {
  const post = (path: string, body: object) =>
    fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
  const credentials = { email: newEmail(), password: 'words that do not belong together' };
  await post('/org/create', { organization_name: 'Bodies', ...credentials });
  const { access_token } = (await (await post('/admin/login', credentials)).json()) as { access_token?: string };
  if (access_token === undefined) throw new GaveUp('The sign-in failed.');
  return access_token;
}

/** @returns what was answered with anything but a refusal */
async function run(runtime: Runtime, bodies: number, seed: number): Promise<string[]> {
  const service = await startService({ runtime, store: { kind: 'embedded' } });
  try {
    const token = await signIn(service);
    const operations = operationsOf((await (await fetch(`${service.url}/openapi.json`)).json()) as OpenApi);
    const random = createRandom(seed);
    const wrong: string[] = [];
    const refused: Refused[] = [];
    const lives: Timed[] = [];
    let isOver = false;
    const asking = (async () => {
      while (!isOver) {
        const live = await timed('GET /health/live', () => fetch(`${service.url}/health/live`));
        if (live.status !== 200) wrong.push(`GET /health/live: ${live.status}`);
        if (refused.length > 0) lives.push(live);
      }
    })();
    for (let sent = 0; sent < bodies; sent++) {
      const operation = operations[sent % operations.length];
      if (operation === undefined) throw new GaveUp('There is no operation.');
      const { method, path, isPublic, valid } = operation;
      const { kind, bytes } = hostileBody(random, operation);
      const authorization = isPublic || valid === undefined ? {} : { Authorization: `Bearer ${token}` };
      const headers = { 'Content-Type': 'application/json', ...authorization };
      const what = `${kind}, ${bytes.length} bytes, number ${sent} at ${method} ${path}`;
      const send = () => fetch(`${service.url}${path}`, { method, headers, body: bytes });
      const answer = await timed(what, send);
      if (answer.status < 400 || answer.status > 499) wrong.push(`${what}: ${answer.status}`);
      if (sent >= WARM_UP) refused.push({ ...answer, send });
    }
    const again: Timed[] = [];
    for (const { what, send } of [...refused].sort((a, b) => b.ms - a.ms).slice(0, AGAIN)) {
      const times: number[] = [];
      for (let time = 0; time < TIMES; time++) times.push((await timed(what, send)).ms);
      again.push({ what, ms: Math.min(...times) });
    }
    isOver = true;
    await asking;
    process.stdout.write(`${runtime}: bodies: ${summary(refused)}\n`);
    process.stdout.write(`${runtime}: the slowest bodies, the best of ${TIMES} times: ${summary(again)}\n`);
    process.stdout.write(`${runtime}: GET /health/live meanwhile: ${summary(lives)}\n`);
    return wrong.map((line) => `${runtime}: ${line}`);
  } finally {
    await service.stop();
  }
}

const { values } = parseArgs({
  options: {
    bodies: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '10' },
    runtime: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const wrong: string[] = [];
  for (const runtime of RUNTIMES.filter((each) => each === (values.runtime ?? each))) {
    wrong.push(...(await run(runtime, Number(values.bodies), Number(values.seed))));
  }
  process.stdout.write(wrong.length === 0 ? 'Each was refused.\n' : `Not refused:\n${wrong.join('\n')}\n`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
