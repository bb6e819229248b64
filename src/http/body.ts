import type { Context as HonoContext, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Env } from './env.ts';
import { HttpError, problem } from './problem.ts';

/** The largest request body, in bytes: many times what any input of the service takes. */
export const MAX_BODY_BYTES = 64 * 1024;

/** The deepest nesting of a request body: no input of the service takes more. */
const MAX_DEPTH = 32;

/** Bounds the body, whether its length is announced or not. Answers 413. */
export const boundedBody: MiddlewareHandler<Env> = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: (c) => problem(c, 'body_too_large', `Send a body of at most ${MAX_BODY_BYTES} bytes.`),
});

/** The body, which is JSON and says so. @throws {HttpError} unsupported_media_type, malformed_json */
export async function readJson(c: HonoContext<Env>): Promise<unknown> {
  const type = c.req.header('Content-Type')?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new HttpError('unsupported_media_type', 'Send JSON, with Content-Type: application/json.');
  }
  const text = await c.req.text();
  if (nestsDeeper(text, MAX_DEPTH)) {
    throw new HttpError('malformed_json', `Send JSON that is nested at most ${MAX_DEPTH} levels deep.`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new HttpError('malformed_json', 'The body is not well-formed JSON.');
  }
}

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
