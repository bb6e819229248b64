/**
 * What the embedded store costs by the number of organizations: create, rename, get, login and an idle round of due
 * work at 1,000 and at 20,000, and opening the file. The two are measured in turns, in one run; the result is a ratio.
 *
 *   node bench/scale.ts [--small 1000] [--large 20000] [--samples 200]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseConfig } from '../src/config.ts';
import type { Context } from '../src/domain/context.ts';
import { createOrganization } from '../src/domain/organization/create.ts';
import { getOrganization } from '../src/domain/organization/get.ts';
import { updateOrganization } from '../src/domain/organization/update.ts';
import { authenticate } from '../src/domain/session/authenticate.ts';
import { logIn } from '../src/domain/session/log-in.ts';
import { openSqliteFile } from '../src/platform/sqlite-node.ts';
import type { Services } from '../src/services.ts';
import { createServices } from '../src/services.ts';
import { createSqliteExecutor } from '../src/store/sqlite/executor.ts';

const { values } = parseArgs({
  options: {
    small: { type: 'string', default: '1000' },
    large: { type: 'string', default: '20000' },
    samples: { type: 'string', default: '200' },
  },
});
const SAMPLES = Number(values.samples);
const PASSWORD = 'a password that nobody else has';

/** Hashes at once: what is measured here is the store. */
const plainHasher = {
  hash: async (password: string) => `plain:${password}`,
  verify: async (password: string, hash: string) => hash === `plain:${password}`,
};

type Bench = {
  readonly organizations: number;
  readonly path: string;
  readonly services: Services;
  readonly context: Context;
  made: number;
};

function open(path: string): Services {
  return createServices(
    parseConfig({ LIMIT_CREATE: 'off', LIMIT_RENAME: 'off', LIMIT_LOGIN_ADDRESS: 'off', LIMIT_LOGIN_ACCOUNT: 'off' }),
    {
      executor: createSqliteExecutor(openSqliteFile(path)),
      hasher: plainHasher,
      jwtSecret: 'a secret of at least thirty-two bytes for the bench',
      log: () => {},
    },
  );
}

const create = (bench: Bench) => {
  const number = bench.made++;
  return createOrganization(bench.context, {
    organization_name: `Company ${number}`,
    email: `admin${number}@example.com`,
    password: PASSWORD,
  });
};

async function fill(organizations: number, directory: string): Promise<Bench> {
  const path = join(directory, `${organizations}.db`);
  const services = open(path);
  await services.prepare();
  const context = services.contextFor({
    request: { id: 'bench', address: '127.0.0.1', device: null },
    noteBudget: () => {},
  });
  const bench: Bench = {
    organizations,
    path,
    services,
    context: { ...context, master: services.context.master, tenants: services.context.tenants },
    made: 0,
  };
  const start = performance.now();
  while (bench.made < organizations) {
    await create(bench);
    if (bench.made % 2000 === 0) {
      const seconds = Math.round((performance.now() - start) / 1000);
      process.stderr.write(`${bench.made} of ${organizations} organizations, ${seconds} s\n`);
    }
  }
  // What is due of their creation is done, so that a round is idle.
  while (await services.reconcile()) {}
  return bench;
}

const some = (bench: Bench) => Math.floor(Math.random() * bench.organizations);

const signIn = (bench: Bench, number: number) =>
  logIn(bench.context, { email: `admin${number}@example.com`, password: PASSWORD });

/** Each prepares what it needs, and gives what is timed. */
const WORK: Readonly<Record<string, (bench: Bench) => Promise<() => Promise<unknown>>>> = {
  create: async (bench) => () => create(bench),
  rename: async (bench) => {
    const { access_token } = await signIn(bench, some(bench));
    const principal = await authenticate(bench.context, access_token);
    const new_organization_name = `Renamed ${crypto.randomUUID()}`;
    return () => updateOrganization(bench.context, { principal, new_organization_name });
  },
  get: async (bench) => {
    const { access_token } = await signIn(bench, some(bench));
    const { organization } = await authenticate(bench.context, access_token);
    return () => getOrganization(bench.context, { organization_name: organization.name });
  },
  login: async (bench) => {
    const number = some(bench);
    return () => signIn(bench, number);
  },
  'idle round': async (bench) => () => bench.services.reconcile(),
};

const median = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;

const directory = mkdtempSync(join(tmpdir(), 'tenantry-scale-'));
try {
  const small = await fill(Number(values.small), directory);
  const large = await fill(Number(values.large), directory);
  process.stdout.write(`median of ${SAMPLES}, ms      ${small.organizations}      ${large.organizations}      ratio\n`);
  for (const [name, work] of Object.entries(WORK)) {
    const times = new Map<Bench, number[]>([
      [small, []],
      [large, []],
    ]);
    for (let sample = 0; sample < SAMPLES; sample++) {
      for (const [bench, taken] of times) {
        const run = await work(bench);
        const start = performance.now();
        await run();
        taken.push(performance.now() - start);
      }
    }
    const [a, b] = [small, large].map((bench) => median((times.get(bench) ?? []).sort((x, y) => x - y)));
    process.stdout.write(
      `${name.padEnd(20)} ${a?.toFixed(3).padStart(9)} ${b?.toFixed(3).padStart(9)} ${((b ?? 0) / (a ?? 1)).toFixed(2).padStart(9)}\n`,
    );
  }
  await large.services.close();
  const start = performance.now();
  const reopened = open(large.path);
  await reopened.prepare();
  process.stdout.write(
    `open with ${large.organizations} organizations: ${(performance.now() - start).toFixed(1)} ms\n`,
  );
  await reopened.close();
  await small.services.close();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
