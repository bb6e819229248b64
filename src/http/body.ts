import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import type { Env } from './env.ts';
import { problem } from './problem.ts';

/** The largest request body, in bytes: many times what any input of the service takes. */
export const MAX_BODY_BYTES = 64 * 1024;

/** The deepest nesting of a request body: no input of the service takes more. */
const MAX_DEPTH = 32;

/** Bounds the body, whether its length is announced or not. Answers 413. */
export const boundedBody: MiddlewareHandler<Env> = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: (c) => problem(c, 'body_too_large', `Send a body of at most ${MAX_BODY_BYTES} bytes.`),
});

/** Lets through what is JSON, says so and is not nested too deep. Answers 415 and 400. */
export const jsonBody: MiddlewareHandler<Env> = createMiddleware<Env>(async (c, next) => {
  const type = c.req.header('Content-Type')?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    return problem(c, 'unsupported_media_type', 'Send JSON, with Content-Type: application/json.');
  }
  if (nestsDeeper(await c.req.text(), MAX_DEPTH)) {
    return problem(c, 'malformed_json', `Send JSON that is nested at most ${MAX_DEPTH} levels deep.`);
  }
  try {
    await c.req.json();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return problem(c, 'malformed_json', 'The body is not well-formed JSON.');
  }
  await next();
});

/**
 * Whether brackets outside of strings nest deeper than that. Looks at the text, for a parser would have nested by then,
 * and at each character once.
 */
export function nestsDeeper(text: string, depth: number): boolean {
  let open = 0;
  let inString = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (inString) {
      if (character === '\\') index++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{' || character === '[') open++;
    else if (character === '}' || character === ']') open--;
    if (open > depth) return true;
  }
  return false;
}
