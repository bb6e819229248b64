import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { installApiCheckers, installFerret, installSecantus, REPOSITORY } from './install.ts';
import { startProcess } from './process.ts';
import { givenUri, startMongo } from './wire-server.ts';

type Counts = {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What failed, and why: said again at the end, where it is not lost among what passed. */
  readonly failures: readonly string[];
};

/** Of the report that vitest writes for programs. */
type VitestReport = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
};

const BIN = join(REPOSITORY, 'node_modules/.bin');
const WORKERS_CONFIG = 'test/workers/vitest.config.ts';
const BUN_SUITES = 'test/bun/*.test.ts';

/** Runs everything that must hold, and prints as its last line how much of it does. */
async function runAll(): Promise<void> {
  const reports = mkdtempSync(join(tmpdir(), 'tenantry-reports-'));
  const [typecheck, lint] = await Promise.all([
    check('typecheck', 'tsc', []),
    check('lint', 'biome', [
      'check',
      '--error-on-warnings',
      '--vcs-enabled=true',
      '--vcs-client-kind=git',
      '--vcs-use-ignore-file=true',
    ]),
    prepareServers(),
  ]);
  const counts = [typecheck, lint, await vitest('vitest.config.ts', join(reports, 'tests.json'))];
  if (existsSync(join(REPOSITORY, WORKERS_CONFIG))) {
    counts.push(await vitest(WORKERS_CONFIG, join(reports, 'workers.json')));
  }
  const bunSuites = globSync(BUN_SUITES, { cwd: REPOSITORY });
  if (bunSuites.length > 0) counts.push(await bun(bunSuites, join(reports, 'bun.xml')));
  rmSync(reports, { recursive: true, force: true });

  const total = counts.reduce((sum, next) => ({
    passed: sum.passed + next.passed,
    failed: sum.failed + next.failed,
    skipped: sum.skipped + next.skipped,
    failures: [...sum.failures, ...next.failures],
  }));
  if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
  for (const failure of total.failures) process.stdout.write(`\nFAILED ${failure}\n`);
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
}

/** Installs what the tests want while the compiler and the linter work; what fails is told where it is used. */
async function prepareServers(): Promise<void> {
  await Promise.allSettled([installSecantus(), installFerret(), installApiCheckers()]);
}

async function check(name: string, program: string, args: readonly string[]): Promise<Counts> {
  const code = await run(program, args);
  process.stdout.write(`${code === 0 ? 'passed' : 'FAILED'}: ${name}\n`);
  return code === 0 ? { passed: 1, failed: 0, skipped: 0, failures: [] } : broken(name);
}

async function vitest(config: string, report: string): Promise<Counts> {
  const args = ['run', '--config', config, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const code = await run('vitest', args);
  if (!existsSync(report)) return broken(`vitest with ${config}`);
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
    failed: Math.max(result.numFailedTests, code === 0 ? 0 : 1),
    skipped: result.numPendingTests + result.numTodoTests,
    failures,
  };
}

async function bun(suites: readonly string[], report: string): Promise<Counts> {
  const server = givenUri() === undefined ? await startMongo({ durable: false }) : undefined;
  const uri = givenUri() ?? server?.uri;
  const args = ['test', '--timeout', '60000', '--reporter=junit', `--reporter-outfile=${report}`];
  const code = await run('bun', [...args, ...suites.map((suite) => `./${suite}`)], {
    ...(uri !== undefined && { TEST_MONGO_URI: uri }),
  });
  await server?.stop();
  if (!existsSync(report)) return broken('bun test');
  const total = /<testsuites\b[^>]*>/.exec(readFileSync(report, 'utf8'))?.[0] ?? '';
  const count = (name: string) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(total)?.[1] ?? 0);
  const failed = Math.max(count('failures'), code === 0 ? 0 : 1);
  const passed = count('tests') - count('failures') - count('skipped');
  return { passed, failed, skipped: count('skipped'), failures: failed > 0 ? ['bun test: see above'] : [] };
}

const broken = (name: string): Counts => ({ passed: 0, failed: 1, skipped: 0, failures: [`${name}: see above`] });

async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const running = startProcess(join(BIN, program), args, {
    cwd: REPOSITORY,
    env: { ...process.env, ...env },
    onOutput: (text) => process.stdout.write(text),
  });
  const { code } = await running.exited;
  return code ?? 1;
}

await runAll();
