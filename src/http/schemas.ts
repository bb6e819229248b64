import * as z from 'zod';
import type { ProblemStatus } from './problem.ts';
import { problemSchema } from './problem.ts';

/** The longest text that a field takes before its own rules are looked at, in UTF-16 units. */
const MAX_TEXT = 1024;

/** RFC 5321 leaves 254 characters for an address. */
const MAX_EMAIL = 254;

export const organizationName = z.string().min(1).max(MAX_TEXT).meta({
  description:
    'Trimmed, NFKC, white space runs made one; then 1 to 64 characters, at most 200 bytes, with a letter or digit and no control, invisible or private-use characters. Organizations differ by it in lower case.',
  example: 'TestCo',
});

export const email = z.email().max(MAX_EMAIL).meta({ example: 'admin@testco.com' });

export const newPassword = z.string().min(8).max(72).meta({
  format: 'password',
  description:
    '8 characters to 72 bytes (bcrypt reads no more), without NUL; none of the most used ones, nor one’s email or organization.',
  example: 'TestPass123',
});

/** A password to check: whatever could ever have been one, and more, is compared and found wrong. */
export const password = z.string().min(1).max(MAX_TEXT).meta({ format: 'password', example: 'TestPass123' });

export const timestamp = z.iso.datetime().meta({ example: '2026-11-24T05:00:00.000Z' });

export const metadata = z.object({
  organization_id: z.string(),
  organization_name: z.string(),
  collection_name: z.string(),
  status: z.enum(['active', 'renaming']),
  progress: z
    .object({ copied: z.int(), total: z.int() })
    .optional()
    .meta({ description: 'While the documents are copied to the collection of the new name.' }),
  created_at: timestamp,
  updated_at: timestamp,
});

export const tokens = z.object({
  access_token: z.string(),
  token_type: z.literal('bearer'),
  expires_in: z.int().meta({ description: 'Seconds.' }),
  refresh_token: z.string().meta({ description: 'Good once, for POST /admin/refresh.' }),
});

export const oneTimeToken = z.string().min(1).max(256).meta({ description: 'From a mail; good once.' });

/** What every list takes. */
export const pageQuery = z.strictObject({
  cursor: z.uuid().optional().meta({ description: '`next_cursor` of the page before.' }),
  limit: z.coerce.number().int().min(1).max(100).default(50),
});

/** What every list gives. */
export const page = <T extends z.ZodType>(item: T) =>
  z.object({
    items: z.array(item),
    next_cursor: z.string().nullable().meta({ description: 'null: this is the last page.' }),
  });

/** A JSON body that must be there. */
export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { 'application/json': { schema } },
});

/** A JSON response. */
export const json = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
});

const DESCRIPTIONS: Readonly<Record<ProblemStatus, string>> = {
  308: 'The organization left this name by a rename: see Location.',
  400: 'Malformed JSON.',
  401: 'No valid token, or wrong credentials.',
  403: 'Not permitted, or a recent sign-in is needed.',
  404: 'Not there.',
  405: 'Another method; see Allow.',
  409: 'In conflict with what is there.',
  413: 'The body is too large.',
  415: 'Not application/json.',
  422: 'Invalid input: `errors` says what to change.',
  429: 'Too many attempts; see Retry-After, RateLimit and RateLimit-Policy.',
  500: 'A fault of the service; report the request id.',
  503: 'Busy, or the data is out of reach; see Retry-After.',
};

/** Problem responses for a route, beside those that every route has. */
export const problems = (...statuses: ProblemStatus[]) =>
  Object.fromEntries(
    [...statuses, 500 as const, 503 as const].map((status) => [
      status,
      { description: DESCRIPTIONS[status], content: { 'application/problem+json': { schema: problemSchema } } },
    ]),
  );
