import ipaddr from 'ipaddr.js';
import * as z from 'zod';
import type { KeyAlgorithm } from './platform/key-ring.ts';
import { howToMake, KEY_ALGORITHMS, MIN_SECRET_BYTES } from './platform/key-ring.ts';
import { isReference } from './platform/secrets.ts';
import { checkMongoUri } from './store/mongo/uri.ts';

/** The environment as every runtime can give it: names to text. */
export type Environment = Readonly<Record<string, string | undefined>>;

const DAY_SECONDS = 24 * 60 * 60;
const MAX_LIMIT = 1_000_000;

/** Neither empty nor with spaces around it: see {@link parseConfig}. */
const text = z.string();
const databaseName = text.regex(/^[A-Za-z0-9_-]{1,63}$/, 'must be 1 to 63 letters, digits, "_" or "-"');
const boolean = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');
const integer = (min: number, max: number) => {
  const message = `must be a whole number from ${min} to ${max}`;
  return text
    .regex(/^\d+$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
};

const mongoUri = text.superRefine((uri, context) => {
  const problem = /^mongodb(\+srv)?:\/\//.test(uri)
    ? checkMongoUri(uri)
    : 'must start with mongodb:// or mongodb+srv:// (leave it out for the embedded store)';
  if (problem !== undefined) context.addIssue(problem);
});

const isSecret = (secret: string): boolean => new TextEncoder().encode(secret).byteLength >= MIN_SECRET_BYTES;
const secret = text.refine(
  (value) => isReference(value) || isSecret(value),
  `must have at least ${MIN_SECRET_BYTES} bytes. ${howToMake('HS256')}`,
);
const list = text.transform((value) => value.split(',').map((item) => item.trim()));

const secretList = list.refine(
  (secrets) => secrets.every(isSecret),
  `must have at least ${MIN_SECRET_BYTES} bytes in each of its secrets (comma-separated, the current one first). ${howToMake('HS256')}`,
);

const names = list.refine(
  (given) => given.every((name) => /[\p{L}\p{N}]/u.test(name)),
  'must be names with a letter or digit each, comma-separated',
);

/** Sent in a header. A comma separates; no key is taken for a file's name, or the other way round. */
const signUpKeys = list.refine(
  (keys) => keys.every((key) => /^[\x21-\x7e]{16,256}$/.test(key) && !isReference(key)),
  'must be keys of 16 to 256 visible ASCII characters each, comma-separated. Make one with: openssl rand -hex 16',
);

/** `count/seconds`, or `off` for null. */
const limit = text.transform((value, context) => {
  if (value === 'off') return null;
  const [count = 0, seconds = 0] = /^\d{1,7}\/\d{1,7}$/.test(value) ? value.split('/').map(Number) : [];
  if (count >= 1 && count <= MAX_LIMIT && seconds >= 1 && seconds <= DAY_SECONDS) return { count, seconds };
  context.addIssue(`must be off, or count/seconds: 1 to ${MAX_LIMIT} in 1 to ${DAY_SECONDS} seconds`);
  return z.NEVER;
});

const isNetwork = (value: string): boolean =>
  ipaddr.IPv4.isValidFourPartDecimal(value) ||
  ipaddr.IPv4.isValidCIDRFourPartDecimal(value) ||
  ipaddr.IPv6.isValid(value) ||
  ipaddr.IPv6.isValidCIDR(value);

const networks = list.refine(
  (given) => given.every(isNetwork),
  'must be addresses and networks (10.0.0.0/8, 2001:db8::/32), separated by commas',
);

const url = (...protocols: readonly string[]) =>
  text.refine(
    (value) => protocols.includes(URL.parse(value)?.protocol ?? ''),
    `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  );

const SENDER =
  /^(?:(?<name>[^<>"\p{Cc}]+) <(?<named>[^\s<>",;:@\p{Cc}]+@[^\s<>",;:@\p{Cc}]+)>|(?<bare>[^\s<>",;:@\p{Cc}]+@[^\s<>",;:@\p{Cc}]+))$/u;

const sender = text.transform((from, context) => {
  const { name, named, bare } = SENDER.exec(from)?.groups ?? {};
  const address = named ?? bare;
  if (address !== undefined) return { name: name?.trim(), address };
  context.addIssue('must be an address, or: Name <address>');
  return z.NEVER;
});

/** A variable as it is documented. */
type Documentation = {
  /** The default value, or what holds when the variable is left out. */
  readonly default: string;
  /** Whether `default` is a value that the variable could be set to. */
  readonly isValue: boolean;
  readonly description: string;
};

/** A variable with a default value. */
const variable = <T extends z.ZodType<unknown, string>>(schema: T, value: string, description: string) =>
  schema.prefault(value as never).meta({ default: value, isValue: true, description });

/** A variable without one: `instead` says what holds when it is left out. */
const optional = <T extends z.ZodType<unknown, string>>(schema: T, instead: string, description: string) =>
  schema.optional().meta({ default: instead, isValue: false, description });

/** Every variable of the service. --help, README.md's table and .dev.vars.example say the same: see entry/variables.ts. */
const schema = z.object({
  MONGO_URI: optional(
    mongoUri,
    'the embedded store',
    'a MongoDB connection string (mongodb://user:password@host:port); on Workers not mongodb+srv://',
  ),
  MASTER_DB: variable(databaseName, 'master_db', 'the master database'),
  TENANTS_DB: optional(databaseName, 'the master database', 'the database of the tenants’ collections'),
  DATA_DIR: variable(text, './data', 'Node and Bun: the directory of the embedded store, its secret and its outbox'),
  STORE_TIMEOUT_MS: variable(
    integer(100, 60_000),
    '5000',
    'how long a request may take, its store calls included; after that its caller gets 503',
  ),
  GATEWAY_OBJECTS: variable(
    integer(1, 64),
    '4',
    'Workers with MONGO_URI: how many Durable Objects hold a connection pool each',
  ),
  HOST: variable(text, '127.0.0.1', 'Node and Bun: the address to listen on'),
  PORT: variable(integer(0, 65535), '8000', 'Node and Bun: the port to listen on'),
  TRUSTED_PROXIES: optional(
    networks,
    'none',
    'proxies whose X-Forwarded-For counts: addresses and networks, separated by commas',
  ),
  JWT_SECRET: optional(
    secret,
    'with the embedded store, one is made and stored beside the data',
    'at least 32 bytes (openssl rand -base64 48), or file:PATH on Node and Bun; needed with MONGO_URI',
  ),
  JWT_ALGORITHM: variable(
    z.enum(KEY_ALGORITHMS, 'must be HS256, HS384, HS512, ES256 or EdDSA'),
    'HS256',
    'HS256, HS384, HS512; or ES256, EdDSA with a private key (PEM or JWK) as JWT_SECRET',
  ),
  JWT_KEYS: optional(
    text,
    'JWT_SECRET is the only key',
    'a JWK Set whose first key signs, or file:PATH of one (Node and Bun), read again when it changes',
  ),
  JWT_ISSUER: variable(text, 'tenantry', 'the issuer in access tokens'),
  JWT_AUDIENCE: variable(text, 'tenantry', 'the audience in access tokens'),
  JWT_EXP_MINUTES: variable(integer(1, 1440), '60', 'how long an access token lasts'),
  SESSION_DAYS: variable(integer(1, 366), '30', 'how long a session lasts at most'),
  SESSION_IDLE_DAYS: variable(integer(1, 366), '7', 'how long a session lasts unused'),
  BCRYPT_COST: variable(integer(10, 15), '10', '10 to 15; each step doubles the work of a password hash'),
  PASSWORD_BLOCKLIST: variable(
    z.enum(['common', 'breached', 'off'], 'must be common, breached or off'),
    'common',
    'new passwords refused: common: the most used; breached: also those known from breaches; off: neither, for demos',
  ),
  PASSWORD_BREACH_URL: variable(
    url('https:', 'http:').transform((address) => address.replace(/\/$/, '')),
    'https://api.pwnedpasswords.com/range',
    'with PASSWORD_BLOCKLIST=breached: whom to ask, in the form of Have I Been Pwned’s range API',
  ),
  AUDIT_SECRET: optional(
    secretList,
    'JWT_SECRET',
    'what seals the audit log and second factors; to change it: the new secret and the old one, comma-separated',
  ),
  AUDIT_RETENTION_DAYS: variable(
    integer(0, 36_500),
    '400',
    'how long entries of the audit log are kept, those of an erased organization too; 0: for good',
  ),
  LIMIT_LOGIN_ADDRESS: variable(
    limit,
    '100/60',
    'sign-ins of one address: count/seconds, or off, as all LIMIT_ variables',
  ),
  LIMIT_LOGIN_ACCOUNT: variable(
    limit,
    '10/60',
    'sign-ins to one account from one block of addresses; ten times that from all blocks together',
  ),
  LIMIT_CREATE: variable(limit, '100/600', 'organizations that one address creates'),
  LIMIT_MAIL: variable(limit, '20/600', 'mails that one address asks for'),
  LIMIT_MAIL_RECIPIENT: variable(
    limit,
    '5/3600',
    'mails to one email address that strangers cause, and as many that its own account does',
  ),
  LIMIT_REFRESH: variable(limit, '600/60', 'refreshes of one address'),
  LIMIT_CHANGE: variable(limit, '60/3600', 'changes by one admin, four times that by one address; its wrong tokens'),
  LIMIT_RENAME: variable(limit, '10/3600', 'renames of one organization'),
  LIMIT_INSPECT: variable(limit, '120/60', 'checks of an erasure, checks and searches of the log, by one address'),
  SIGNUP: variable(
    z.enum(['open', 'closed', 'key'], 'must be open, closed or key'),
    'open',
    'who may create organizations: open: anyone; closed: nobody; key: the holder of one of SIGNUP_KEYS',
  ),
  SIGNUP_KEYS: optional(
    signUpKeys,
    'none',
    'with SIGNUP=key: the keys that you hand out, of 16 characters or more (openssl rand -hex 16), comma-separated',
  ),
  CAPTCHA_VERIFY_URL: optional(
    url('https:', 'http:'),
    'no CAPTCHA',
    'creating an organization needs a solved CAPTCHA: its verifier, in the form of Turnstile’s siteverify',
  ),
  CAPTCHA_SECRET: optional(text, 'none', 'the secret key for that verifier'),
  ORG_LOOKUP: variable(
    z.enum(['public', 'members'], 'must be public or members'),
    'public',
    'who may call GET /org/get: public: anyone, for every name; members: an admin, for the own organization',
  ),
  RESERVED_NAMES: optional(
    names,
    'the built-in ones only',
    'names that no organization may take, beside admin, support, security, tenantry and the like; comma-separated',
  ),
  NAME_LEASE_DAYS: variable(
    integer(0, 3650),
    '0',
    'how long an organization’s former name leads to its new one (308) and stays reserved for it',
  ),
  DELETE_RETENTION_DAYS: variable(
    integer(0, 3650),
    '0',
    'how long a deleted organization can be restored; 0: it is removed at once',
  ),
  LEASE_MS: variable(
    integer(100, 600_000),
    '30000',
    'after this time without progress, another instance finishes an operation',
  ),
  RECONCILE_MS: variable(integer(100, 600_000), '15000', 'Node and Bun: how often the process looks for due work'),
  MAIL_FROM: variable(
    sender,
    'Tenantry <no-reply@localhost>',
    'the sender of mail: an address, or Name <address>; needed where mail is sent',
  ),
  SMTP_URL: optional(
    url('smtp:', 'smtps:'),
    'Node and Bun write mail to DATA_DIR/outbox; a Worker logs its id only',
    'Node and Bun: smtp://user:password@host:587, or smtps://',
  ),
  SMTP_ALLOW_PLAIN: variable(
    boolean,
    'false',
    'true: a server of smtp:// that offers no TLS gets mail, and the password, without it',
  ),
  MAIL_API_URL: optional(
    url('https:', 'http:'),
    'SMTP_URL, or a send_email binding on Workers',
    'any runtime: a provider’s API in the form of Resend’s POST /emails',
  ),
  MAIL_API_TOKEN: optional(text, 'none', 'the key of that API'),
  PUBLIC_URL: optional(
    url('https:', 'http:').transform((address) => address.replace(/\/$/, '')),
    'mails say which call to make',
    'the address of the front end that links in mails lead to',
  ),
  REQUIRE_VERIFIED_EMAIL: variable(
    boolean,
    'false',
    'true: an admin whose email is not verified may change nothing but the own account',
  ),
  REQUIRE_SECOND_FACTOR: variable(
    boolean,
    'false',
    'true: an admin without a second factor may change nothing but the own account',
  ),
});

/** The service's configuration: parsed once, handed in, never read from the environment again. */
export type Config = z.output<typeof schema>;

type Given = Readonly<Partial<Record<keyof Config, string>>>;

/** Every variable, in the order in which they are documented. */
export const variableTable = (): (Documentation & { readonly name: string })[] =>
  Object.entries(schema.shape).map(([name, variable]) => ({ name, ...(variable.meta() as Documentation) }));

/** An invalid environment: a line a problem, each naming its variable and the fix. Never holds a value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration is invalid:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

/**
 * Reads the configuration from the environment. An empty variable counts as one left out.
 * @throws {ConfigError} naming every invalid variable at once
 */
export function parseConfig(environment: Environment): Config {
  const names = Object.keys(schema.shape);
  const given: Given = Object.fromEntries(
    names.flatMap((name) => {
      const value = environment[name]?.trim();
      return value ? [[name, value]] : [];
    }),
  );
  const parsed = schema.safeParse(given);
  const invalid = parsed.error?.issues.map((issue) => `${String(issue.path[0])} ${issue.message.replace(/\.$/, '')}.`);
  const problems = [...(invalid ?? []), ...problemsTogether(given, parsed.data?.JWT_ALGORITHM ?? 'HS256')];
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  return parsed.data;
}

/** Whether others could read what is sent to this address: no TLS, and not this machine. */
function isUnprotected(address = ''): boolean {
  const { protocol, hostname = '' } = URL.parse(address) ?? {};
  return protocol === 'http:' && !['127.0.0.1', 'localhost', '[::1]'].includes(hostname);
}

function problemsTogether(given: Given, algorithm: KeyAlgorithm): string[] {
  const { MONGO_URI, JWT_SECRET, JWT_KEYS, SMTP_URL, MAIL_API_URL, MAIL_API_TOKEN, MAIL_FROM } = given;
  const { SIGNUP, SIGNUP_KEYS, CAPTCHA_VERIFY_URL, CAPTCHA_SECRET, PASSWORD_BREACH_URL } = given;
  const rules: readonly [broken: unknown, problem: string][] = [
    [!JWT_SECRET && MONGO_URI && !JWT_KEYS, `JWT_SECRET is missing, and MONGO_URI is set. ${howToMake(algorithm)}`],
    [
      !JWT_SECRET && MONGO_URI && JWT_KEYS,
      `JWT_SECRET is missing: beside JWT_KEYS, it keys the hashes that instances share. ${howToMake('HS256')}`,
    ],
    [
      !JWT_SECRET && !MONGO_URI && !JWT_KEYS && !algorithm.startsWith('HS'),
      `JWT_SECRET is missing, and JWT_ALGORITHM is ${algorithm}. ${howToMake(algorithm)}`,
    ],
    [SMTP_URL && MAIL_API_URL, 'SMTP_URL and MAIL_API_URL are both set. Leave one of them out.'],
    [
      (SMTP_URL || MAIL_API_URL) && !MAIL_FROM,
      'MAIL_FROM is missing, and mail is to be sent. Set it to an address that may send it.',
    ],
    [
      MAIL_API_URL && !MAIL_API_TOKEN,
      'MAIL_API_TOKEN is missing, and MAIL_API_URL is set. Set it to the key from your provider.',
    ],
    [
      isUnprotected(MAIL_API_URL),
      'MAIL_API_URL starts with http://, which would show MAIL_API_TOKEN to others. Use https://.',
    ],
    [
      SIGNUP === 'key' && !SIGNUP_KEYS,
      'SIGNUP_KEYS is missing, and SIGNUP is key. Set it to a key (openssl rand -hex 16).',
    ],
    [
      SIGNUP_KEYS && (SIGNUP ?? 'open') === 'open',
      'SIGNUP_KEYS is set, and SIGNUP is open. Set SIGNUP to key, or leave SIGNUP_KEYS out.',
    ],
    [
      CAPTCHA_VERIFY_URL && !CAPTCHA_SECRET,
      'CAPTCHA_SECRET is missing, and CAPTCHA_VERIFY_URL is set. Set it to the secret key from your provider.',
    ],
    [
      CAPTCHA_SECRET && !CAPTCHA_VERIFY_URL,
      'CAPTCHA_VERIFY_URL is missing, and CAPTCHA_SECRET is set. Turnstile’s is https://challenges.cloudflare.com/turnstile/v0/siteverify.',
    ],
    [
      isUnprotected(CAPTCHA_VERIFY_URL),
      'CAPTCHA_VERIFY_URL starts with http://, which would show CAPTCHA_SECRET to others. Use https://.',
    ],
    [
      isUnprotected(PASSWORD_BREACH_URL),
      'PASSWORD_BREACH_URL starts with http://, which would show others what is looked up. Use https://.',
    ],
  ];
  return rules.flatMap(([broken, problem]) => (broken ? [problem] : []));
}
