import { v7 as uuidv7 } from 'uuid';
import type { Config } from './config.ts';
import { createTurns } from './domain/audit/turns.ts';
import type { Context, Log, Passwords } from './domain/context.ts';
import { DomainError } from './domain/errors.ts';
import type { Mailer } from './domain/mail/mailer.ts';
import { openMaster, prepareMaster } from './domain/master.ts';
import { reconcile } from './domain/organization/reconcile.ts';
import { createAccessTokens } from './platform/access-token.ts';
import type { KeyRings } from './platform/key-rings.ts';
import { createSecretKeyRings } from './platform/key-rings.ts';
import { createKeyedHash } from './platform/keyed-hash.ts';
import { createUnsentMailer } from './platform/mail/unsent.ts';
import type { Hasher } from './platform/password.ts';
import { costOf, HasherBusyError } from './platform/password.ts';
import { createSeals } from './platform/seals.ts';
import type { Executor } from './store/port.ts';
import { createStore } from './store/store.ts';

const MINUTE = 60;

/** What of a request's time it may wait for a copy of documents: the rest is for its answer. */
const COPY_SHARE = 0.6;

/** The name, in placements, of the one cluster there is. */
const MAIN_CLUSTER = 'main';

/** What differs by runtime. */
export type Platform = {
  readonly executor: Executor;
  readonly hasher: Hasher;
  /** JWT_SECRET, or the one kept beside the embedded store's data: hashes are keyed with it, and tokens signed. */
  readonly jwtSecret: string;
  /** What tokens are signed with instead: the keys of JWT_KEYS. */
  readonly keys?: KeyRings;
  readonly log: Log;
  /** The time, where it is not the machine's own. */
  readonly time?: Pick<Context, 'clock' | 'wait'>;
  /** Left out: nothing is sent, and the log says what would have been. */
  readonly mailer?: Mailer;
  /** As in the context. Left out: what is left for later is left to the reconciler. */
  readonly later?: Context['later'];
};

/** The service's parts, wired together. */
export type Services = {
  readonly context: Context;
  /** How long a request may take before its caller gets 503, in milliseconds. */
  readonly requestMs: number;
  /** Whose X-Forwarded-For counts: addresses and networks. */
  readonly trustedProxies: readonly string[];
  /** Makes the master's collections once; tries again at the next call when the store was away. */
  prepare(): Promise<void>;
  /** Resolves when the service can serve. @throws {StoreError} */
  checkReady(): Promise<void>;
  /** Ends what was left open by instances that died: see domain/organization/reconcile.ts. True: again at once. */
  reconcile(scope: { thorough: boolean }): Promise<boolean>;
  close(): Promise<void>;
};

const machineTime: Pick<Context, 'clock' | 'wait'> = {
  clock: () => new Date(),
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

/** Wires the parts together, from configuration and what the runtime brings. Asks nothing of the store yet. */
export function createServices(config: Config, platform: Platform): Services {
  const store = createStore(platform.executor);
  const { clock, wait } = platform.time ?? machineTime;
  const newId = () => uuidv7();
  const keys = platform.keys ?? createSecretKeyRings(platform.jwtSecret, config.jwt.algorithm);
  const context: Context = {
    request: { id: 'service', address: null, device: null },
    noteBudget: () => {},
    master: openMaster(store, config.masterDatabase),
    clusters: () => store,
    passwords: createPasswords(platform.hasher, config.bcryptCost),
    tokens: createAccessTokens({ ...config.jwt, keys, clock, newId }),
    mailer: platform.mailer ?? createUnsentMailer(platform.log),
    later: platform.later ?? (async () => {}),
    clock,
    keyedHash: createKeyedHash(platform.jwtSecret),
    seals: createSeals(config.auditSecrets ?? [platform.jwtSecret]),
    auditTurns: createTurns(machineTime.wait),
    wait,
    newId,
    log: platform.log,
    settings: {
      placement: { cluster: MAIN_CLUSTER, database: config.tenantsDatabase },
      leaseMs: config.leaseMs,
      quarantineMs: config.quarantineMs,
      copyWaitMs: Math.min(config.copyWaitMs, config.storeTimeoutMs * COPY_SHARE),
      nameLeaseMs: config.nameLeaseMs,
      retentionMs: config.retentionMs,
      publicUrl: config.publicUrl,
      requireVerifiedEmail: config.requireVerifiedEmail,
      freshSignInSeconds: 15 * MINUTE,
      sessionSeconds: config.sessionSeconds,
      limits: config.limits,
    },
  };

  let prepared: Promise<void> | undefined;
  const prepare = () => {
    prepared ??= prepareMaster(context.master).catch((error: unknown) => {
      prepared = undefined;
      throw error;
    });
    return prepared;
  };
  return {
    context,
    requestMs: config.storeTimeoutMs,
    trustedProxies: config.trustedProxies,
    prepare,
    checkReady: async () => {
      await prepare();
      await store.ping();
    },
    reconcile: async (scope) => {
      await prepare();
      return reconcile(context, scope);
    },
    close: () => store.close(),
  };
}

/** The runtime's hasher in the domain's terms. */
function createPasswords(hasher: Hasher, cost: number): Passwords {
  const busy = (error: unknown): never => {
    if (!(error instanceof HasherBusyError)) throw error;
    throw new DomainError('busy', 'Too many sign-ins at once. Try again.', { cause: error });
  };
  return {
    hash: (password) => hasher.hash(password).catch(busy),
    verify: (password, hash) => hasher.verify(password, hash ?? '').catch(busy),
    isOutdated: (hash) => (costOf(hash) ?? cost) < cost,
  };
}
