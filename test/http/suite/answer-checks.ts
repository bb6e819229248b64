import { expect } from 'vitest';
import type { Answer, Call } from '../../support/caller.ts';

const BCRYPT = /\$2[abxy]\$\d\d\$/;
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/;
const STACK = /\n\s+at \S|\bat \S+ \(?\S+:\d+:\d+|\/node_modules\//;
/** Looked for in sentences only: an id may hold any of these letters. */
const DRIVER = /E11000|duplicate key|Mongo\w*Error|MongoDB|UNIQUE constraint|SQLITE_|SqliteError|no such table|bson/i;

/** The part of the OpenAPI document that is read here. */
type OpenApiDocument = {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly responses: Readonly<Record<string, OpenApiResponse>> }>>>
  >;
};

type OpenApiResponse = { readonly content?: Readonly<Record<string, unknown>> };

/**
 * Makes a check that every answer of the HTTP suite must pass: no 5xx, no secret, no internals, and a status and a
 * content type that /openapi.json describes.
 */
export const createAnswerCheck =
  (document: OpenApiDocument) =>
  (call: Call, secrets: ReadonlySet<string>): void => {
    const { method, target, answer } = call;
    const where = `${method} ${target.slice(0, 100)} -> ${answer.status}: ${answer.text.slice(0, 300)}`;
    expect(answer.status, where).toBeLessThan(500);
    expect(undescribed(document, call), where).toBeUndefined();
    if (target === '/openapi.json') return;
    expect(BCRYPT.test(answer.text), `a hash in ${where}`).toBe(false);
    expect(STACK.test(answer.text), `a stack in ${where}`).toBe(false);
    expect(
      [...secrets].filter((secret) => answer.text.includes(secret)),
      `a password in ${where}`,
    ).toEqual([]);
    if (answer.status < 400) return;
    expect(JWT.test(answer.text), `a token in ${where}`).toBe(false);
    expect(DRIVER.test(sentencesOf(answer)), `words of a driver in ${where}`).toBe(false);
  };

function sentencesOf({ json }: Answer): string {
  const messages: string[] = (json?.errors ?? []).map(({ message }: { message: string }) => message);
  return [json?.title, json?.detail, ...messages].join('\n');
}

/** What /openapi.json does not say of a call; undefined: it says everything. */
function undescribed(document: OpenApiDocument, { method, target, answer }: Call): string | undefined {
  const path = target.split('?')[0] ?? '';
  const operation = document.paths[path]?.[method.toLowerCase()];
  if (operation === undefined) {
    return answer.status === 404 || answer.status === 405 || path === '/openapi.json' ? undefined : 'the operation';
  }
  const response = operation.responses[answer.status];
  if (response === undefined) return `the status ${answer.status}`;
  const type = answer.headers.get('Content-Type')?.split(';')[0] ?? '';
  return answer.text === '' || response.content?.[type] !== undefined ? undefined : `the content type ${type}`;
}
