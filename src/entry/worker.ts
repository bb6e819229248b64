import { createApp } from '../app.ts';
import type { Environment } from '../config.ts';
import { ConfigError, parseConfig } from '../config.ts';
import { createLog } from '../platform/log.ts';
import { createWorkerHasher } from '../platform/password-worker.ts';
import { createServices } from '../services.ts';
import type { GatewayNamespace } from '../store/gateway.ts';
import { createGatewayExecutor } from '../store/gateway.ts';

export { StoreGateway } from './store-gateway.ts';

/** The Worker's bindings: the variables, and the Durable Objects of wrangler.toml. */
type Bindings = Environment & {
  readonly STORE_GATEWAY: GatewayNamespace<{ secret(): Promise<string> }>;
};

type App = ReturnType<typeof createApp>;

const log = createLog((line) => console.log(line));

/** An isolate serves one environment, many requests: the app is made at the first. */
const apps = new WeakMap<Bindings, Promise<App>>();

export default {
  async fetch(request: Request, env: Bindings): Promise<Response> {
    let app = apps.get(env);
    if (app === undefined) {
      app = makeApp(env);
      apps.set(env, app);
    }
    try {
      return await (await app).fetch(request);
    } catch (error) {
      apps.delete(env);
      log('error', 'service.not_started', error instanceof ConfigError ? { problems: error.problems } : { error });
      return notStarted();
    }
  },
};

async function makeApp(env: Bindings): Promise<App> {
  const config = parseConfig(env);
  const executor = createGatewayExecutor(env.STORE_GATEWAY, {
    backend: config.mongoUri === undefined ? 'sqlite' : 'mongo',
    objects: config.gatewayObjects,
  });
  const jwtSecret =
    config.jwt.secret ?? (await env.STORE_GATEWAY.getByName(`sqlite:${config.masterDatabase}`).secret());
  return createApp(
    createServices(config, { executor, hasher: createWorkerHasher({ cost: config.bcryptCost }), jwtSecret, log }),
  );
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
