import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseConfig } from '../../src/config.ts';
import type { Context } from '../../src/domain/context.ts';
import { prepareDeployment } from '../../src/domain/deployment.ts';
import { MASTER_COLLECTIONS } from '../../src/domain/master.ts';
import type { Message } from '../../src/domain/outbox/schema.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import type { CollectionClaim } from '../../src/domain/tenant-data/schema.ts';
import type { Hasher } from '../../src/platform/hashing/hasher.ts';
import { createServices } from '../../src/services.ts';
import type { Command, CommandOf, Executor, Op } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import type { Database } from '../../src/store/store.ts';
import { Store } from '../../src/store/store.ts';
import type { Fault, FaultyExecutor } from './faults.ts';
import { createFaultyExecutor } from './faults.ts';
import type { TenantGuard } from './tenant-guard.ts';
import { createTenantGuard } from './tenant-guard.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

const LEASE_MS = SECOND_MS;

/** More rounds than anything takes to be cleared up. */
const ROUNDS = 24;

/** One instance of the service: the domain's context over a store of its own view, in which faults can be planned. */
export type Instance = {
  readonly context: Context;
  readonly executor: FaultyExecutor;
  /** Sets its clock ahead of the world's; a negative number sets it behind. */
  setClock(ms: number): void;
};

/** A database, a clock that moves only when it is told to, and instances of the service. */
export type World = {
  readonly database: Database;
  readonly guard: Pick<TenantGuard, 'register' | 'check' | 'violations'>;
  /** A new instance: it knows nothing of what others did. */
  instance(clockMs?: number): Instance;
  advance(ms: number): void;
  /** Whether the server refuses to rename from now on. */
  refuseRename(refuses: boolean): void;
  refusesRename(): boolean;
  /** Another instance clears up what is due by its clock, until nothing is left to do. */
  clearUp(clockMs?: number): Promise<void>;
  /** The leases of operations under way expire, and another instance clears up. */
  recover(): Promise<void>;
  /** As `recover`, when a look is due too. The other instance meets a fault at its `at`th call. @returns whether it came to it */
  recoverWith(plan: { readonly at: number; readonly fault: Fault }): Promise<boolean>;
  /** So much time passes, in which others clear up again and again. */
  sleep(ms: number): Promise<void>;
  /** Everything that is due comes to be done, also what would be due only after days. */
  settle(): Promise<void>;
  /** Every mail that was handed over, in order. */
  readonly mails: readonly Message[];
  /** What instances logged, for the report of a failure. */
  readonly log: readonly string[];
};

/** A database of its own on a shared store, for one experiment after another. */
export type Stage = {
  /** Gives an experiment the database, empty but for the master's collections, and empties it again. */
  use<T>(options: WorldOptions, work: (world: World) => Promise<T>): Promise<T>;
  /** Removes the database. The store stays open. */
  close(): Promise<void>;
};

export type WorldOptions = {
  /** Variables of the configuration, beside those that every world has. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the server tells nothing that a collection could be recognized by. */
  readonly withoutIds?: boolean;
};

/** Hashes at once and recognizably: what is tested here are protocols, not bcrypt. */
export const plainHasher: Hasher = {
  hash: async (password) => `plain:${password}`,
  verify: async (password, hash) => hash === `plain:${password}`,
};

/** What becomes of a call that is let on. */
export type CallPlan = { readonly losesReply?: boolean; readonly ended?: () => void };

/** What is said of a database; the service's own. */
const DEPLOYMENT = 'tenantry';

/**
 * Makes a database for experiments.
 * Making the master's collections takes long enough to be done once for all.
 * @param options.beforeCall awaited before each call of an instance; what it throws is thrown instead of the call
 */
export async function createStage(
  shared: Executor,
  { beforeCall }: { readonly beforeCall?: (command: Command) => Promise<CallPlan | undefined> | undefined } = {},
): Promise<Stage> {
  const name = `fault_${crypto.randomUUID().replaceAll('-', '').slice(0, 16)}`;
  const database = new Store(shared).database(name);
  const masters = new Set([...Object.keys(MASTER_COLLECTIONS), DEPLOYMENT]);
  const guard = createTenantGuard(shared, { database: name, masters });
  const interleaved: Executor = {
    limits: shared.limits,
    close: async () => {},
    execute: async <O extends Op>(command: CommandOf<O>) => {
      const plan = await beforeCall?.(command);
      try {
        const result = await guard.execute(command);
        if (plan?.losesReply) throw new StoreError('OutcomeUnknown', 'The reply was lost.');
        return result;
      } finally {
        plan?.ended?.();
      }
    },
  };
  await prepareDeployment(createWorld(guard, name, {}, guard).instance().context);
  const empty = async () => {
    for (const collection of await database.listCollections()) {
      if (collection.name === DEPLOYMENT) continue;
      if (masters.has(collection.name)) await database.collection(collection.name).deleteMany({});
      else await database.dropCollection(collection.name);
    }
    guard.reset();
  };
  return {
    use: async (options, work) => {
      try {
        return await work(createWorld(interleaved, name, options, guard));
      } finally {
        await empty();
      }
    },
    close: () => database.drop(),
  };
}

function createWorld(
  store: Executor,
  name: string,
  { env = {}, withoutIds = false }: WorldOptions,
  guard: TenantGuard,
): World {
  const config = parseConfig({
    MASTER_DB: name,
    LEASE_MS: String(LEASE_MS),
    JWT_EXP_MINUTES: '1440',
    SESSION_IDLE_DAYS: '366',
    SESSION_DAYS: '366',
    LIMIT_RENAME: 'off',
    ...env,
  });
  // A server may remove what has expired by its own clock.
  let now = Date.now();
  let refuses = false;
  const log: string[] = [];
  const mails: Message[] = [];
  const advance = (ms: number) => {
    now += ms;
  };

  const instance = (clockMs = 0): Instance => {
    let ahead = clockMs;
    const executor = createFaultyExecutor(store, { refusesRename: () => refuses, withoutIds });
    const services = createServices(config, {
      executor,
      hasher: plainHasher,
      jwtSecret: 'the secret of no one, as long as it has to be',
      log: (level, event, { error, ...particulars } = {}) => {
        if (level !== 'info') log.push(`${level} ${event} ${JSON.stringify(particulars)} ${error ?? ''}`);
      },
      time: {
        clock: () => new Date(now + ahead),
        wait: async (ms) => {
          advance(ms);
          await nextTurn();
        },
      },
      mailer: {
        send: async (message) => {
          mails.push(message);
          return 'sent';
        },
      },
    });
    return {
      context: services.context,
      executor,
      setClock: (ms) => {
        ahead = ms;
      },
    };
  };

  const clearUp = async (clockMs = 0) => {
    const { context, executor } = instance(clockMs);
    for (let round = 0; ; round++) {
      const before = executor.changes();
      await reconcile(context, round);
      if (executor.changes() === before) return;
      if (round === ROUNDS) throw new Error(`The reconciler finds no end: ${executor.calls().slice(-40).join(', ')}`);
    }
  };
  const recover = async () => {
    advance(LEASE_MS + 1);
    await clearUp();
  };
  const { master } = instance().context;

  /** Makes looks due that would come after days: a writer that is late for hours is found by one of them. */
  const lookNow = async () => {
    const past = new Date(now - 1);
    const claims = await master.collections.find({ kind: 'collection', due_at: { $gt: past } });
    const stubs = await master.organizations.find({ status: 'erased' });
    const openMoves = await master.organizations.find({ status: 'active', due_at: { $gt: past } });
    await Promise.all([
      ...claims.map(({ _id }: CollectionClaim) => master.collections.updateOne({ _id }, { $set: { due_at: past } })),
      ...[...stubs, ...openMoves].map(({ _id }) => master.organizations.updateOne({ _id }, { $set: { due_at: past } })),
    ]);
    await clearUp();
  };

  return {
    database: master.database,
    guard,
    instance,
    advance,
    refuseRename: (on) => {
      refuses = on;
    },
    refusesRename: () => refuses,
    clearUp,
    recover,
    recoverWith: async ({ at, fault }) => {
      advance(31 * SECOND_MS);
      const rescuer = instance();
      rescuer.executor.arm({ at, fault, meanwhile: recover });
      await reconcile(rescuer.context, 0).catch(() => undefined);
      return rescuer.executor.hasHappened();
    },
    sleep: async (ms) => {
      await recover();
      advance(31 * SECOND_MS);
      await clearUp();
      advance(ms);
      await clearUp();
    },
    settle: async () => {
      await recover();
      // A look; an item that failed; a lease and a checkpoint by a clock that is an hour ahead; a checkpoint again.
      for (const ms of [31 * SECOND_MS, 6 * MINUTE_MS, 61 * MINUTE_MS, 2 * MINUTE_MS]) {
        advance(ms);
        await clearUp();
      }
      // The first may end an open move, the second finds what was left then, the third merges what the second could not.
      for (let look = 1; look <= 3; look++) await lookNow();
    },
    mails,
    log,
  };
}
