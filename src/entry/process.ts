import { join } from 'node:path';
import type { Config } from '../config.ts';
import { ConfigError, parseConfig } from '../config.ts';
import type { Log } from '../domain/context.ts';
import type { Mailer } from '../domain/mail/mailer.ts';
import { createBackground } from '../platform/background.ts';
import { keptSecret } from '../platform/kept-secret.ts';
import { createLog } from '../platform/log.ts';
import { createHttpMailer } from '../platform/mail/http-api.ts';
import { createOutboxDirectory } from '../platform/mail/outbox-directory.ts';
import { createSmtpMailer } from '../platform/mail/smtp.ts';
import type { Hasher } from '../platform/password.ts';
import { createFileSecrets } from '../platform/secrets-file.ts';
import { openSqliteFile } from '../platform/sqlite-node.ts';
import type { Services } from '../services.ts';
import { createServices } from '../services.ts';
import { createMongoExecutor } from '../store/mongo.ts';
import type { Executor } from '../store/port.ts';
import { createSqliteExecutor } from '../store/sqlite.ts';
import { openTokenKeys } from './token-keys.ts';

/** How long a stop waits for the requests under way, in milliseconds. */
const STOP_MS = 10_000;

/** Every so many rounds the reconciler looks at everything. */
const ROUNDS_TO_THOROUGH = 240;

const HELP = `Tenantry: organizations (tenants), a collection each, and their admins.

  npm start            runs the service on Node
  bun run start:bun    runs it on Bun
  npx wrangler dev     runs it on Workers

Without MONGO_URI it runs on an embedded store in DATA_DIR. Its variables, and what they are when left out:

  MONGO_URI           mongodb://... (the embedded store)
  MASTER_DB           the master database (master_db)
  TENANTS_DB          the tenants' database (that of MASTER_DB)
  JWT_SECRET          at least 32 bytes, or file:PATH; needed with MONGO_URI (one kept in DATA_DIR)
  JWT_ALGORITHM       HS256, HS384, HS512, or ES256 or EdDSA with a private key as JWT_SECRET (HS256)
  JWT_KEYS            a JWK Set, or file:PATH of one that is read again when it changes (JWT_SECRET alone)
  JWT_ISSUER          the issuer in access tokens (tenantry)
  JWT_AUDIENCE        the audience in access tokens (tenantry)
  JWT_EXP_MINUTES     how long an access token lasts (60)
  AUDIT_SECRET        what the audit log is sealed with (JWT_SECRET)
  SESSION_DAYS        how long a session lasts (30)
  SESSION_IDLE_DAYS   how long a session lasts unused (7)
  HOST, PORT          where to listen (127.0.0.1, 8000)
  DATA_DIR            the embedded store and what is kept beside it (./data)
  BCRYPT_COST         10 to 15 (10)
  STORE_TIMEOUT_MS    how long a request may wait for the store before 503 (5000)
  LIMIT_LOGIN_ADDRESS sign-ins of an address: count/seconds or off (100/60)
  LIMIT_LOGIN_ACCOUNT sign-ins to an account from a block of addresses (10/60)
  LIMIT_CREATE        organizations that an address creates (100/600)
  LIMIT_MAIL          mails that an address asks for (20/600)
  LIMIT_REFRESH       refreshes of an address (600/60)
  TRUSTED_PROXIES     addresses and networks whose X-Forwarded-For counts (none)
  COPY_WAIT_MS        how long a rename waits where documents are copied (3000)
  NAME_LEASE_DAYS     how long a name that was left leads to the new one (0)
  DELETE_RETENTION_DAYS  how long a deleted organization can be restored (0)
  LEASE_MS            how long an operation belongs to its instance (30000)
  QUARANTINE_MS       how long a released collection name rests (600000)
  RECONCILE_MS        how often what was left open is looked for (15000)
  MAIL_FROM           who mail is from: an address, or Name <address>
  SMTP_URL            smtp://user:password@host:587 (mail is kept in DATA_DIR/outbox)
  MAIL_API_URL        instead: a provider's API in the form of Resend's POST /emails
  MAIL_API_TOKEN      its key
  PUBLIC_URL          where the front end is that links in mails lead to (mails say which call to make)
  REQUIRE_VERIFIED_EMAIL
                      true: no changes by an admin whose email is not verified (false)

README.md has the rest.
`;

/** A server that has been started. */
export type Server = {
  readonly url: string;
  /** Takes no more requests; resolves when those under way are answered. */
  stop(): Promise<void>;
};

/**
 * Runs the service as a process of its own, from the environment to the signal that ends it: what Node and Bun share.
 * @param listen starts the runtime's own server
 */
export async function runProcess(
  createHasher: (config: Config) => Hasher,
  listen: (services: Services, config: Config) => Promise<Server>,
): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(HELP);
    return;
  }
  const log = createLog(createLineWriter());
  try {
    const config = parseConfig(process.env);
    const background = createBackground(log);
    const services = createServices(config, {
      executor: openExecutor(config),
      hasher: createHasher(config),
      ...(await openTokenKeys(config, createFileSecrets(), () => secretOf(config, log), log)),
      log,
      mailer: openMailer(config, log),
      later: background.later,
    });
    const server = await listen(services, config);
    log('info', 'service.listening', {
      url: server.url,
      store: config.mongoUri === undefined ? 'embedded' : 'mongodb',
    });
    const stopReconciling = reconcileOnTimer(services, config.reconcileMs, log);
    stopOnSignal(server, services, log, async () => {
      await stopReconciling();
      await background.ended();
    });
  } catch (error) {
    process.stderr.write(`${startProblem(error)}\n`);
    process.exitCode = 1;
  }
}

/** Writes the lines of one turn of the event loop at once: a write a line would cost more than what it tells of. */
function createLineWriter(): (line: string) => void {
  let lines = '';
  const flush = () => {
    process.stdout.write(lines);
    lines = '';
  };
  process.on('exit', flush);
  return (line) => {
    if (lines === '') setImmediate(flush);
    lines += `${line}\n`;
  };
}

function openExecutor(config: Config): Executor {
  return config.mongoUri === undefined
    ? createSqliteExecutor(openSqliteFile(join(config.dataDir, 'tenantry.db')))
    : createMongoExecutor({ uri: config.mongoUri, timeoutMs: config.storeTimeoutMs });
}

/** The provider or server that is configured, else a directory beside the data: said, so that nobody waits for a mail. */
function openMailer({ mail, dataDir }: Config, log: Log): Mailer {
  const { from, smtpUrl, api } = mail;
  if (smtpUrl !== undefined) return createSmtpMailer({ url: smtpUrl, from });
  if (api !== undefined) return createHttpMailer({ ...api, from });
  const directory = join(dataDir, 'outbox');
  log('warn', 'mail.kept_in_directory', { directory, variable: 'SMTP_URL' });
  return createOutboxDirectory({ directory, from });
}

function secretOf(config: Config, log: Log): string {
  const { secret, made } = keptSecret(config.dataDir);
  log('info', made ? 'secret.made' : 'secret.found', { variable: 'JWT_SECRET', directory: config.dataDir });
  return secret;
}

/** At once and thoroughly, then again and again. Returns what ends it, when the round under way has ended. */
function reconcileOnTimer(services: Services, intervalMs: number, log: Log): () => Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  let rounds = 0;
  const run = async () => {
    let again = false;
    try {
      again = await services.reconcile({ thorough: rounds % ROUNDS_TO_THOROUGH === 0 });
      rounds++;
    } catch (error) {
      log('warn', 'reconcile.failed', { error });
    }
    if (!ended) timer = setTimeout(start, again ? 0 : intervalMs);
  };
  let round: Promise<void>;
  const start = () => {
    round = run();
  };
  start();
  return async () => {
    ended = true;
    clearTimeout(timer);
    await round;
  };
}

function stopOnSignal(server: Server, services: Services, log: Log, stopRest: () => Promise<void>): void {
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) return;
    stopping = true;
    log('info', 'service.stopping', { signal });
    const patience = setTimeout(() => process.exit(1), STOP_MS);
    await server.stop();
    await stopRest();
    await services.close();
    clearTimeout(patience);
    log('info', 'service.stopped');
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop('SIGTERM'));
  process.on('SIGINT', () => void stop('SIGINT'));
}

/** What to tell the one who started the service: the variable and the mend, where they are known. */
function startProblem(error: unknown): string {
  if (error instanceof ConfigError) return `${error.message}\nRun with --help for every variable.`;
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'PORT is in use. Choose another one, or stop what listens there.';
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return 'HOST is not an address of this machine.';
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return `DATA_DIR or PORT may not be used by this user${path === undefined ? '' : `: ${path}`}.`;
  }
  return `The service could not start: ${error instanceof Error ? error.message : 'unknown'}`;
}
