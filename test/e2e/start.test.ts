import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { until } from '../support/deadline.ts';
import { freePort } from '../support/free-port.ts';
import { REPOSITORY } from '../support/install.ts';
import { startProcess } from '../support/process.ts';

const directory = mkdtempSync(join(tmpdir(), 'tenantry-start-'));
const SECRET = randomBytes(36).toString('base64url');
const ENTRIES = [
  ['node', 'start.mjs'],
  ['bun', 'bun.ts'],
] as const;

/** How long a connection may be half open. Node's own bounds would be 75 seconds and more. */
const HALF_OPEN_MS = 60_000;

const POST = 'POST /org/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n';

/** How long the service may take to end after a signal. */
const END_MS = 5000;

// A package of its own, so that no .dev.vars of the developer's is read.
cpSync(join(REPOSITORY, 'package.json'), join(directory, 'package.json'));
for (const name of ['src', 'node_modules']) symlinkSync(join(REPOSITORY, name), join(directory, name));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

let directories = 0;

/** The variables of a service, with a data directory of its own, and nothing of the developer's. */
async function variables(more: Readonly<Record<string, string>> = {}): Promise<Record<string, string>> {
  const { HOME = '', PATH = '' } = process.env;
  const DATA_DIR = join(directory, `data-${++directories}`);
  return { HOME, PATH, NO_COLOR: '1', PORT: String(await freePort()), DATA_DIR, JWT_SECRET: SECRET, ...more };
}

const answers = async (url: string): Promise<true | undefined> => {
  try {
    return (await fetch(url)).ok ? true : undefined;
  } catch {
    return undefined;
  }
};

/** Runs an entry until it ends, or says that it listens. */
async function started(command: string, entry: string, env: Record<string, string>) {
  const running = startProcess(join(REPOSITORY, 'node_modules/.bin', command), [join('src/entry', entry)], {
    cwd: directory,
    env,
  });
  await until('it to listen or to end', () =>
    running.exitStatus() !== undefined || running.output().includes('service.listening') ? true : undefined,
  );
  return running;
}

describe('the printed commands', () => {
  const npm = (args: readonly string[], env: Record<string, string>): ChildProcess =>
    spawn(args[0] ?? '', args.slice(1), { cwd: directory, env, stdio: 'ignore' });

  test.each([
    ['npm', 'start'],
    ['npm', 'run', 'start:bun'],
    ['bun', 'run', 'start:bun'],
  ])('%s %s %s: SIGTERM ends the service with it', async (...command) => {
    const env = await variables();
    // `bun run` is for a machine that has Bun; npm brings the installed one along.
    const runtimes = command[0] === 'bun' ? [join(REPOSITORY, 'node_modules/.bin')] : [];
    const path = [...runtimes, dirname(process.execPath), env['PATH']].join(delimiter);
    writeFileSync(join(directory, '.dev.vars'), 'JWT_ISSUER=from .dev.vars\n');
    const running = npm(command, { ...env, PATH: path });
    const ended = new Promise<number | null>((resolve) => running.on('exit', resolve));
    const url = `http://127.0.0.1:${env['PORT']}/health/ready`;
    try {
      await until('the service to be ready', () => answers(url));
      running.kill('SIGTERM');
      const signalledAt = performance.now();
      expect(await ended).toBe(0);
      expect(await answers(url)).toBeUndefined();
      expect(performance.now() - signalledAt).toBeLessThan(END_MS);
    } finally {
      running.kill('SIGKILL');
    }
  });

  test('an old Node is told which one is needed', async () => {
    const entry = JSON.stringify(join(REPOSITORY, 'src/entry/start.mjs'));
    const script = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } }); import(${entry});`;
    const running = startProcess(process.execPath, ['-e', script], { cwd: directory });
    expect((await running.exited).code).toBe(1);
    expect(running.output()).toMatch(/^Tenantry needs Node 24 or newer; this is Node 20\.19\.0\.\nInstall Node 24/);
  });
});

describe.each(ENTRIES)('a start on %s', (command, entry) => {
  test('logs its store', async () => {
    const running = await started(command, entry, await variables());
    expect(running.output()).toMatch(/"event":"service.listening".*"store":"embedded"/);
    await running.kill('SIGTERM');
  });

  test('makes files that are its owner’s alone, and says who else can enter DATA_DIR', async () => {
    const { DATA_DIR = '', JWT_SECRET: _, ...env } = await variables();
    mkdirSync(DATA_DIR);
    chmodSync(DATA_DIR, 0o755);
    writeFileSync(join(DATA_DIR, 'jwt-secret'), SECRET, { mode: 0o644 });
    const running = await started(command, entry, { ...env, DATA_DIR });
    expect(running.output()).toMatch(/"event":"data_directory.readable".*"fix":"chmod 700 /);
    const modes = readdirSync(DATA_DIR).map((name) => [name, statSync(join(DATA_DIR, name)).mode & 0o077]);
    expect(modes).toEqual(
      expect.arrayContaining([
        ['jwt-secret', 0],
        ['tenantry.db', 0],
      ]),
    );
    expect(modes.filter(([, others]) => others !== 0)).toEqual([]);
    await running.kill('SIGTERM');
  });

  test.each([
    [
      'a MONGO_URI that cannot be parsed',
      { MONGO_URI: 'mongodb://user:hunter2@' },
      /^ {2}MONGO_URI cannot be parsed\./m,
    ],
    [
      'a MONGO_URI with secondary reads',
      { MONGO_URI: 'mongodb://127.0.0.1/?readPreference=secondary' },
      /^ {2}MONGO_URI .*Remove it/m,
    ],
    ['a DATA_DIR that is a file', { DATA_DIR: 'file' }, /^DATA_DIR cannot be used: .*not a directory/m],
    [
      'a DATA_DIR that others can write',
      { DATA_DIR: 'others' },
      /^DATA_DIR cannot be used: others can be written by other users .*\(chmod 700 others\)/m,
    ],
    ['a DATA_DIR with a corrupt file', { DATA_DIR: 'corrupt' }, /^DATA_DIR cannot be used: .*not a database/m],
  ])('is refused with %s: the variable and the fix, and no stack', async (_, more, message) => {
    writeFileSync(join(directory, 'file'), '');
    mkdirSync(join(directory, 'corrupt'), { recursive: true, mode: 0o755 });
    mkdirSync(join(directory, 'others'), { recursive: true });
    chmodSync(join(directory, 'others'), 0o775);
    writeFileSync(join(directory, 'corrupt/tenantry.db'), 'No database at all. '.repeat(1000));
    const running = await started(command, entry, await variables(more));
    const status = await running.kill('SIGTERM');
    expect(status.code).toBe(1);
    expect(running.output()).toMatch(message);
    expect(running.output()).not.toMatch(/\n\s+at |service\.listening|hunter2/);
  });

  test(
    'ends a connection on which a request does not come to its end',
    async () => {
      const env = await variables();
      const running = await started(command, entry, env);
      const beginnings = ['', 'GET /health/live HTTP/1.1\r\nHost: x\r\n', `${POST}{`];
      const ended = beginnings.map((text) => {
        const socket = connect(Number(env['PORT']), '127.0.0.1', () => socket.write(text));
        socket.resume();
        // A connection may also end by a reset.
        socket.on('error', () => {});
        return new Promise((resolve) => socket.on('close', resolve));
      });
      await Promise.all(ended);
      await running.kill('SIGTERM');
    },
    HALF_OPEN_MS,
  );

  test('is refused on the data of another JWT_SECRET', async () => {
    const env = await variables();
    const first = await started(command, entry, env);
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0 });
    const other = await started(command, entry, { ...env, JWT_SECRET: randomBytes(36).toString('base64url') });
    expect((await other.kill('SIGTERM')).code).toBe(1);
    expect(other.output()).toMatch(/JWT_SECRET/);
    expect(other.output()).not.toMatch(/\n\s+at |service\.listening/);
  });

  test('goes on while the store is away: live, and not ready', async () => {
    const away = `mongodb://127.0.0.1:${await freePort()}/?serverSelectionTimeoutMS=200`;
    const env = await variables({ MONGO_URI: away, STORE_TIMEOUT_MS: '500' });
    const running = await started(command, entry, env);
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${env['PORT']}${path}`)).status;
    expect(await status('/health/live')).toBe(200);
    expect(await status('/health/ready')).toBe(503);
    expect(running.output()).toMatch(/"event":"service.listening".*"store":"mongodb"/);
    await running.kill('SIGTERM');
  });
});
