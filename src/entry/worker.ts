import type { ExecutionContext } from 'hono';
import { getConnInfo } from 'hono/cloudflare-workers';
import { createApp } from '../app.ts';
import type { Config, Environment } from '../config.ts';
import { ConfigError, parseConfig } from '../config.ts';
import type { Mailer } from '../domain/mail/mailer.ts';
import { createBackground } from '../platform/background.ts';
import { createLog } from '../platform/log.ts';
import type { SendEmailBinding } from '../platform/mail/cloudflare.ts';
import { createCloudflareMailer } from '../platform/mail/cloudflare.ts';
import { createHttpMailer } from '../platform/mail/http-api.ts';
import { createWorkerHasher } from '../platform/password-worker.ts';
import { createPlainSecrets } from '../platform/secrets.ts';
import type { Services } from '../services.ts';
import { createServices } from '../services.ts';
import type { GatewayNamespace } from '../store/gateway.ts';
import { createGatewayExecutor } from '../store/gateway.ts';
import { openTokenKeys } from './token-keys.ts';

export { StoreGateway } from './store-gateway.ts';

/** The Worker's bindings: the variables, and the Durable Objects of wrangler.toml. */
type Bindings = Omit<Environment, 'SEND_EMAIL'> & {
  readonly STORE_GATEWAY: GatewayNamespace<{ secret(): Promise<string> }>;
  /** Optional: see README.md. */
  readonly SEND_EMAIL?: SendEmailBinding;
};

type Running = { readonly app: ReturnType<typeof createApp>; readonly services: Services };

/** How long one run of the cron trigger goes on with copies of documents, in milliseconds: not into the next one. */
const COPY_MS = 45_000;

const log = createLog((line) => console.log(line));

/** An isolate serves one environment, many requests: the service is made at the first. */
const running = new WeakMap<Bindings, Promise<Running>>();

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

  /** The cron trigger of wrangler.toml: every minute, and every hour thoroughly. */
  async scheduled({ scheduledTime }: { scheduledTime: number }, env: Bindings): Promise<void> {
    const { services } = await run(env);
    const until = Date.now() + COPY_MS;
    let thorough = new Date(scheduledTime).getUTCMinutes() === 0;
    while ((await services.reconcile({ thorough })) && Date.now() < until) thorough = false;
  },
};

function run(env: Bindings): Promise<Running> {
  const known = running.get(env);
  if (known !== undefined) return known;
  const started = start(env).catch((error: unknown) => {
    running.delete(env);
    throw error;
  });
  running.set(env, started);
  return started;
}

async function start(env: Bindings): Promise<Running> {
  const config = parseConfig(env);
  const executor = createGatewayExecutor(env.STORE_GATEWAY, {
    backend: config.mongoUri === undefined ? 'sqlite' : 'mongo',
    objects: config.gatewayObjects,
  });
  const keptSecret = () => env.STORE_GATEWAY.getByName(`sqlite:${config.masterDatabase}`).secret();
  const tokenKeys = await openTokenKeys(config, createPlainSecrets(), keptSecret, log);
  const hasher = createWorkerHasher({ cost: config.bcryptCost });
  const { later } = createBackground(log);
  const services = createServices(config, { executor, hasher, ...tokenKeys, log, later, ...mailerOf(config, env) });
  const app = createApp(services, getConnInfo, (c, work) => c.executionCtx.waitUntil(work));
  return { app, services };
}

/** The provider's API where it is configured, else the binding; where there is neither, the log says what is not sent. */
function mailerOf({ mail }: Config, { SEND_EMAIL }: Bindings): { mailer?: Mailer } {
  if (mail.smtpUrl !== undefined) {
    throw new ConfigError([
      'SMTP_URL cannot be used on Workers. Use MAIL_API_URL, or a send_email binding SEND_EMAIL.',
    ]);
  }
  if (mail.api !== undefined) return { mailer: createHttpMailer({ ...mail.api, from: mail.from }) };
  if (SEND_EMAIL !== undefined) return { mailer: createCloudflareMailer({ binding: SEND_EMAIL, from: mail.from }) };
  return {};
}

/** The service cannot say more than this: what is wrong is in the log. */
const notStarted = (): Response =>
  Response.json(
    {
      type: 'urn:tenantry:problem:unavailable',
      title: 'Unavailable',
      status: 503,
      detail: 'The service is not configured rightly. Its log says what to change.',
      code: 'unavailable',
    },
    { status: 503, headers: { 'Content-Type': 'application/problem+json', 'Retry-After': '60' } },
  );
