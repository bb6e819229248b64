import type { Context as HonoContext } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Remaining } from '../domain/rate-limit/schema.ts';
import type { Services } from '../services.ts';
import { deviceCookies } from './device-cookie.ts';
import type { Env } from './env.ts';

export const REQUEST_ID = 'X-Request-Id';

const MAX_DEVICE_LENGTH = 256;

/** Keeps the instance that answers a request alive until the work has ended, where the runtime would not. */
export type WaitUntil = (c: HonoContext, work: Promise<unknown>) => void;

/**
 * Puts the service's context into the request, with what is known of its sender and an id of the service's own: two
 * requests never share one, whatever their callers send. Puts into the response that id, and what is left of the
 * budgets that the request drew on (draft-ietf-httpapi-ratelimit-headers).
 */
export const requestContext = (
  { context: service, contextFor }: Pick<Services, 'context' | 'contextFor'>,
  clientAddress: (c: HonoContext<Env>) => string,
  waitUntil: WaitUntil | undefined,
) =>
  createMiddleware<Env>(async (c, next) => {
    const budgets = new Map<string, Remaining>();
    const id = service.newId();
    c.header(REQUEST_ID, id);
    const context = contextFor({
      request: {
        id,
        address: clientAddress(c),
        device: c.req.header('User-Agent')?.slice(0, MAX_DEVICE_LENGTH).toWellFormed() ?? null,
        deviceCookies: deviceCookies(c),
      },
      noteBudget: (remaining) => {
        const known = budgets.get(remaining.name);
        if (known === undefined || remaining.left < known.left) budgets.set(remaining.name, remaining);
      },
      waitUntil: waitUntil && ((work) => waitUntil(c, work)),
    });
    c.set('context', context);
    await next();
    if (budgets.size === 0) return;
    const noted = [...budgets.values()];
    c.header(
      'RateLimit-Policy',
      noted.map(({ name, limit }) => `"${name}";q=${limit.count};w=${limit.seconds}`).join(', '),
    );
    c.header('RateLimit', noted.map(({ name, left, seconds }) => `"${name}";r=${left};t=${seconds}`).join(', '));
  });
