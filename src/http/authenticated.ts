import type { MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Action } from '../domain/authorization.ts';
import { authorize, forbidden, isPermitted } from '../domain/authorization.ts';
import { authenticate, authenticateOrRepeat, invalidToken } from '../domain/session/authenticate.ts';
import type { Env } from './env.ts';

/** One bearer token and nothing else (RFC 6750, section 2.1); two headers arrive joined by a comma, and fail here. */
const BEARER = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *$/i;

const MAX_TOKEN_LENGTH = 4096;

/** Lets through an admin who may do this to their organization, with the principal in the request's context. */
export function authenticated(action: Action): MiddlewareHandler<Env> {
  return createMiddleware<Env>(async (c, next) => {
    const principal = await authenticate(c.get('context'), bearerToken(c.req.header('Authorization')));
    // Before the refusal: the log says whose it was.
    c.set('principal', principal);
    authorize(c.get('context'), principal.admin, action);
    await next();
  });
}

/** As `authenticated`, and lets through a token that ended by the change it asked for, with its claims as `spent`. */
export function authenticatedOrRepeat(action: Action): MiddlewareHandler<Env> {
  return createMiddleware<Env>(async (c, next) => {
    const known = await authenticateOrRepeat(c.get('context'), bearerToken(c.req.header('Authorization')));
    if ('principal' in known) {
      c.set('principal', known.principal);
      authorize(c.get('context'), known.principal.admin, action);
    } else {
      if (!isPermitted(known.spent.role, action)) throw forbidden();
      c.set('spent', known.spent);
    }
    await next();
  });
}

function bearerToken(header: string | undefined): string {
  const token = header !== undefined && header.length <= MAX_TOKEN_LENGTH ? BEARER.exec(header)?.[1] : undefined;
  if (token === undefined) throw invalidToken();
  return token;
}
