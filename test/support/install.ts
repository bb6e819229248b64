import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { until } from './deadline.ts';
import { runToEnd } from './process.ts';

export const REPOSITORY = join(import.meta.dirname, '../..');

/** What tests install once for all runs; git does not see it. */
const CACHE = join(REPOSITORY, '.test-servers');

const SECANTUS = 'SecantusDB==0.7.0b3';
const API_CHECKERS = ['schemathesis==4.32.5', 'openapi-spec-validator==0.9.0'];

const INSTALL_MS = 10 * 60_000;

/** The SecantusDB server's executable, installed by pip into an environment of its own. */
export const installSecantus = (): Promise<string> => installPython('secantus', [SECANTUS], 'secantusd-py');

/** The directory with schemathesis and openapi-spec-validator, installed likewise. */
export const installApiCheckers = (): Promise<string> => installPython('api-checkers', API_CHECKERS, '');

async function installPython(name: string, packages: readonly string[], executable: string): Promise<string> {
  const directory = join(CACHE, name);
  const version = packages.map((item) => item.split('==')[1]).join('-');
  await once(`${name}-${version}`, `${packages.join(', ')} (pip)`, async () => {
    rmSync(directory, { recursive: true, force: true });
    await runToEnd('python3', ['-m', 'venv', directory]);
    await runToEnd(join(directory, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', ...packages]);
  });
  return join(directory, 'bin', executable);
}

/** Installs what is not there yet, while other processes that want the same wait. */
async function once(id: string, what: string, install: () => Promise<void>): Promise<void> {
  const done = join(CACHE, `${id}.done`);
  if (await exists(done)) return;
  await mkdir(CACHE, { recursive: true });
  const lock = join(CACHE, `${id}.lock`);
  const waited = await until(
    `${what} to be installed by another process`,
    async () => ((await exists(done)) ? 'installed' : takeLock(lock) ? 'ours' : undefined),
    { ms: INSTALL_MS, every: 500 },
  );
  if (waited === 'installed') return;
  try {
    if (await exists(done)) return;
    const start = performance.now();
    process.stderr.write(`test servers: installing ${what} ...\n`);
    await install();
    await writeFile(done, '');
    process.stderr.write(`test servers: ${what} is there (${Math.round((performance.now() - start) / 1000)} s)\n`);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** Takes the lock, also from a process that is gone. */
function takeLock(lock: string): boolean {
  try {
    mkdirSync(lock);
    writeFileSync(join(lock, 'pid'), String(process.pid));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const holder = holderOf(lock);
  if (holder !== undefined && !isAlive(holder)) rmSync(lock, { recursive: true, force: true });
  return false;
}

function holderOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(join(lock, 'pid'), 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Where a program is on the PATH, or undefined. */
export async function findOnPath(program: string): Promise<string | undefined> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const candidate = join(directory, program);
    if (directory !== '' && (await exists(candidate))) return candidate;
  }
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
