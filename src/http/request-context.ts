import type { MiddlewareHandler } from 'hono';
import type { GetConnInfo } from 'hono/conninfo';
import { createMiddleware } from 'hono/factory';
import type { Context } from '../domain/context.ts';
import type { Env } from './env.ts';

const MAX_DEVICE_LENGTH = 256;

/** Puts the service's context into the request, with what is known of who sent it. */
export const requestContext = (context: Context, getConnInfo: GetConnInfo): MiddlewareHandler<Env> =>
  createMiddleware<Env>(async (c, next) => {
    const request = {
      id: c.get('requestId'),
      address: getConnInfo(c).remote.address ?? null,
      device: c.req.header('User-Agent')?.slice(0, MAX_DEVICE_LENGTH) ?? null,
    };
    c.set('context', { ...context, request });
    await next();
  });
