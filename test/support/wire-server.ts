import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { GaveUp, until } from './deadline.ts';
import { freePort } from './free-port.ts';
import { findOnPath, installFerret, installSecantus } from './install.ts';
import type { RunningProcess } from './process.ts';
import { startProcess } from './process.ts';

/** A server that speaks MongoDB's wire protocol. */
export type WireServer = {
  readonly uri: string;
  /**
   * Whether an insert and a rename of the same collection at once leave it whole. SecantusDB's rename moves documents
   * and the entries of their indexes one by one, with inserts in between.
   */
  readonly renamesAtomically: boolean;
  /** Ends it by the signal; what it stored stays. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Stops it where it is, with its connections open, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Starts it again on the same port and data; resolves when it answers. */
  restart(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
};

type Program = {
  readonly command: string;
  readonly args: (port: number, directory: string) => readonly string[];
  /** What follows the address in the URI. */
  readonly options: string;
  /** Done before it is killed, so that the kill shows what the service does, and not what a stand-in cannot. */
  readonly beforeKill?: (uri: string, isFirst: boolean) => Promise<void>;
};

const START_MS = 60_000;

/** The server that whoever runs the tests gave, if any. */
export const givenUri = (): string | undefined =>
  process.env['TEST_MONGO_URI'] || process.env['MONGO_URI'] || undefined;

/**
 * Starts a MongoDB of our own: a `mongod` on the PATH, else SecantusDB, installed when it is not there. Undefined, after
 * a loud line, when there is none; on CI that is an error.
 * @param durable whether what it acknowledged outlives a kill, which costs it half of its speed
 */
export const startMongo = ({ durable }: { readonly durable: boolean }): Promise<WireServer | undefined> =>
  startOrSkip('MongoDB (a mongod on the PATH, or SecantusDB by python3 and pip)', async () =>
    start(await mongoProgram(durable)),
  );

/** Starts FerretDB, built when it is not there. Undefined, after a loud line, when that fails; on CI an error. */
export const startFerret = (): Promise<WireServer | undefined> =>
  startOrSkip('FerretDB (by go)', async () => start(await ferretProgram()));

async function startOrSkip(what: string, startServer: () => Promise<WireServer>): Promise<WireServer | undefined> {
  try {
    return await startServer();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (process.env['CI'] === 'true') throw new Error(`${what} is needed on CI: ${reason}`, { cause: error });
    process.stderr.write(`\n!!! SKIPPED: every test on ${what}, because it could not be started: ${reason}\n\n`);
    return undefined;
  }
}

async function mongoProgram(durable: boolean): Promise<Program> {
  const mongod = await findOnPath('mongod');
  if (mongod !== undefined) {
    return {
      command: mongod,
      args: (port, directory) => ['--port', String(port), '--dbpath', directory, '--bind_ip', '127.0.0.1'],
      options: '',
    };
  }
  return {
    command: await installSecantus(),
    args: (port, directory) => [
      '--port',
      String(port),
      '--storage-path',
      directory,
      ...(durable ? ['--sync-on-commit'] : []),
      '--enable-test-commands',
      '--log-level',
      'WARNING',
    ],
    options: '',
    beforeKill: spareSecantus,
  };
}

/** Enough collections for SecantusDB to have made each of the 16 tables that it spreads documents over. */
const SPREAD = 128;

/**
 * SecantusDB renames a collection by removing and inserting its documents one by one, so that a kill amid that loses
 * them; MongoDB's rename is one step. So a kill waits for the rename under way, and ends the connections of those that
 * come after it. And a kill amid the making of a table leaves a database that does not open again: the first kill waits
 * until all are made.
 */
async function spareSecantus(uri: string, isFirst: boolean): Promise<void> {
  const client = new MongoClient(uri, { serverSelectionTimeoutMS: 10_000, socketTimeoutMS: 10_000 });
  const scratch = client.db('test_turns');
  try {
    if (isFirst) {
      await Promise.all(Array.from({ length: SPREAD }, (_, turn) => scratch.createCollection(`spread_${turn}`)));
    }
    await client.db('admin').command({
      configureFailPoint: 'failCommand',
      mode: 'alwaysOn',
      data: { failCommands: ['renameCollection'], closeConnection: true },
    });
    // One that has passed the fail point holds, or is about to take, the lock that these take.
    for (let turn = 0; turn < 5; turn++) {
      await scratch.createCollection(`turn_${turn}`);
      await scratch.dropCollection(`turn_${turn}`);
    }
  } finally {
    await client.close();
  }
}

async function ferretProgram(): Promise<Program> {
  return {
    command: await installFerret(),
    args: (port, directory) => [`127.0.0.1:${port}`, directory],
    options: '?retryWrites=false',
  };
}

async function start({ command, args, options, beforeKill }: Program): Promise<WireServer> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-db-'));
  const uri = `mongodb://127.0.0.1:${port}/${options}`;
  const run = async () => {
    const server = startProcess(command, args(port, directory), { cwd: directory });
    await answers(server, uri);
    return server;
  };
  let server = await run();
  let kills = 0;
  return {
    uri,
    renamesAtomically: beforeKill === undefined,
    kill: async (signal) => {
      await beforeKill?.(uri, kills++ === 0);
      await server.kill(signal);
    },
    freeze: () => server.signal('SIGSTOP'),
    thaw: () => server.signal('SIGCONT'),
    restart: async () => {
      await server.kill('SIGTERM');
      server = await run();
    },
    stop: async () => {
      await server.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function answers(server: RunningProcess, uri: string): Promise<void> {
  await until(
    'the database server to answer',
    async () => {
      if (server.exitStatus() !== undefined) throw new GaveUp(`It ended at once:\n${server.output().slice(-2000)}`);
      const client = new MongoClient(uri, { serverSelectionTimeoutMS: 1000 });
      try {
        await client.db('admin').command({ ping: 1 });
        return true;
      } finally {
        await client.close();
      }
    },
    { ms: START_MS, every: 200 },
  );
}
