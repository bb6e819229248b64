import type { MiddlewareHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { timeout } from 'hono/timeout';

/**
 * Answers 503 when a request is not answered by then: it may wait for the store several times, and each wait has a
 * bound of its own only. The work that it had begun goes on, and ends as if the caller had gone away.
 */
export const deadline = (ms: number): MiddlewareHandler => timeout(ms, () => new HTTPException(503));
