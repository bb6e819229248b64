import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { installApiCheckers, REPOSITORY } from './install.ts';
import type { RunningProcess } from './process.ts';
import { startProcess } from './process.ts';
import type { WireServer } from './wire-server.ts';
import { givenUri, startMongo } from './wire-server.ts';

/**
 * Runs stages of the tests, and prints as its last line how many tests passed, failed and were skipped.
 *
 *     node test/support/run.ts check         types, lint, unit tests; no server, no Python
 *     node test/support/run.ts check test    also the contracts, the HTTP suite and the README: `npm test`
 *     node test/support/run.ts rest          what `npm test` leaves: `npm run test:all`
 */

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

type Result = Counts & {
  /** What failed and why. Printed again at the end of the run. */
  readonly failures: readonly string[];
  /** How long each test file took, in milliseconds. */
  readonly files: readonly { readonly file: string; readonly ms: number }[];
};

/** A program of a stage. `read` counts its tests in the report that the program writes; without it, the exit code counts. */
type Part = {
  readonly name: string;
  readonly program: string;
  readonly args: (report: string) => readonly string[];
  readonly read?: (report: string, succeeded: boolean) => Result;
};

type Stage = {
  /** Groups run one after another, the parts of a group at the same time. */
  readonly groups: readonly (readonly Part[])[];
  readonly needsServer: boolean;
};

const BIN = join(REPOSITORY, 'node_modules/.bin');

/** Test files and parts that take longer are named at the end, in milliseconds. */
const SLOW_MS = 10_000;
/** How long a part may be silent before a line says that it still runs, in milliseconds. */
const SILENCE_MS = 30_000;

const UNIT = 'test/unit/vitest.config.ts';
const WORKERS = 'test/workers/vitest.config.ts';

/** The files of the root configuration that `npm test` runs; `npm run test:all` runs the others. */
const CORE = [
  'test/contract',
  ...['node-embedded', 'bun-embedded', 'workerd-embedded'].map((cell) => `test/http/${cell}.test.ts`),
  'test/e2e/readme.test.ts',
];

const STAGES: Readonly<Record<string, Stage>> = {
  check: {
    needsServer: false,
    groups: [
      [
        { name: 'typecheck', program: 'tsc', args: () => [] },
        {
          name: 'lint',
          program: 'biome',
          args: () => [
            ...['check', '--error-on-warnings', '--vcs-enabled=true', '--vcs-client-kind=git'],
            '--vcs-use-ignore-file=true',
          ],
        },
        vitest('unit tests', UNIT),
      ],
    ],
  },
  test: {
    needsServer: true,
    groups: [
      // Most of the time goes by while a service hashes: more files at once keep both cores busy.
      [vitest('contracts, HTTP and README', 'vitest.config.ts', ['--maxWorkers=4', ...CORE])],
      [
        vitest('contracts in workerd', WORKERS, ['--project', 'workerd, embedded']),
        bun('contracts on Bun', 'test/bun/!(mongo).test.ts'),
      ],
    ],
  },
  rest: {
    needsServer: true,
    groups: [
      [
        vitest(
          'the rest of the matrix, faults, races, histories, campaign, timing, mail, keys',
          'vitest.config.ts',
          CORE.flatMap((path) => ['--exclude', path.endsWith('.ts') ? path : `${path}/**`]),
        ),
      ],
      [
        vitest('contracts in workerd on SecantusDB', WORKERS, ['--project', 'workerd, SecantusDB']),
        bun('contracts on Bun and SecantusDB', 'test/bun/mongo.test.ts'),
      ],
      [
        { name: 'the model, exhausted', program: 'node', args: () => ['test/model/run.ts', 'check'] },
        { name: 'the model, without each rule', program: 'node', args: () => ['test/model/run.ts', 'ablate'] },
      ],
    ],
  },
};

const running = new Set<RunningProcess>();

async function main(names: readonly string[]): Promise<void> {
  const stages = names.map((name) => [name, STAGES[name]] as const);
  const unknown = stages.filter(([, stage]) => stage === undefined).map(([name]) => name);
  if (names.length === 0 || unknown.length > 0) throw new RangeError(`Stages are: ${Object.keys(STAGES).join(', ')}.`);

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      await Promise.all([...running].map((part) => part.kill(signal)));
      process.exit(1);
    });
  }
  const leftOut: string[] = [];
  const results: Result[] = [];
  // The installation goes on while the compiler and the linter work.
  const server = stages.some(([, stage]) => stage?.needsServer) ? prepare(names, leftOut) : undefined;
  try {
    for (const [, stage] of stages) {
      const env = stage?.needsServer ? { TEST_SHARED_MONGO_URI: (await server)?.uri ?? '' } : {};
      for (const group of stage?.groups ?? []) {
        results.push(...(await Promise.all(group.map((part) => runPart(part, env, group.length === 1)))));
      }
    }
  } finally {
    await (await server)?.stop();
  }
  print(results, leftOut);
}

/** Installs and starts what several parts share. */
async function prepare(
  names: readonly string[],
  leftOut: string[],
): Promise<Pick<WireServer, 'uri' | 'stop'> | undefined> {
  const checkers = names.includes('rest') ? installApiCheckers().catch(() => undefined) : undefined;
  const given = givenUri();
  const server = given === undefined ? await startMongo({ durable: false }) : { uri: given, stop: async () => {} };
  if (server === undefined) leftOut.push('every test on MongoDB: install python3 with pip, or set TEST_MONGO_URI');
  await checkers;
  return server;
}

async function runPart({ name, program, args, read }: Part, env: NodeJS.ProcessEnv, alone: boolean): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-report-'));
  const report = join(directory, 'report');
  const started = performance.now();
  let heard = started;
  const part = startProcess(join(BIN, program), args(report), {
    cwd: REPOSITORY,
    env: { ...process.env, ...env },
    onOutput: (text) => {
      heard = performance.now();
      if (alone) process.stdout.write(text);
    },
  });
  running.add(part);
  const pulse = setInterval(() => {
    if (performance.now() - heard < SILENCE_MS) return;
    heard = performance.now();
    process.stdout.write(`... ${name}: running for ${seconds(heard - started)}\n`);
  }, 1000);
  const { code } = await part.exited;
  clearInterval(pulse);
  running.delete(part);
  if (!alone) process.stdout.write(part.output());
  const ms = performance.now() - started;
  const succeeded = code === 0;
  process.stdout.write(`${succeeded ? 'passed' : 'FAILED'}: ${name} (${seconds(ms)})\n`);
  const whole: Result = {
    passed: succeeded ? 1 : 0,
    failed: succeeded ? 0 : 1,
    skipped: 0,
    failures: succeeded ? [] : [`${name}: see above`],
    files: [],
  };
  const result = read !== undefined && existsSync(report) ? read(report, succeeded) : whole;
  rmSync(directory, { recursive: true, force: true });
  return { ...result, files: [...result.files, { file: `${name}, all together`, ms }] };
}

function print(results: readonly Result[], leftOut: readonly string[]): void {
  const total = (count: keyof Counts) => results.reduce((sum, result) => sum + result[count], 0);
  const slow = results.flatMap(({ files }) => files).filter(({ ms }) => ms > SLOW_MS);
  if (slow.length > 0) process.stdout.write(`\nLonger than ${seconds(SLOW_MS)}:\n`);
  for (const { file, ms } of slow.sort((a, b) => b.ms - a.ms)) {
    process.stdout.write(`${seconds(ms).padStart(8)}  ${file}\n`);
  }
  for (const failure of results.flatMap(({ failures }) => failures)) process.stdout.write(`\nFAILED ${failure}\n`);
  for (const what of leftOut) process.stdout.write(`\n!!! LEFT OUT: ${what}\n`);
  if (total('failed') > 0 || total('passed') === 0) process.exitCode = 1;
  process.stdout.write(`\n${total('passed')} passed, ${total('failed')} failed, ${total('skipped')} skipped\n`);
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** The part of the report that is read here. */
type VitestReport = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly startTime: number;
    readonly endTime: number;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
};

function vitest(name: string, config: string, filters: readonly string[] = []): Part {
  return {
    name,
    program: 'vitest',
    args: (report) => [
      ...['run', '--config', config, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
      ...filters,
    ],
    read: readVitest,
  };
}

function readVitest(report: string, succeeded: boolean): Result {
  const result = JSON.parse(readFileSync(report, 'utf8')) as VitestReport;
  const failures = result.testResults.flatMap(({ name, message, assertionResults }) => {
    const file = relative(REPOSITORY, name);
    const tests = assertionResults.filter(({ status }) => status === 'failed');
    if (tests.length === 0) return message === '' ? [] : [`${file}: ${message}`];
    return tests.map(({ fullName, failureMessages }) => `${file}: ${fullName}\n${(failureMessages ?? []).join('\n')}`);
  });
  return {
    passed: result.numPassedTests,
    // A file that could not be loaded, or a hook that failed, has no test of its own to fail.
    failed: Math.max(result.numFailedTests, succeeded ? 0 : 1),
    skipped: result.numPendingTests + result.numTodoTests,
    failures: succeeded || failures.length > 0 ? failures : ['vitest: see above'],
    files: result.testResults.map(({ name, startTime, endTime }) => ({
      file: relative(REPOSITORY, name),
      ms: endTime - startTime,
    })),
  };
}

function bun(name: string, pattern: string): Part {
  const suites = globSync(pattern, { cwd: REPOSITORY }).map((suite) => `./${suite}`);
  return {
    name,
    program: 'bun',
    args: (report) => ['test', '--timeout', '60000', '--reporter=junit', `--reporter-outfile=${report}`, ...suites],
    read: readJunit,
  };
}

function readJunit(report: string, succeeded: boolean): Result {
  const total = /<testsuites\b[^>]*>/.exec(readFileSync(report, 'utf8'))?.[0] ?? '';
  const count = (name: string) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(total)?.[1] ?? 0);
  const isEmpty = count('tests') === 0;
  return {
    passed: count('tests') - count('failures') - count('skipped'),
    // A file that lost its tests, or never had any, must not pass.
    failed: Math.max(count('failures'), isEmpty || !succeeded ? 1 : 0),
    skipped: count('skipped'),
    failures: isEmpty ? ['bun test ran no test'] : succeeded ? [] : ['bun test: see above'],
    files: [],
  };
}

await main(process.argv.slice(2));
