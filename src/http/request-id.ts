import type { Context as HonoContext } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Context } from '../domain/context.ts';
import type { Env } from './env.ts';

const HEADER = 'X-Request-Id';

const SAFE = /^[\w.=-]{1,64}$/;

/**
 * Gives each request an id of the service's own, and its response the header: two requests never share one, whatever
 * their callers send.
 */
export const requestId = ({ newId }: Pick<Context, 'newId'>) =>
  createMiddleware<Env>(async (c, next) => {
    c.set('requestId', newId());
    c.header(HEADER, c.get('requestId'));
    await next();
  });

/** The caller's own id of the request, where it has a form that is safe to log. */
export function clientRequestId(c: HonoContext<Env>): string | undefined {
  const id = c.req.header(HEADER);
  return id !== undefined && SAFE.test(id) ? id : undefined;
}
