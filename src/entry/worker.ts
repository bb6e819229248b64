import type { ExecutionContext } from 'hono';
import { getConnInfo } from 'hono/cloudflare-workers';
import { createApp } from '../app.ts';
import type { Config, Environment } from '../config.ts';
import { ConfigError, parseConfig } from '../config.ts';
import type { Mailer } from '../domain/outbox/schema.ts';
import { createBackground } from '../platform/background.ts';
import { createWorkerHasher } from '../platform/hashing/worker.ts';
import { createLog } from '../platform/log.ts';
import type { SendEmailBinding } from '../platform/mail/cloudflare.ts';
import { createCloudflareMailer } from '../platform/mail/cloudflare.ts';
import { createHttpMailer } from '../platform/mail/http-api.ts';
import { readPlainSecret } from '../platform/secrets.ts';
import { createServices } from '../services.ts';
import type { GatewayNamespace } from '../store/gateway/executor.ts';
import { createGatewayExecutor } from '../store/gateway/executor.ts';
import { openTokenKeys } from './token-keys.ts';

export { StoreGateway } from './store-gateway.ts';

/** The Worker's bindings: the variables, and the Durable Objects of wrangler.toml. */
type Bindings = Omit<Environment, 'SEND_EMAIL'> & {
  readonly STORE_GATEWAY: GatewayNamespace<{ secret(): Promise<string> }>;
  /** Optional: see README.md. */
  readonly SEND_EMAIL?: SendEmailBinding;
};

/** Rounds of one run of the cron trigger: each store call is one of the 10,000 subrequests that a run may make. */
const CRON_ROUNDS = 4;

const log = createLog((line) => console.log(line));

/**
 * An isolate serves one environment, many requests: the service is made at the first. What was made is kept, never its
 * promise: a promise that one request began may never settle for another one.
 */
const running = new WeakMap<Bindings, Awaited<ReturnType<typeof start>>>();

export default {
  async fetch(request: Request, env: Bindings, execution: ExecutionContext): Promise<Response> {
    try {
      const { app } = await run(env);
      return await app.fetch(request, {}, execution);
    } catch (error) {
      log('error', 'service.not_started', error instanceof ConfigError ? { problems: error.problems } : { error });
      return notStarted();
    }
  },

  /** The cron trigger of wrangler.toml: every minute. */
  async scheduled(_: unknown, env: Bindings): Promise<void> {
    const { services } = await run(env);
    for (let round = 0; round < CRON_ROUNDS && (await services.reconcile()); round++);
  },
};

async function run(env: Bindings) {
  const known = running.get(env);
  if (known !== undefined) return known;
  const started = await start(env);
  // Another request may have been faster.
  const first = running.get(env) ?? started;
  running.set(env, first);
  return first;
}

async function start(env: Bindings) {
  const config = parseConfig(env);
  const storedSecret = () => env.STORE_GATEWAY.getByName(`sqlite:${config.MASTER_DB}`).secret();
  const services = createServices(config, {
    executor: createGatewayExecutor(env.STORE_GATEWAY, {
      backend: config.MONGO_URI === undefined ? 'sqlite' : 'mongo',
      objects: config.GATEWAY_OBJECTS,
    }),
    hasher: createWorkerHasher({ cost: config.BCRYPT_COST }),
    ...(await openTokenKeys(config, readPlainSecret, storedSecret, log)),
    log,
    background: createBackground(log).run,
    mailer: mailerOf(config, env),
  });
  const app = createApp(services, getConnInfo, (c, work) => c.executionCtx.waitUntil(work));
  log('info', 'service.started', { store: config.MONGO_URI === undefined ? 'embedded' : 'mongodb' });
  return { app, services };
}

/** The configured provider's API, else the binding; without either, the log says that mail is not sent. */
function mailerOf(config: Config, { SEND_EMAIL }: Bindings): Mailer | undefined {
  const { SMTP_URL, MAIL_API_URL: url, MAIL_API_TOKEN: token = '', MAIL_FROM: from } = config;
  if (SMTP_URL !== undefined) {
    throw new ConfigError([
      'SMTP_URL cannot be used on Workers. Use MAIL_API_URL, or a send_email binding SEND_EMAIL.',
    ]);
  }
  if (url !== undefined) return createHttpMailer({ url, token, from });
  return SEND_EMAIL && createCloudflareMailer({ binding: SEND_EMAIL, from });
}

/** The caller learns no more than this: the log says what is wrong. */
const notStarted = (): Response =>
  Response.json(
    {
      type: 'urn:tenantry:problem:unavailable',
      title: 'Unavailable',
      status: 503,
      detail: 'The service could not start. Its log says why.',
      code: 'unavailable',
    },
    { status: 503, headers: { 'Content-Type': 'application/problem+json', 'Retry-After': '60' } },
  );
