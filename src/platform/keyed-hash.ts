import { createHmac } from 'node:crypto';

/** HMAC-SHA-256 (RFC 2104) under a key of its own that is derived from the secret, in hex. */
export function createKeyedHash(secret: string): (text: string) => string {
  const key = createHmac('sha256', secret).update('tenantry keyed hash').digest();
  return (text) => createHmac('sha256', key).update(text).digest('hex');
}
