/**
 * What a backend asks most, from Tenantry on Node and on Bun over the embedded store, and from a peer in the same run:
 * better-auth's organization plugin on Node, over SQLite that is just as durable. Prints rates and their ratios.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { until } from '../test/support/deadline.ts';
import { freePort } from '../test/support/free-port.ts';
import { REPOSITORY } from '../test/support/install.ts';
import { runToEnd, startProcess } from '../test/support/process.ts';
import { startService } from '../test/support/service.ts';
import type { Load, Measured } from './load.ts';
import { measure } from './load.ts';

const HELP = `npm run bench -- [--seconds 5] [--connections 32]

GET an organization, who am I, and sign in: requests a second, and the ratio to better-auth's organization plugin.
The first run installs the peer into bench/peer/node_modules.
`;

const PEER = join(REPOSITORY, 'bench/peer');
const ORGANIZATION = { name: 'Acme', email: 'admin@acme.example', password: 'TestPass123' };
const JSON_TYPE = { 'Content-Type': 'application/json' };

type Subject = {
  readonly name: string;
  readonly get: Load;
  readonly whoAmI: Load;
  readonly signIn: Load;
  stop(): Promise<void>;
};

const OPERATIONS = ['get', 'whoAmI', 'signIn'] as const;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '32' },
    help: { type: 'boolean', default: false },
  },
});

async function run(seconds: number, connections: number): Promise<void> {
  process.stdout.write('Installing the peer ...\n');
  await runToEnd('npm', ['install', '--no-save', '--no-package-lock', '--prefix', PEER]);
  const starts = [startPeer, () => startTenantry('node'), () => startTenantry('bun')];
  const results: { name: string; measured: Record<string, Measured> }[] = [];
  for (const start of starts) {
    const subject = await start();
    const measured: Record<string, Measured> = {};
    for (const operation of OPERATIONS) {
      process.stdout.write(`${subject.name}: ${operation} ...\n`);
      await measure(subject[operation], connections, 1);
      measured[operation] = await measure(subject[operation], connections, seconds);
    }
    await subject.stop();
    results.push({ name: subject.name, measured });
  }
  const [peer] = results;
  for (const operation of OPERATIONS) {
    process.stdout.write(`\n${operation}\n`);
    for (const { name, measured } of results) {
      const { rate = 0, p50 = 0, p99 = 0 } = measured[operation] ?? {};
      const ratio = rate / (peer?.measured[operation]?.rate ?? rate);
      const line = [
        `${rate.toFixed(0)}/s`,
        `p50 ${p50.toFixed(1)} ms`,
        `p99 ${p99.toFixed(1)} ms`,
        `x${ratio.toFixed(1)}`,
      ];
      process.stdout.write(`  ${name.padEnd(28)}${line.map((cell) => cell.padStart(14)).join('')}\n`);
    }
  }
}

async function startTenantry(runtime: 'node' | 'bun'): Promise<Subject> {
  const service = await startService({ runtime, store: { kind: 'embedded' } });
  const { name, email, password } = ORGANIZATION;
  const post = (path: string, body: unknown): Load => ({
    url: `${service.url}${path}`,
    method: 'POST',
    headers: JSON_TYPE,
    body: JSON.stringify(body),
  });
  await json(post('/org/create', { organization_name: name, email, password }));
  const signIn = post('/admin/login', { email, password });
  const { access_token } = await json(signIn);
  return {
    name: `Tenantry on ${runtime}`,
    get: { url: `${service.url}/org/get?organization_name=${name}` },
    whoAmI: { url: `${service.url}/admin/me`, headers: { Authorization: `Bearer ${access_token}` } },
    signIn,
    stop: () => service.stop(),
  };
}

async function startPeer(): Promise<Subject> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-bench-'));
  const origin = `http://127.0.0.1:${port}`;
  const server = startProcess(process.execPath, [
    join(PEER, 'better-auth.ts'),
    String(port),
    join(directory, 'peer.db'),
  ]);
  const { name, email, password } = ORGANIZATION;
  const post = (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Load => ({
    url: `${origin}/api/auth${path}`,
    method: 'POST',
    headers: { ...JSON_TYPE, Origin: origin, ...headers },
    body: JSON.stringify(body),
  });
  await until('the peer to answer', async () => ((await fetch(`${origin}/api/auth/ok`)).ok ? true : undefined));
  const signedUp = await fetch(...fetchArguments(post('/sign-up/email', { name, email, password })));
  const cookie = signedUp.headers.getSetCookie().map((line) => line.split(';', 1)[0] ?? '');
  const headers = { Cookie: cookie.join('; ') };
  await json(post('/organization/create', { name, slug: 'acme' }, headers));
  return {
    name: 'better-auth on node',
    get: { url: `${origin}/api/auth/organization/get-full-organization?organizationSlug=acme`, headers },
    whoAmI: { url: `${origin}/api/auth/get-session`, headers },
    signIn: post('/sign-in/email', { email, password }),
    stop: async () => {
      await server.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function json(load: Load): Promise<Record<string, unknown>> {
  const response = await fetch(...fetchArguments(load));
  const text = await response.text();
  if (!response.ok) throw new Error(`${load.url} answered ${response.status}: ${text.slice(0, 500)}`);
  return JSON.parse(text) as Record<string, unknown>;
}

const fetchArguments = ({ url, method = 'GET', headers = {}, body }: Load): [string, RequestInit] => [
  url,
  { method, headers, ...(body !== undefined && { body }) },
];

if (values.help) process.stdout.write(HELP);
else await run(Number(values.seconds), Number(values.connections));
