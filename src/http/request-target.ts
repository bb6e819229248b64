import { createMiddleware } from 'hono/factory';
import type { Env } from './env.ts';
import { problem } from './problem.ts';

/** The request target as the runtime shows it: in origin form (`/path?query`) or as an absolute URL. */
export type TargetOf = (request: Request, env: unknown) => string;

/**
 * The path of a request target as it was sent, neither decoded nor otherwise normalized: a route has one spelling, so
 * that no other one gets past a proxy that meant to close it.
 */
export function pathOf(target: string): string {
  const start = target.startsWith('/') ? 0 : target.indexOf('/', target.indexOf('://') + 3);
  // A target has no fragment (RFC 9112): one that has is all path, which is no route's.
  const end = target.includes('#') ? -1 : target.indexOf('?');
  return target.slice(Math.max(start, 0), end < 0 ? undefined : end);
}

/**
 * Refuses a request whose URL does not parse (Bun takes any Host header), or has credentials (Node takes any absolute
 * target): its body could not be read. Answers 400.
 */
export const validUrl = createMiddleware<Env>(async (c, next) => {
  const url = URL.parse(c.req.url);
  if (url === null || url.username !== '' || url.password !== '') {
    return problem(c, 'malformed_request', 'Send a valid Host header, and no user or password in the URL.');
  }
  await next();
});
