import type { Context as HonoContext } from 'hono';
import { invalidToken } from '../domain/session/tokens.ts';
import type { Env } from './env.ts';

/** One bearer token and nothing else (RFC 6750, section 2.1); two headers arrive joined by a comma, and fail here. */
const BEARER = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *$/i;

const MAX_TOKEN_LENGTH = 4096;

/** The request's access token, not checked yet. @throws {DomainError} invalid_token */
export function bearerToken(c: HonoContext<Env>): string {
  const header = c.req.header('Authorization');
  const token = header !== undefined && header.length <= MAX_TOKEN_LENGTH ? BEARER.exec(header)?.[1] : undefined;
  if (token === undefined) throw invalidToken();
  return token;
}
