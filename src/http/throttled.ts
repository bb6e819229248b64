import type { MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Errand } from '../domain/throttle/take-from.ts';
import { takeFrom } from '../domain/throttle/take-from.ts';
import type { Env } from './env.ts';

/**
 * Lets through what the caller's address has a budget for (LIMIT_CREATE and its like). Put it behind what refuses a
 * body that cannot be read, and describe 429 on the route.
 */
export const throttled = (errand: Errand): MiddlewareHandler<Env> =>
  createMiddleware<Env>(async (c, next) => {
    await takeFrom(c.get('context'), errand);
    await next();
  });
