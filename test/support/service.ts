import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { GaveUp, until } from './deadline.ts';
import { freePort } from './free-port.ts';
import { REPOSITORY } from './install.ts';
import type { ExitStatus } from './process.ts';
import { startProcess } from './process.ts';

export type Runtime = 'node' | 'bun' | 'workerd';

export type StoreChoice = { readonly kind: 'embedded' } | { readonly kind: 'mongo'; readonly uri: string };

export type ServiceOptions = {
  readonly runtime: Runtime;
  readonly store: StoreChoice;
  /** Variables beside, or instead of, those that a test service has anyway. */
  readonly env?: Readonly<Record<string, string>>;
  /** What a start waits for: `live` where the store is away. Default: `ready`. */
  readonly state?: 'live' | 'ready';
};

/** The service as a process of its own. */
export type RunningService = {
  readonly url: string;
  readonly runtime: Runtime;
  readonly store: StoreChoice;
  readonly jwtSecret: string;
  /** With a mongo store: no other service's. */
  readonly masterDatabase: string;
  /** Where the embedded store is. */
  readonly dataDirectory: string;
  /** All that it has written since it was first started. */
  logs(): string;
  /** The memory that its processes have resident, in bytes. */
  residentBytes(): number;
  kill(signal: NodeJS.Signals): Promise<ExitStatus>;
  /** Starts it again, with the same port, data and variables; resolves as the first start did. */
  restart(): Promise<void>;
  /** Ends it and removes the embedded store's data. */
  stop(): Promise<void>;
};

const BIN = join(REPOSITORY, 'node_modules/.bin');
const START_MS = 90_000;

/** The mails that one email address gets in an hour: few enough for a test to reach it. */
export const MAIL_RECIPIENT = 12;

/** All tests call from one address, many at once: the limits are on, and far away. */
const AMPLE_LIMITS = {
  LIMIT_LOGIN_ADDRESS: '1000000/60',
  LIMIT_LOGIN_ACCOUNT: '100000/60',
  LIMIT_CREATE: '1000000/60',
  LIMIT_MAIL: '1000000/60',
  LIMIT_MAIL_RECIPIENT: `${MAIL_RECIPIENT}/3600`,
  LIMIT_REFRESH: '1000000/60',
  LIMIT_CHANGE: '1000000/60',
  LIMIT_RENAME: '1000000/60',
  LIMIT_INSPECT: '1000000/60',
};

/** Starts the service on a free port and resolves when it is ready, or live. It sees no variable but those given here. */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { runtime, store, env = {}, state = 'ready' } = options;
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-service-'));
  const variables: Record<string, string> = {
    MASTER_DB: `test_${randomBytes(6).toString('hex')}`,
    JWT_SECRET: randomBytes(36).toString('base64url'),
    // Several files share a machine of few cores.
    STORE_TIMEOUT_MS: '20000',
    ...AMPLE_LIMITS,
    ...(store.kind === 'mongo' && { MONGO_URI: store.uri }),
    ...(runtime !== 'workerd' && { HOST: '127.0.0.1', PORT: String(port), DATA_DIR: join(directory, 'data') }),
    ...env,
  };
  const earlier: string[] = [];
  const run = async () => {
    const { command, args, cwd } = commandLine(runtime, { port, directory, variables });
    const server = startProcess(command, args, {
      cwd,
      env: { ...machine(), ...(runtime !== 'workerd' && variables) },
    });
    try {
      await until(
        `the service on ${runtime} to be ${state}`,
        async () => {
          if (server.exitStatus() !== undefined) throw new GaveUp('It ended at once.');
          const response = await fetch(`${url}/health/${state}`, { signal: AbortSignal.timeout(5000) });
          await response.arrayBuffer();
          return response.ok ? true : undefined;
        },
        { ms: START_MS },
      );
    } catch (error) {
      await server.kill('SIGKILL');
      throw new Error(`The service on ${runtime} did not start:\n${server.output().slice(-4000)}`, { cause: error });
    }
    return server;
  };
  let server = await run();
  return {
    url,
    runtime,
    store,
    jwtSecret: variables['JWT_SECRET'] ?? '',
    masterDatabase: variables['MASTER_DB'] ?? '',
    dataDirectory: variables['DATA_DIR'] ?? directory,
    logs: () => [...earlier, server.output()].join(''),
    residentBytes: () => server.residentBytes(),
    kill: (signal) => server.kill(signal),
    restart: async () => {
      await server.kill('SIGTERM');
      earlier.push(server.output());
      server = await run();
    },
    stop: async () => {
      await server.kill('SIGTERM');
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

type Launch = {
  readonly port: number;
  readonly directory: string;
  readonly variables: Readonly<Record<string, string>>;
};

/** The working directory is the service's own, so that no `.env` or `.dev.vars` of the developer's is read. */
function commandLine(runtime: Runtime, { port, directory, variables }: Launch) {
  switch (runtime) {
    case 'node':
      return { command: join(BIN, 'node'), args: [join(REPOSITORY, 'src/entry/node.ts')], cwd: directory };
    case 'bun':
      return { command: join(BIN, 'bun'), args: [join(REPOSITORY, 'src/entry/bun.ts')], cwd: directory };
    case 'workerd': {
      const noVariables = join(directory, 'no-variables');
      writeFileSync(noVariables, '');
      return {
        command: join(BIN, 'wrangler'),
        args: [
          'dev',
          ...['--config', join(REPOSITORY, 'wrangler.toml'), '--env-file', noVariables],
          ...['--ip', '127.0.0.1', '--port', String(port), '--inspector-port', '0'],
          ...['--persist-to', directory, '--show-interactive-dev-session=false'],
          ...Object.entries(variables).flatMap(([name, value]) => ['--var', `${name}:${value}`]),
        ],
        cwd: REPOSITORY,
      };
    }
  }
}

/** What a program needs of this machine's environment, with the pinned runtimes first on the PATH. */
function machine(): NodeJS.ProcessEnv {
  const { HOME, PATH, TMPDIR } = process.env;
  return {
    ...(HOME !== undefined && { HOME }),
    ...(TMPDIR !== undefined && { TMPDIR }),
    PATH: [BIN, dirname(process.execPath), PATH].join(delimiter),
    WRANGLER_SEND_METRICS: 'false',
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    NO_COLOR: '1',
  };
}
