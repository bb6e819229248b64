import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context as HonoContext } from 'hono';
import type { GetConnInfo } from 'hono/conninfo';
import { createMiddleware } from 'hono/factory';
import { HTTPException } from 'hono/http-exception';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { secureHeaders } from 'hono/secure-headers';
import { timeout } from 'hono/timeout';
import { DeploymentMismatchError } from './domain/deployment.ts';
import { accessLog } from './http/access-log.ts';
import { createClientAddress } from './http/client-address.ts';
import type { Env } from './http/env.ts';
import { problem, problemOf } from './http/problem.ts';
import type { WaitUntil } from './http/request-context.ts';
import { requestContext } from './http/request-context.ts';
import type { TargetOf } from './http/request-target.ts';
import { pathOf, validUrl } from './http/request-target.ts';
import { accountRoutes } from './http/routes/account.ts';
import { adminRoutes } from './http/routes/admin.ts';
import { adminsRoutes } from './http/routes/admins.ts';
import { auditRoutes } from './http/routes/audit.ts';
import { healthRoutes } from './http/routes/health.ts';
import { invitesRoutes } from './http/routes/invites.ts';
import { orgRoutes } from './http/routes/org.ts';
import { secondFactorRoutes } from './http/routes/second-factor.ts';
import { sessionsRoutes } from './http/routes/sessions.ts';
import { wellKnownRoutes } from './http/routes/well-known.ts';
import type { Services } from './services.ts';

/**
 * The whole HTTP surface of the service as one Hono app, with no I/O of its own.
 * @param getConnInfo the runtime's way to tell who is at the other end of a request's connection
 * @param waitUntil the runtime's way to let a request's work go on after its answer; left out: it does anyway
 * @param targetOf the runtime's way to tell the request target as it was sent; left out: the request's URL, normalized
 */
export function createApp(
  services: Services,
  getConnInfo: GetConnInfo,
  waitUntil?: WaitUntil,
  targetOf: TargetOf = ({ url }) => url,
): OpenAPIHono<Env> {
  const app = new OpenAPIHono<Env>({ getPath: (request, options) => pathOf(targetOf(request, options?.env)) });
  const clientAddress = createClientAddress(services.trustedProxies);
  app.use(
    requestContext(
      services,
      (c) => clientAddress(getConnInfo(c).remote.address, c.req.header('X-Forwarded-For')),
      waitUntil,
    ),
  );
  app.use(accessLog);
  app.use(secureHeaders(HEADERS));
  // A request may wait for the store several times, and each wait has a bound of its own only. The work that a late one
  // had begun goes on, and ends as if the caller had gone away.
  app.use(timeout(services.requestMs, () => new HTTPException(503)));
  if (waitUntil !== undefined) app.use(outlivingItsAnswer(waitUntil));
  const onMethodNotAllowed = (c: HonoContext<Env>, allowed: string[]) => {
    c.header('Allow', allowed.join(', '));
    return problem(c, 'method_not_allowed', `Use ${allowed.join(' or ')}.`);
  };
  app.use(methodNotAllowed({ app, onMethodNotAllowed }));
  app.onError((error, c) => {
    // The error came after the deadline: the caller has been answered.
    if (c.finalized) throw error;
    if (!(error instanceof DeploymentMismatchError)) return problemOf(c, error);
    c.get('context').log('error', 'service.not_started', { problems: [error.message] });
    return problem(c, 'unavailable', 'The service is not configured correctly. Its log says what to change.');
  });

  // Not for checks of health: on Bun, a request of HTTP/1.0 without a Host header has no URL that parses.
  app.use('/org/*', validUrl, prepared(services));
  app.use('/admin/*', validUrl, prepared(services));
  app.route('/health', healthRoutes(services.checkReady));
  app.route('/.well-known', wellKnownRoutes());
  app.route('/org', orgRoutes(services.context.settings));
  app.route('/org/admins', adminsRoutes());
  app.route('/org/invites', invitesRoutes());
  app.route('/org/sessions', sessionsRoutes());
  app.route('/org/audit', auditRoutes());
  app.route('/admin', adminRoutes());
  app.route('/admin', accountRoutes());
  app.route('/admin/second-factor', secondFactorRoutes());

  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
  });
  let document: string | undefined;
  app.get('/openapi.json', (c) => {
    // Made once: it takes as much work as many requests, and anyone may ask for it.
    document ??= JSON.stringify(app.getOpenAPI31Document(DOCUMENT));
    return c.body(document, 200, { 'Content-Type': 'application/json' });
  });

  app.notFound((c) => problem(c, 'not_found', 'There is nothing at this address. See /openapi.json.'));
  return app;
}

/** Two years of HTTPS; and a browser that shows an answer runs, loads and frames nothing. */
const HEADERS = {
  strictTransportSecurity: 'max-age=63072000; includeSubDomains',
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    objectSrc: ["'none'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
    sandbox: [],
  },
};

const DOCUMENT = {
  openapi: '3.1.0',
  info: {
    title: 'Tenantry',
    version: '0.1.0',
    description:
      'Organizations (tenants), a collection each, and their admins. Errors are problem documents (RFC 9457).',
  },
};

/** Waits until the master's collections and indexes are there: each request by itself, for none awaits another's work. */
const prepared = (services: Services) =>
  createMiddleware<Env>(async (_, next) => {
    await services.prepare();
    await next();
  });

/**
 * What a request began goes on to its end, also when its caller has left or got 503. An error after that has no answer
 * to go into: the log has it, because the runtime reports a rejection that nobody handles as its own failure.
 */
const outlivingItsAnswer = (waitUntil: WaitUntil) =>
  createMiddleware<Env>(async (c, next) => {
    const work = next();
    const { log, request } = c.get('context');
    const logLate = (error: unknown) => log('warn', 'request.failed_late', { request_id: request.id, error });
    waitUntil(c, work.catch(logLate));
    await work;
  });
