import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseConfig } from '../../src/config.ts';
import type { Context } from '../../src/domain/context.ts';
import { openMaster, prepareMaster } from '../../src/domain/master.ts';
import { reconcile } from '../../src/domain/organization/reconcile.ts';
import type { Hasher } from '../../src/platform/password.ts';
import { createServices } from '../../src/services.ts';
import type { Executor } from '../../src/store/port.ts';
import type { Database } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';
import type { FaultyExecutor, FaultyOptions } from './faults.ts';
import { createFaultyExecutor } from './faults.ts';

const LEASE_MS = 1000;
const QUARANTINE_MS = 10_000;

/** More rounds than any mess takes to be cleared up. */
const ROUNDS = 12;

/** One instance of the service: the domain's context over a store of its own view, in which faults can be planned. */
export type Instance = { readonly context: Context; readonly executor: FaultyExecutor };

/** A database, a clock that moves only when it is told to, and instances of the service. */
export type World = {
  readonly database: Database;
  /** A new instance: it knows nothing of what others did. */
  instance(): Instance;
  advance(ms: number): void;
  /** How long a released collection is kept from reuse. */
  readonly quarantineMs: number;
  /** Lets the lease of whoever works now run out, and a new instance clear up until nothing is left to do. */
  recover(): Promise<void>;
  /** Lets the lease of whoever works now run out, and a new instance clear up until it dies at its `at`th call. */
  recoverHalfway(at: number): Promise<void>;
  /** Does so past the quarantine too, until every released collection is free again. */
  settle(): Promise<void>;
  /** What instances logged, for the report of a failure. */
  readonly log: readonly string[];
};

/** A database of its own on a store that is shared, for one experiment after the other. */
export type Stage = {
  /** Lets an experiment have the database, empty but for the master's collections, and empties it again. */
  use<T>(options: WorldOptions, work: (world: World) => Promise<T>): Promise<T>;
  /** Removes the database. The store stays open. */
  close(): Promise<void>;
};

export type WorldOptions = {
  /** Variables of the configuration, beside those that every world has. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the store refuses to rename here, whatever it does elsewhere. */
  readonly refuseRename?: boolean;
};

/** Hashes at once and recognizably: what is tested here are protocols, not bcrypt. */
const plainHasher: Hasher = {
  hash: async (password) => `plain:${password}`,
  verify: async (password, hash) => hash === `plain:${password}`,
};

/** Makes a database for experiments. Making the master's collections takes long enough to be done once for all. */
export async function createStage(shared: Executor, faulty: FaultyOptions = {}): Promise<Stage> {
  const name = `fault_${crypto.randomUUID().replaceAll('-', '').slice(0, 16)}`;
  const database = createStore(shared).database(name);
  await prepareMaster(openMaster(createStore(shared), name));
  const masters = await database.listCollections();
  const empty = async () => {
    for (const collection of await database.listCollections()) {
      if (masters.includes(collection)) await database.collection(collection).deleteMany({});
      else await database.dropCollection(collection);
    }
  };
  return {
    use: async (options, work) => {
      try {
        return await work(createWorld(shared, name, options, faulty));
      } finally {
        await empty();
      }
    },
    close: () => database.drop(),
  };
}

function createWorld(
  shared: Executor,
  name: string,
  { env = {}, ...options }: WorldOptions,
  faulty: FaultyOptions,
): World {
  const config = parseConfig({
    MASTER_DB: name,
    LEASE_MS: String(LEASE_MS),
    QUARANTINE_MS: String(QUARANTINE_MS),
    ...env,
  });
  // A server may remove what has expired by its own clock.
  let now = Date.now();
  const log: string[] = [];
  const advance = (ms: number) => {
    now += ms;
  };

  const instance = (): Instance => {
    const executor = createFaultyExecutor(shared, { ...faulty, ...options });
    const services = createServices(config, {
      executor,
      hasher: plainHasher,
      jwtSecret: 'the secret of no one, as long as it has to be',
      log: (level, event, { error, ...particulars } = {}) =>
        log.push(`${level} ${event} ${JSON.stringify(particulars)} ${error ?? ''}`),
      time: {
        clock: () => new Date(now),
        wait: async (ms) => {
          advance(ms);
          await nextTurn();
        },
      },
    });
    return { context: services.context, executor };
  };

  const clearUp = async () => {
    const { context, executor } = instance();
    for (let round = 1; ; round++) {
      const before = executor.changes();
      await reconcile(context, { thorough: false });
      if (executor.changes() === before) return;
      if (round === ROUNDS) throw new Error(`The reconciler finds no end: ${executor.calls().slice(-40).join(', ')}`);
    }
  };
  const recover = async () => {
    advance(LEASE_MS + 1);
    await clearUp();
  };

  const { master } = instance().context;
  return {
    database: master.database,
    instance,
    advance,
    quarantineMs: QUARANTINE_MS,
    recover,
    recoverHalfway: async (at) => {
      advance(LEASE_MS + 1);
      const rescuer = instance();
      rescuer.executor.arm({ at, fault: 'crash before', meanwhile: async () => {} });
      await reconcile(rescuer.context, { thorough: false }).catch(() => undefined);
    },
    settle: async () => {
      await recover();
      for (let round = 1; (await master.claims.count({ state: 'quarantined' })) > 0; round++) {
        if (round === ROUNDS) throw new Error('A quarantine does not end.');
        advance(QUARANTINE_MS + 1);
        await clearUp();
      }
    },
    log,
  };
}
