import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import type { Env } from './env.ts';
import { problem } from './problem.ts';

/** The largest request body, in bytes: many times what any input of the service takes. */
const MAX_BODY_BYTES = 64 * 1024;

const UNREADABLE = 'Send all of the body, as JSON in UTF-8.';

/** The deepest nesting of a request body: no input of the service takes more. */
const MAX_DEPTH = 32;

const limitBody: MiddlewareHandler<Env> = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: (c) => problem(c, 'body_too_large', `Send a body of at most ${MAX_BODY_BYTES} bytes.`),
});

/** Bounds the body, whether its length is announced or not. Answers 413, and 400 where the caller left in the middle. */
export const boundedBody = createMiddleware<Env>(async (c, next) => {
  const reading = limitBody(c, async () => {}) as Promise<Response | undefined>;
  const refused = await reading.catch(() => problem(c, 'malformed_json', UNREADABLE));
  if (refused !== undefined) return refused;
  await next();
});

/**
 * Lets through, parsed, what is JSON, says so, is not nested too deep and has one meaning: bytes that are not UTF-8, and
 * a name twice in one object, are read in different ways by a proxy and by this service (RFC 7493, sections 2.1 and 2.3).
 * Answers 415 and 400.
 */
export const jsonBody = createMiddleware<Env>(async (c, next) => {
  const type = c.req.header('Content-Type')?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    return problem(c, 'unsupported_media_type', 'Send JSON, with Content-Type: application/json.');
  }
  const text = await c.req.arrayBuffer().then(decodeUtf8, () => undefined);
  if (text === undefined) return problem(c, 'malformed_json', UNREADABLE);
  const { depth, members } = shapeOf(text);
  // Before the text is parsed: a parser would have nested by then.
  if (depth > MAX_DEPTH) {
    return problem(c, 'malformed_json', `Send JSON that is nested at most ${MAX_DEPTH} levels deep.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return problem(c, 'malformed_json', 'The body is not well-formed JSON.');
  }
  if (countMembers(value) < members) return problem(c, 'malformed_json', 'Send each name once in an object.');
  c.req.addValidatedData('json', value as object);
  await next();
});

/** The text of UTF-8, without a byte order mark (RFC 8259, section 8.1); undefined for other bytes. */
function decodeUtf8(bytes: ArrayBuffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** How deep a JSON text nests, and how many members its objects have. Looks at each character once. */
export function shapeOf(text: string): { depth: number; members: number } {
  let depth = 0;
  let members = 0;
  let open = 0;
  let inString = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (inString) {
      if (character === '\\') index++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === ':') members++;
    else if (character === '{' || character === '[') depth = Math.max(depth, ++open);
    else if (character === '}' || character === ']') open--;
  }
  return { depth, members };
}

/** How many members the objects of a parsed text have: of equal names, one is left. */
function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const inner: unknown[] = Object.values(value);
  return inner.reduce((sum: number, each) => sum + countMembers(each), Array.isArray(value) ? 0 : inner.length);
}
