import { createHmac, hkdfSync } from 'node:crypto';
import type { Seals } from '../domain/audit/schema.ts';

const KEY_BYTES = 32;
const KEY_ID_DIGITS = 16;

/**
 * The seals of the audit log: HMAC-SHA-256 (RFC 2104), each key derived from a secret (HKDF, RFC 5869) for this use
 * alone. The id of a key tells which secret it is of, and nothing about it.
 * @param secrets the current one first; the others check what was sealed with them
 */
export function createSeals(secrets: readonly string[]): Seals {
  const derived = secrets.map((secret) => ({
    id: derive(secret, 'tenantry audit key id').toString('hex').slice(0, KEY_ID_DIGITS),
    key: derive(secret, 'tenantry audit'),
  }));
  const keys = new Map(derived.map(({ id, key }) => [id, key]));
  return {
    current: derived[0]?.id ?? '',
    seal: (id, text) => {
      const key = keys.get(id);
      return key && createHmac('sha256', key).update(text).digest('hex');
    },
  };
}

const derive = (secret: string, use: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', use, KEY_BYTES));
