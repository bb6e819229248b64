import { OpenAPIHono } from '@hono/zod-openapi';
import type { GetConnInfo } from 'hono/conninfo';
import { createMiddleware } from 'hono/factory';
import { requestId } from 'hono/request-id';
import { secureHeaders } from 'hono/secure-headers';
import { DomainError } from './domain/errors.ts';
import { accessLog } from './http/access-log.ts';
import { createClientAddress } from './http/client-address.ts';
import { deadline } from './http/deadline.ts';
import type { Env } from './http/env.ts';
import { problem, problemOf } from './http/problem.ts';
import type { WaitUntil } from './http/request-context.ts';
import { requestContext } from './http/request-context.ts';
import { accountMailRoutes } from './http/routes/account-mail.ts';
import { adminRoutes } from './http/routes/admin.ts';
import { auditRoutes } from './http/routes/audit.ts';
import { healthRoutes } from './http/routes/health.ts';
import { invitationRoutes } from './http/routes/invitations.ts';
import { memberRoutes } from './http/routes/members.ts';
import { organizationRoutes } from './http/routes/org.ts';
import { wellKnownRoutes } from './http/routes/well-known.ts';
import type { Services } from './services.ts';

const REQUEST_ID_LENGTH = 64;

/**
 * The whole HTTP surface of the service as one Hono app, with no I/O of its own.
 * @param getConnInfo the runtime's way to tell who is at the other end of a request's connection
 * @param waitUntil the runtime's way to let work go on after an answer; left out: it does anyway
 */
export function createApp(services: Services, getConnInfo: GetConnInfo, waitUntil?: WaitUntil): OpenAPIHono<Env> {
  const app = new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (!result.success) throw invalidInput(result.error.issues);
    },
  });

  app.use(requestId({ limitLength: REQUEST_ID_LENGTH }));
  const clientAddress = createClientAddress(services.trustedProxies);
  app.use(
    requestContext(
      services.context,
      (c) => clientAddress(getConnInfo(c).remote.address, c.req.header('X-Forwarded-For')),
      waitUntil,
    ),
  );
  app.use(accessLog);
  app.use(secureHeaders());
  app.use(deadline(services.requestMs));
  app.onError((error, c) => problemOf(c, error));

  healthRoutes(app, services.checkReady);
  wellKnownRoutes(app);
  app.use('/org/*', prepared(services));
  app.use('/admin/*', prepared(services));
  organizationRoutes(app);
  adminRoutes(app);
  auditRoutes(app);
  memberRoutes(app);
  invitationRoutes(app);
  accountMailRoutes(app);

  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
  });
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Tenantry',
      version: '0.1.0',
      description:
        'Organizations (tenants), a collection each, and their admins. Errors are problem documents (RFC 9457).',
    },
  });

  const methods = allowedMethods(app);
  app.notFound((c) => {
    const allowed = methods.get(c.req.path);
    if (allowed === undefined) return problem(c, 'not_found', 'There is nothing at this address. See /openapi.json.');
    c.header('Allow', allowed.join(', '));
    return problem(c, 'method_not_allowed', `Use ${allowed.join(' or ')}.`);
  });
  return app;
}

/** The first request waits until the master's collections and indexes are there. */
const prepared = (services: Services) =>
  createMiddleware<Env>(async (_, next) => {
    await services.prepare();
    await next();
  });

function allowedMethods(app: OpenAPIHono<Env>): Map<string, string[]> {
  const methods = new Map<string, string[]>();
  for (const { method, path } of app.routes) {
    if (method === 'ALL' || path.includes('*')) continue;
    const allowed = new Set([...(methods.get(path) ?? []), method, ...(method === 'GET' ? ['HEAD'] : [])]);
    methods.set(path, [...allowed]);
  }
  return methods;
}

type Issue = { readonly path: PropertyKey[]; readonly message: string; readonly code?: string };

function invalidInput(issues: readonly (Issue & { readonly keys?: string[] })[]): DomainError {
  return new DomainError('invalid_input', 'The input is not valid: see errors.', {
    issues: issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys'
        ? (issue.keys ?? []).map((key) => ({
            path: [...issue.path, key].join('.'),
            message: 'This field is not known.',
          }))
        : [{ path: issue.path.map(String).join('.'), message: issue.message }],
    ),
  });
}
