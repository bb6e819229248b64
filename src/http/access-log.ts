import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import type { Env } from './env.ts';
import { REQUEST_ID } from './request-context.ts';

/** The form of a caller's own id of a request that is safe to log. */
const SAFE = /^[\w.=-]{1,64}$/;

/**
 * One line a request: the route's pattern, not its address, so that nothing a caller typed is logged. Of a refusal it
 * says why, and to whom.
 */
export const accessLog = createMiddleware<Env>(async (c, next) => {
  const start = performance.now();
  await next();
  const { log, request } = c.get('context');
  const clientId = c.req.header(REQUEST_ID) ?? '';
  log('info', 'request', {
    request_id: request.id,
    client_request_id: SAFE.test(clientId) ? clientId : undefined,
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    ms: Math.round((performance.now() - start) * 10) / 10,
    ...(c.res.status >= 400 && {
      code: c.get('problem'),
      address: request.address,
      admin_id: c.get('principal')?.admin._id,
      organization_id: c.get('principal')?.organization._id,
    }),
  });
});
