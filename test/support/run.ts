import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installApiCheckers, installFerret, installSecantus, REPOSITORY } from './install.ts';
import { startProcess } from './process.ts';
import { givenUri, startMongo } from './wire-server.ts';

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

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
  }));
  if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
}

/** Installs what the tests want while the compiler and the linter work; what fails is told where it is used. */
async function prepareServers(): Promise<void> {
  await Promise.allSettled([installSecantus(), installFerret(), installApiCheckers()]);
}

async function check(name: string, program: string, args: readonly string[]): Promise<Counts> {
  const code = await run(program, args);
  process.stdout.write(`${code === 0 ? 'passed' : 'FAILED'}: ${name}\n`);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

async function vitest(config: string, report: string): Promise<Counts> {
  const args = ['run', '--config', config, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const code = await run('vitest', args);
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const result = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number>;
  const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0, numTodoTests = 0 } = result;
  // A file that could not be loaded, or a hook that failed, has no test of its own to fail.
  const failed = Math.max(numFailedTests, code === 0 ? 0 : 1);
  return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests };
}

async function bun(suites: readonly string[], report: string): Promise<Counts> {
  const server = givenUri() === undefined ? await startMongo() : undefined;
  const uri = givenUri() ?? server?.uri;
  const args = ['test', '--timeout', '60000', '--reporter=junit', `--reporter-outfile=${report}`];
  const code = await run('bun', [...args, ...suites.map((suite) => `./${suite}`)], {
    ...(uri !== undefined && { TEST_MONGO_URI: uri }),
  });
  await server?.stop();
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const total = /<testsuites\b[^>]*>/.exec(readFileSync(report, 'utf8'))?.[0] ?? '';
  const count = (name: string) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(total)?.[1] ?? 0);
  const failed = Math.max(count('failures'), code === 0 ? 0 : 1);
  return { passed: count('tests') - count('failures') - count('skipped'), failed, skipped: count('skipped') };
}

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
