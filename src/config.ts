import ipaddr from 'ipaddr.js';
import * as z from 'zod';
import type { KeyAlgorithm } from './platform/key-ring.ts';
import { HOW_TO_MAKE, KEY_ALGORITHMS } from './platform/key-ring.ts';
import { FILE_REFERENCE } from './platform/secrets.ts';

/** The environment as every runtime can give it: names to text. */
export type Environment = Readonly<Record<string, string | undefined>>;

const MIN_SECRET_BYTES = 32;
const DAY_SECONDS = 24 * 60 * 60;
const DAY_MS = DAY_SECONDS * 1000;

const MAX_LIMIT = 1_000_000;

const SECRET_ADVICE = 'Make one with: openssl rand -base64 48';

const text = z.string().trim().min(1);
const databaseName = text.regex(/^[A-Za-z0-9_-]{1,63}$/, 'is 1 to 63 letters, digits, "_" or "-"');
const integer = (min: number, max: number) =>
  text
    .regex(/^\d+$/, `is a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `is a whole number from ${min} to ${max}`);

/** `count/seconds`, or `off` for null. */
const limit = text.transform((value, context) => {
  if (value === 'off') return null;
  const [count = 0, seconds = 0] = /^\d{1,7}\/\d{1,7}$/.test(value) ? value.split('/').map(Number) : [];
  if (count >= 1 && count <= MAX_LIMIT && seconds >= 1 && seconds <= DAY_SECONDS) return { count, seconds };
  context.addIssue(`is off, or count/seconds: 1 to ${MAX_LIMIT} in 1 to ${DAY_SECONDS} seconds`);
  return z.NEVER;
});

const isNetwork = (value: string): boolean =>
  ipaddr.IPv4.isValidFourPartDecimal(value) ||
  ipaddr.IPv4.isValidCIDRFourPartDecimal(value) ||
  ipaddr.IPv6.isValid(value) ||
  ipaddr.IPv6.isValidCIDR(value);

/** Addresses and networks, separated by commas. */
const networks = text
  .transform((value) => value.split(',').map((network) => network.trim()))
  .refine(
    (list) => list.every(isNetwork),
    'is addresses and networks (10.0.0.0/8, 2001:db8::/32), separated by commas',
  );

const url = (...protocols: readonly string[]) =>
  text.refine(
    (value) => protocols.includes(URL.parse(value)?.protocol ?? ''),
    `is an address that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  );

/** Every variable of the service, with its default. README.md and .dev.vars.example list the same ones. */
const schema = z.object({
  MONGO_URI: text
    .regex(/^mongodb(\+srv)?:\/\//, 'starts with mongodb:// or mongodb+srv:// (leave it out for the embedded store)')
    .optional(),
  MASTER_DB: databaseName.default('master_db'),
  TENANTS_DB: databaseName.optional(),
  JWT_SECRET: text
    .refine(
      (secret) => secret.startsWith(FILE_REFERENCE) || new TextEncoder().encode(secret).byteLength >= MIN_SECRET_BYTES,
      `has at least ${MIN_SECRET_BYTES} bytes. ${SECRET_ADVICE}`,
    )
    .optional(),
  JWT_KEYS: text.optional(),
  JWT_ALGORITHM: z.enum(KEY_ALGORITHMS, 'is HS256, HS384, HS512, ES256 or EdDSA').default('HS256'),
  JWT_ISSUER: text.default('tenantry'),
  JWT_AUDIENCE: text.default('tenantry'),
  JWT_EXP_MINUTES: integer(1, 1440).default(60),
  AUDIT_SECRET: text
    .transform((list) => list.split(',').map((secret) => secret.trim()))
    .refine(
      (secrets) => secrets.every((secret) => new TextEncoder().encode(secret).byteLength >= MIN_SECRET_BYTES),
      `has at least ${MIN_SECRET_BYTES} bytes in each of its secrets (comma-separated, the current one first). ${SECRET_ADVICE}`,
    )
    .optional(),
  SESSION_DAYS: integer(1, 366).default(30),
  SESSION_IDLE_DAYS: integer(1, 366).default(7),
  HOST: text.default('127.0.0.1'),
  PORT: integer(0, 65535).default(8000),
  DATA_DIR: text.default('./data'),
  BCRYPT_COST: integer(10, 15).default(10),
  TRUSTED_PROXIES: networks.default([]),
  LIMIT_LOGIN_ADDRESS: limit.default({ count: 100, seconds: 60 }),
  LIMIT_LOGIN_ACCOUNT: limit.default({ count: 10, seconds: 60 }),
  LIMIT_CREATE: limit.default({ count: 100, seconds: 600 }),
  LIMIT_MAIL: limit.default({ count: 20, seconds: 600 }),
  LIMIT_REFRESH: limit.default({ count: 600, seconds: 60 }),
  STORE_TIMEOUT_MS: integer(100, 60_000).default(5000),
  GATEWAY_OBJECTS: integer(1, 64).default(4),
  NAME_LEASE_DAYS: integer(0, 3650).default(0),
  DELETE_RETENTION_DAYS: integer(0, 3650).default(0),
  MAIL_FROM: text
    .regex(
      /^(?:[^<>"\p{Cc}]{1,100} <[^\s<>",;:\p{Cc}]+@[^\s<>",;:@\p{Cc}]+>|[^\s<>",;:\p{Cc}]+@[^\s<>",;:@\p{Cc}]+)$/u,
      'is an address, or: Name <address>',
    )
    .default('Tenantry <no-reply@localhost>'),
  SMTP_URL: url('smtp:', 'smtps:').optional(),
  MAIL_API_URL: url('https:', 'http:').optional(),
  MAIL_API_TOKEN: text.optional(),
  PUBLIC_URL: url('https:', 'http:').optional(),
  REQUIRE_VERIFIED_EMAIL: z.enum(['true', 'false'], 'is true or false').default('false'),
  LEASE_MS: integer(100, 600_000).default(30_000),
  QUARANTINE_MS: integer(100, 86_400_000).default(600_000),
  COPY_WAIT_MS: integer(100, 60_000).default(3000),
  RECONCILE_MS: integer(100, 600_000).default(15_000),
});

/** The service's configuration: parsed once, handed in, never read from the environment again. */
export type Config = {
  /** Undefined: the embedded store, in `dataDir`. */
  readonly mongoUri: string | undefined;
  readonly masterDatabase: string;
  /** Where the tenants' collections live; the master database itself unless TENANTS_DB says otherwise. */
  readonly tenantsDatabase: string;
  readonly jwt: {
    /** Undefined only with the embedded store: the platform then makes one and keeps it beside the data. */
    readonly secret: string | undefined;
    /** A JWK Set, or what refers to it; undefined: the secret is the only key. */
    readonly keys: string | undefined;
    /** Of the key in `secret`; the keys in `keys` each have their own. */
    readonly algorithm: KeyAlgorithm;
    readonly issuer: string;
    readonly audience: string;
    readonly lifetimeSeconds: number;
  };
  /** How long a session lasts at most, and unused, in seconds. */
  readonly sessionSeconds: { readonly absolute: number; readonly idle: number };
  /** What the audit log is sealed with, the current one first. Undefined: the signing secret. */
  readonly auditSecrets: readonly string[] | undefined;
  readonly mail: {
    readonly from: { readonly name: string | undefined; readonly address: string };
    /** Node and Bun only. */
    readonly smtpUrl: string | undefined;
    readonly api: { readonly url: string; readonly token: string } | undefined;
  };
  /** The base of the links in mails, without a slash at its end; undefined: there is no front end. */
  readonly publicUrl: string | undefined;
  readonly requireVerifiedEmail: boolean;
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly bcryptCost: number;
  /** Whose X-Forwarded-For counts. */
  readonly trustedProxies: readonly string[];
  /** How often what may be done; null: as often as one likes. */
  readonly limits: Readonly<
    Record<'loginAddress' | 'loginAccount' | 'create' | 'mail' | 'refresh', { count: number; seconds: number } | null>
  >;
  /** How long a request may wait for the store, in one call or in several, before its caller gets 503. */
  readonly storeTimeoutMs: number;
  /** On Workers with MONGO_URI: how many Durable Objects hold a connection pool each. */
  readonly gatewayObjects: number;
  /** How long a name is kept for the organization that left it by a rename; 0: not at all. */
  readonly nameLeaseMs: number;
  /** How long a deleted organization can be restored; 0: it is dropped at once. */
  readonly retentionMs: number;
  /** How long an operation belongs to the instance that runs it: longer than any step of it takes. */
  readonly leaseMs: number;
  /** How long a released collection name is kept from reuse: longer than any write can be in flight. */
  readonly quarantineMs: number;
  /** How long a request waits for a copy of documents, and a round of the reconciler goes on with one. */
  readonly copyWaitMs: number;
  /** Node and Bun: how often the process looks for what was left open. */
  readonly reconcileMs: number;
};

/** Everything wrong with the environment, a line a problem, each naming its variable. Never holds a value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

/**
 * Reads the configuration from the environment. An empty variable counts as one left out.
 * @throws {ConfigError} naming every variable that is wrong, at once
 */
export function parseConfig(environment: Environment): Config {
  const given = Object.fromEntries(
    Object.keys(schema.shape).flatMap((name) => {
      const value = environment[name];
      return value === undefined || value.trim() === '' ? [] : [[name, value]];
    }),
  );
  const parsed = schema.safeParse(given);
  const problems = parsed.success
    ? []
    : parsed.error.issues.map((issue) => `${String(issue.path[0])} ${issue.message.replace(/^Invalid input: /, '')}.`);
  if (!('JWT_SECRET' in given)) {
    const { JWT_ALGORITHM: algorithm = 'HS256' } = parsed.data ?? {};
    if ('MONGO_URI' in given && 'JWT_KEYS' in given) {
      problems.push(
        `JWT_SECRET is missing: beside JWT_KEYS, it keys the hashes that instances share. ${SECRET_ADVICE}`,
      );
    } else if ('MONGO_URI' in given) {
      problems.push(`JWT_SECRET is missing, and MONGO_URI is set. Make one with: ${HOW_TO_MAKE[algorithm]}`);
    } else if (!('JWT_KEYS' in given) && !algorithm.startsWith('HS')) {
      problems.push(
        `JWT_SECRET is missing, and JWT_ALGORITHM is ${algorithm}. Make one with: ${HOW_TO_MAKE[algorithm]}`,
      );
    }
  }
  problems.push(...mailProblems(given));
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);

  const variables = parsed.data;
  return {
    mongoUri: variables.MONGO_URI,
    masterDatabase: variables.MASTER_DB,
    tenantsDatabase: variables.TENANTS_DB ?? variables.MASTER_DB,
    jwt: {
      secret: variables.JWT_SECRET,
      keys: variables.JWT_KEYS,
      algorithm: variables.JWT_ALGORITHM,
      issuer: variables.JWT_ISSUER,
      audience: variables.JWT_AUDIENCE,
      lifetimeSeconds: variables.JWT_EXP_MINUTES * 60,
    },
    sessionSeconds: { absolute: variables.SESSION_DAYS * DAY_SECONDS, idle: variables.SESSION_IDLE_DAYS * DAY_SECONDS },
    auditSecrets: variables.AUDIT_SECRET,
    mail: {
      from: sender(variables.MAIL_FROM),
      smtpUrl: variables.SMTP_URL,
      api:
        variables.MAIL_API_URL === undefined
          ? undefined
          : { url: variables.MAIL_API_URL, token: variables.MAIL_API_TOKEN ?? '' },
    },
    publicUrl: variables.PUBLIC_URL?.replace(/\/+$/, ''),
    requireVerifiedEmail: variables.REQUIRE_VERIFIED_EMAIL === 'true',
    host: variables.HOST,
    port: variables.PORT,
    dataDir: variables.DATA_DIR,
    bcryptCost: variables.BCRYPT_COST,
    trustedProxies: variables.TRUSTED_PROXIES,
    limits: {
      loginAddress: variables.LIMIT_LOGIN_ADDRESS,
      loginAccount: variables.LIMIT_LOGIN_ACCOUNT,
      create: variables.LIMIT_CREATE,
      mail: variables.LIMIT_MAIL,
      refresh: variables.LIMIT_REFRESH,
    },
    storeTimeoutMs: variables.STORE_TIMEOUT_MS,
    gatewayObjects: variables.GATEWAY_OBJECTS,
    nameLeaseMs: variables.NAME_LEASE_DAYS * DAY_MS,
    retentionMs: variables.DELETE_RETENTION_DAYS * DAY_MS,
    leaseMs: variables.LEASE_MS,
    quarantineMs: variables.QUARANTINE_MS,
    copyWaitMs: variables.COPY_WAIT_MS,
    reconcileMs: variables.RECONCILE_MS,
  };
}

/** What is wrong with the mail variables together. */
function mailProblems(given: Readonly<Record<string, string | undefined>>): string[] {
  const problems: string[] = [];
  const sends = 'SMTP_URL' in given || 'MAIL_API_URL' in given;
  if ('SMTP_URL' in given && 'MAIL_API_URL' in given) {
    problems.push('SMTP_URL and MAIL_API_URL are both set. Leave one of them out.');
  }
  if (sends && !('MAIL_FROM' in given)) {
    problems.push('MAIL_FROM is missing, and mail is to be sent. Set it to an address that may send it.');
  }
  if ('MAIL_API_URL' in given && !('MAIL_API_TOKEN' in given)) {
    problems.push('MAIL_API_TOKEN is missing, and MAIL_API_URL is set. Set it to the key that the provider gave you.');
  }
  const api = URL.parse(given['MAIL_API_URL'] ?? '');
  if (api?.protocol === 'http:' && !['127.0.0.1', 'localhost'].includes(api.hostname)) {
    problems.push('MAIL_API_URL starts with http://, which would show MAIL_API_TOKEN to others. Use https://.');
  }
  return problems;
}

function sender(from: string): Config['mail']['from'] {
  const [, name, address] = /^(.*\S) <(.+)>$/.exec(from) ?? [];
  return { name, address: address ?? from };
}
