import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { GaveUp, until } from './deadline.ts';
import { freePort } from './free-port.ts';
import { findOnPath, installSecantus } from './install.ts';
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
  freeze(): Promise<void>;
  thaw(): void;
  /** Starts it again on the same port and data; resolves when it answers. */
  restart(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
};

type Program = {
  readonly command: string;
  readonly args: (port: number, directory: string) => readonly string[];
  /** Done before it is killed, so that the kill shows what the service does, and not what a stand-in cannot. */
  readonly beforeKill?: (uri: string, isFirst: boolean) => Promise<void>;
};

const START_MS = 60_000;

/** The address of a MongoDB that the caller of the tests provides, if any. */
export const givenUri = (): string | undefined =>
  process.env['TEST_MONGO_URI'] || process.env['MONGO_URI'] || undefined;

/**
 * The server that test/support/run.ts started for all parts of its run; without `uri` where this machine has none.
 * Undefined: test/support/run.ts does not run.
 */
export function sharedServer(): { readonly uri: string | undefined } | undefined {
  const uri = process.env['TEST_SHARED_MONGO_URI'];
  return uri === undefined ? undefined : { uri: uri || undefined };
}

/**
 * Starts a MongoDB: a `mongod` on the PATH, else SecantusDB, which is installed first if necessary.
 * @param durable whether acknowledged writes survive a kill, which halves SecantusDB's speed
 * @returns undefined, after a loud line, where there is no server
 * @throws {Error} where there is no server and this is CI
 */
export async function startMongo({ durable }: { readonly durable: boolean }): Promise<WireServer | undefined> {
  try {
    return await start(await mongoProgram(durable));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const what = 'MongoDB (a mongod on the PATH, or SecantusDB, which needs python3 and pip)';
    if (process.env['CI'] === 'true') throw new Error(`${what} is needed on CI: ${reason}`, { cause: error });
    process.stderr.write(`\n!!! LEFT OUT: every test on ${what}, because it could not be started: ${reason}\n\n`);
    return undefined;
  }
}

async function mongoProgram(durable: boolean): Promise<Program> {
  const mongod = await findOnPath('mongod');
  if (mongod !== undefined) {
    return {
      command: mongod,
      args: (port, directory) => ['--port', String(port), '--dbpath', directory, '--bind_ip', '127.0.0.1'],
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

async function start({ command, args, beforeKill }: Program): Promise<WireServer> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-db-'));
  const uri = `mongodb://127.0.0.1:${port}/`;
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
    freeze: async () => {
      server.signal('SIGSTOP');
      await until('the database server to stop', async () => server.isStopped() || undefined, { ms: 10_000, every: 5 });
    },
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
