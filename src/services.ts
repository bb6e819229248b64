import { v7 as uuidv7 } from 'uuid';
import type { Config } from './config.ts';
import type { Context, Log } from './domain/context.ts';
import { prepareDeployment } from './domain/deployment.ts';
import { Master } from './domain/master.ts';
import { resumeOperation } from './domain/operations.ts';
import { reservedNames } from './domain/organization/new-name.ts';
import type { Mailer } from './domain/outbox/schema.ts';
import { blockOf, neighbourhoodOf } from './domain/rate-limit/address.ts';
import { reconcile } from './domain/reconcile.ts';
import { createAccessTokens } from './platform/access-token.ts';
import { createBreachedPasswords } from './platform/breached-passwords.ts';
import { createCaptcha } from './platform/captcha.ts';
import { createEncryption } from './platform/encryption.ts';
import type { Hasher } from './platform/hashing/hasher.ts';
import { costOf } from './platform/hashing/hasher.ts';
import type { KeyRings } from './platform/key-rings.ts';
import { createSecretKeyRings } from './platform/key-rings.ts';
import { createKeyedHash } from './platform/keyed-hash.ts';
import { createLogOnlyMailer } from './platform/mail/log-only.ts';
import { createSeals } from './platform/seals.ts';
import type { Executor } from './store/port.ts';
import type { TimeLeft } from './store/store.ts';
import { Store } from './store/store.ts';

const MINUTE_SECONDS = 60;
const DAY_SECONDS = 24 * 60 * MINUTE_SECONDS;
const DAY_MS = DAY_SECONDS * 1000;

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
  readonly mailer?: Mailer | undefined;
  /** Begins work in a turn of its own; resolves when it has ended, and never rejects. Left out: the reconciler does it. */
  readonly background?: (work: () => Promise<unknown>) => Promise<void>;
};

type RequestScope = Pick<Context, 'request' | 'noteBudget'> & {
  /** Keeps the instance alive until the work has ended, where the runtime would not. */
  readonly waitUntil?: ((work: Promise<void>) => void) | undefined;
};

export type Services = ReturnType<typeof createServices>;

const machineTime: Pick<Context, 'clock' | 'wait'> = {
  clock: () => new Date(),
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

/** Wires the parts together, from configuration and what the runtime brings. Asks nothing of the store yet. */
export function createServices(config: Config, platform: Platform) {
  const store = new Store(platform.executor);
  const { clock, wait } = platform.time ?? machineTime;
  const background = platform.background ?? (async () => {});
  const newId = () => uuidv7();
  const ports = (timeLeft?: TimeLeft) => {
    const bound = timeLeft === undefined ? store : store.within(timeLeft);
    const tenants: Context['tenants'] = ({ database }) => bound.database(database);
    return { master: new Master(bound, config.MASTER_DB), tenants };
  };
  /** The hasher for callers of one neighbourhood or block of addresses. */
  const passwordsFor = (address: string | null): Context['passwords'] => {
    const { hasher } = platform;
    const caller = () => (address === null ? '' : (neighbourhoodOf(address) ?? blockOf(address)));
    return {
      hash: (password) => hasher.hash(password, caller()),
      verify: (password, hash = '') => hasher.verify(password, hash, caller()),
      admit: (signIn) => (hasher.admit === undefined ? signIn() : hasher.admit(signIn, caller())),
      share: (work) => (hasher.share === undefined ? work() : hasher.share(work, caller())),
      isOutdated: (hash) => (costOf(hash) ?? config.BCRYPT_COST) < config.BCRYPT_COST,
    };
  };
  const context: Context = {
    ...ports(),
    request: { id: 'service', address: null, device: null },
    noteBudget: () => {},
    passwords: passwordsFor(null),
    tokens: createAccessTokens({
      keys: platform.keys ?? createSecretKeyRings(platform.jwtSecret, config.JWT_ALGORITHM),
      issuer: config.JWT_ISSUER,
      audience: config.JWT_AUDIENCE,
      lifetimeSeconds: config.JWT_EXP_MINUTES * MINUTE_SECONDS,
      clock,
      newId,
    }),
    mailer: platform.mailer ?? createLogOnlyMailer(platform.log),
    captcha:
      config.CAPTCHA_VERIFY_URL === undefined
        ? null
        : createCaptcha({ url: config.CAPTCHA_VERIFY_URL, secret: config.CAPTCHA_SECRET ?? '', log: platform.log }),
    breachedPasswords:
      config.PASSWORD_BLOCKLIST === 'breached'
        ? createBreachedPasswords({ url: config.PASSWORD_BREACH_URL, log: platform.log })
        : null,
    runInBackground: (work) => background(() => work(context)),
    resume: resumeOperation,
    clock,
    keyedHash: createKeyedHash(platform.jwtSecret),
    encryption: createEncryption(config.AUDIT_SECRET ?? [platform.jwtSecret]),
    seals: createSeals(config.AUDIT_SECRET ?? [platform.jwtSecret]),
    auditTails: new Map(),
    wait,
    newId,
    log: platform.log,
    settings: {
      placement: { cluster: MAIN_CLUSTER, database: config.TENANTS_DB ?? config.MASTER_DB },
      leaseMs: config.LEASE_MS,
      nameLeaseMs: config.NAME_LEASE_DAYS * DAY_MS,
      retentionMs: config.DELETE_RETENTION_DAYS * DAY_MS,
      auditRetentionMs: config.AUDIT_RETENTION_DAYS * DAY_MS,
      publicUrl: config.PUBLIC_URL,
      refuseCommonPasswords: config.PASSWORD_BLOCKLIST !== 'off',
      requireVerifiedEmail: config.REQUIRE_VERIFIED_EMAIL,
      requireSecondFactor: config.REQUIRE_SECOND_FACTOR,
      signUp: config.SIGNUP,
      signUpKeys: config.SIGNUP_KEYS ?? [],
      orgLookup: config.ORG_LOOKUP,
      reservedNames: reservedNames(config.RESERVED_NAMES ?? []),
      freshSignInSeconds: 15 * MINUTE_SECONDS,
      sessionSeconds: { absolute: config.SESSION_DAYS * DAY_SECONDS, idle: config.SESSION_IDLE_DAYS * DAY_SECONDS },
      limits: {
        loginAddress: config.LIMIT_LOGIN_ADDRESS,
        loginAccount: config.LIMIT_LOGIN_ACCOUNT,
        create: config.LIMIT_CREATE,
        mail: config.LIMIT_MAIL,
        mailRecipient: config.LIMIT_MAIL_RECIPIENT,
        refresh: config.LIMIT_REFRESH,
        change: config.LIMIT_CHANGE,
        token: config.LIMIT_CHANGE,
        rename: config.LIMIT_RENAME,
        inspect: config.LIMIT_INSPECT,
      },
    },
  };

  // Results are kept, promises are not: on Workers nobody may await what another request began.
  let prepared = false;
  /**
   * Makes the databases ready, or finds them so; at once when this instance did before.
   * @throws {DeploymentMismatchError} when they are another deployment's
   * @throws {StoreError}
   */
  const prepare = async () => {
    if (prepared) return;
    await prepareDeployment(context);
    prepared = true;
  };
  // Not from 0: an instance that lives for one round has its turn at each kind of what expires, minute by minute.
  let turn = Math.floor(clock().getTime() / (MINUTE_SECONDS * 1000));
  return {
    /** What the service does by itself works with this one. */
    context,
    /** The context of a request, whose store calls end with its time. */
    contextFor: ({ request, noteBudget, waitUntil }: RequestScope): Context => {
      const deadline = performance.now() + config.STORE_TIMEOUT_MS;
      return {
        ...context,
        ...ports(() => deadline - performance.now()),
        request,
        noteBudget,
        passwords: passwordsFor(request.address),
        runInBackground: (work) => {
          const run = background(() => work({ ...context, request }));
          waitUntil?.(run);
          return run;
        },
      };
    },
    /** How long a request may take before its caller gets 503, in milliseconds. */
    requestMs: config.STORE_TIMEOUT_MS,
    /** Whose X-Forwarded-For counts: addresses and networks. */
    trustedProxies: config.TRUSTED_PROXIES ?? [],
    prepare,
    /** Resolves when the service can serve. @throws {StoreError} */
    checkReady: async () => {
      await prepare();
      await store.ping();
    },
    /** One round of due work: see domain/reconcile.ts. True: the next one should come at once. */
    reconcile: async (): Promise<boolean> => {
      await prepare();
      return reconcile(context, turn, () => turn++);
    },
    close: () => store.close(),
  };
}
