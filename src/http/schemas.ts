import * as z from 'zod';
import { ROLES } from '../domain/roles.ts';

/** The longest text that a field takes before its own rules are looked at, in UTF-16 units. */
const MAX_TEXT = 1024;

/** RFC 5321 leaves 254 characters for an address. */
const MAX_EMAIL = 254;

export const organizationName = z.string().min(1).max(MAX_TEXT).meta({
  description:
    'Trimmed, NFKC, white space runs made one; then 1 to 64 characters, at most 200 bytes, with a letter or digit and no control, invisible or private-use characters. Organizations differ by it in lower case. A new name has letters of one script (Latin beside Chinese, Japanese or Korean is one), digits of one kind and no link, and is not reserved.',
  example: 'TestCo',
});

export const email = z.email().max(MAX_EMAIL).meta({ example: 'admin@testco.com' });

export const newPassword = z.string().min(8).max(72).meta({
  format: 'password',
  description:
    '8 characters to 72 bytes (bcrypt reads no more), without NUL. Common passwords, the email and the organization’s name are refused.',
  example: 'TestPass123',
});

/** A password to check: a text that can be no password is compared too, and found wrong. */
export const password = z.string().min(1).max(MAX_TEXT).meta({ format: 'password', example: 'TestPass123' });

export const secondFactorCode = z.string().min(1).max(64).meta({
  description: 'The code of the authenticator app, or where a second factor is in force, a recovery code.',
  example: '123456',
});

export const role = z.enum(ROLES);

export const membership = z.object({
  organization_id: z.string(),
  organization: z.string(),
  admin_id: z.string(),
  admin_email: z.string(),
  role,
});

/** A time: a Date inside, ISO 8601 outside. */
export const timestamp = z
  .codec(z.iso.datetime({ offset: true }), z.date(), {
    decode: (text) => new Date(text),
    encode: (date) => date.toISOString(),
  })
  .meta({ type: 'string', format: 'date-time', example: '2026-11-24T05:00:00.000Z' });

export const metadata = z.object({
  organization_id: z.string(),
  organization_name: z.string(),
  collection_name: z.string(),
  status: z.enum(['active', 'renaming']),
  created_at: timestamp,
  updated_at: timestamp,
});

export const accessToken = z.object({
  access_token: z.string(),
  token_type: z.literal('bearer'),
  expires_in: z.int().meta({ description: 'Seconds.' }),
});

export const tokens = accessToken.extend({
  refresh_token: z.string().meta({ description: 'Good once, for POST /admin/refresh.' }),
});

export const session = z.object({
  session_id: z.string(),
  device: z.string().nullable().meta({ description: 'The User-Agent that last used it.' }),
  address: z.string().nullable().meta({ description: 'Where it was last used from.' }),
  signed_in_at: timestamp.meta({ description: 'When the password was last given.' }),
  last_used_at: timestamp.meta({ description: 'When it last gave tokens.' }),
  expires_at: timestamp.meta({ description: 'When it ends however much it is used.' }),
  current: z.boolean().meta({ description: 'Whether it is the one that asks.' }),
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
