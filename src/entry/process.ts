import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { ConfigError, parseConfig } from '../config.ts';
import type { Log } from '../domain/context.ts';
import { DeploymentMismatchError } from '../domain/deployment.ts';
import type { Mailer } from '../domain/outbox/schema.ts';
import { createBackground } from '../platform/background.ts';
import type { Hasher } from '../platform/hashing/hasher.ts';
import { createLog } from '../platform/log.ts';
import { createHttpMailer } from '../platform/mail/http-api.ts';
import { createOutboxDirectory } from '../platform/mail/outbox-directory.ts';
import { createSmtpMailer } from '../platform/mail/smtp.ts';
import { openDirectory } from '../platform/private-files.ts';
import { readFileSecret } from '../platform/secrets-file.ts';
import { openSqliteFile, StoreFileError, storeFileError } from '../platform/sqlite-node.ts';
import { storedSecret } from '../platform/stored-secret.ts';
import type { Services } from '../services.ts';
import { createServices } from '../services.ts';
import { createMongoExecutor } from '../store/mongo/executor.ts';
import type { Executor } from '../store/port.ts';
import { isStoreError } from '../store/port.ts';
import { createSqliteExecutor } from '../store/sqlite/executor.ts';
import { openTokenKeys } from './token-keys.ts';
import { helpText } from './variables.ts';

/** How long a stop waits for the requests under way, in milliseconds. */
const STOP_MS = 10_000;

const HELP = `Tenantry: organizations (tenants), a collection each, and their admins.

  npm start            runs the service on Node
  npm run start:bun    runs the service on Bun
  npx wrangler dev     runs the service on Workers

Without MONGO_URI it runs on an embedded store in DATA_DIR. Its variables, with their defaults:

${helpText()}
README.md has the rest.
`;

type Server = {
  readonly url: string;
  /** Takes no more requests; resolves when those under way are answered. */
  stop(): Promise<void>;
};

/**
 * Runs the service as a process of its own, from the environment to the signal that ends it: what Node and Bun share.
 * @param listen starts the runtime's own server
 */
export async function runProcess(
  createHasher: (options: { cost: number }) => Hasher,
  listen: (services: Services, config: Config) => Promise<Server>,
): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(HELP);
    return;
  }
  const log = createLog(createLineWriter());
  try {
    const config = parseConfig(process.env);
    openDataDirectory(config, log);
    const background = createBackground(log);
    const services = createServices(config, {
      executor: openExecutor(config),
      hasher: createHasher({ cost: config.BCRYPT_COST }),
      ...(await openTokenKeys(config, readFileSecret, () => openStoredSecret(config, log), log)),
      log,
      mailer: openMailer(config, log),
      background: background.run,
    });
    await prepareIfReachable(services, log);
    const server = await listen(services, config);
    log('info', 'service.listening', {
      url: server.url,
      store: config.MONGO_URI === undefined ? 'embedded' : 'mongodb',
    });
    const stopReconciling = reconcileOnTimer(services, config.RECONCILE_MS, log);
    stopOnSignal(server, services, log, async () => {
      await stopReconciling();
      await background.ended();
    });
  } catch (error) {
    process.stderr.write(`${startProblem(error)}\n`);
    // Not by the exit code alone: a database client may keep the process alive.
    process.exit(1);
  }
}

/** Writes the lines of one turn of the event loop together: a write for each line would cost more than the request. */
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

/** @throws {StoreFileError} where it cannot be used, or other users of the machine could put files of theirs into it */
function openDataDirectory({ MONGO_URI, SMTP_URL, MAIL_API_URL, DATA_DIR: directory }: Config, log: Log): void {
  if (MONGO_URI !== undefined && (SMTP_URL ?? MAIL_API_URL) !== undefined) return;
  let exposure: ReturnType<typeof openDirectory>;
  try {
    exposure = openDirectory(directory);
  } catch (error) {
    throw storeFileError(directory, error);
  }
  const fix = `chmod 700 ${directory}`;
  if (exposure === 'writable') {
    throw new StoreFileError(directory, `can be written by other users of this machine: take that from them (${fix})`);
  }
  if (exposure === 'readable') log('warn', 'data_directory.readable', { directory, fix });
}

function openExecutor({ MONGO_URI: uri, STORE_TIMEOUT_MS: timeoutMs, DATA_DIR }: Config): Executor {
  return uri === undefined
    ? createSqliteExecutor(openSqliteFile(join(DATA_DIR, 'tenantry.db')))
    : createMongoExecutor({ uri, timeoutMs });
}

/** The configured provider or server, else a directory beside the data; the log says so, for nobody gets that mail. */
function openMailer(config: Config, log: Log): Mailer {
  const { SMTP_URL: smtpUrl, SMTP_ALLOW_PLAIN: allowPlain, MAIL_API_URL, MAIL_API_TOKEN: token = '' } = config;
  const { MAIL_FROM: from } = config;
  if (smtpUrl !== undefined) return createSmtpMailer({ url: smtpUrl, from, allowPlain });
  if (MAIL_API_URL !== undefined) return createHttpMailer({ url: MAIL_API_URL, token, from });
  const directory = join(config.DATA_DIR, 'outbox');
  log('warn', 'mail.kept_in_directory', { directory, variable: 'SMTP_URL' });
  return createOutboxDirectory({ directory, from });
}

function openStoredSecret({ DATA_DIR: directory }: Config, log: Log): string {
  const { secret, made } = storedSecret(directory);
  log('info', made ? 'secret.made' : 'secret.found', { variable: 'JWT_SECRET', directory });
  return secret;
}

/** A store that is away does not stop the start: the service is not ready until it is back. */
async function prepareIfReachable(services: Services, log: Log): Promise<void> {
  try {
    await services.prepare();
  } catch (error) {
    if (!isStoreError(error, 'Unavailable', 'OutcomeUnknown')) throw error;
    log('warn', 'store.unavailable', { code: error.code });
  }
}

/** At once, then again and again. Returns a function that ends it, when the round under way has ended. */
function reconcileOnTimer(services: Services, intervalMs: number, log: Log): () => Promise<void> {
  const ending = new AbortController();
  const loop = async () => {
    while (!ending.signal.aborted) {
      const again = await reconcileOnce(services, log);
      await sleep(again ? 0 : intervalMs, undefined, { signal: ending.signal }).catch(() => {});
    }
  };
  const ended = loop();
  return () => {
    ending.abort();
    return ended;
  };
}

async function reconcileOnce(services: Services, log: Log): Promise<boolean> {
  try {
    return await services.reconcile();
  } catch (error) {
    log('warn', 'reconcile.failed', { error });
    if (!(error instanceof DeploymentMismatchError)) return false;
    // A store that was away at the start turned out to be another deployment's.
    process.stderr.write(`${startProblem(error)}\n`);
    process.exit(1);
  }
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

/** What to tell the operator: the variable and the fix, where they are known. */
function startProblem(error: unknown): string {
  if (error instanceof ConfigError) return `${error.message}\nRun with --help for every variable.`;
  if (error instanceof DeploymentMismatchError) return error.message;
  if (error instanceof StoreFileError) {
    return `DATA_DIR cannot be used: ${error.message} Fix that, restore the file from a backup, or choose another directory.`;
  }
  if (isStoreError(error, 'NotPermitted')) {
    return 'MONGO_URI: the server refuses this user what the service needs. Give the user the readWrite role on MASTER_DB and TENANTS_DB.';
  }
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'PORT is in use. Choose another one, or stop the process that listens there.';
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return 'HOST is not an address of this machine.';
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return `DATA_DIR or PORT may not be used by this user${path === undefined ? '' : `: ${path}`}.`;
  }
  return `The service could not start: ${error instanceof Error ? error.message : 'unknown'}`;
}
