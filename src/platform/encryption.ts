import { hkdfSync } from 'node:crypto';
import type { Encryption } from '../domain/context.ts';

const KEY_BYTES = 32;
const IV_BYTES = 12;

/**
 * AES-256-GCM, each key derived from a secret (HKDF, RFC 5869) for this use alone.
 * @param secrets the current one first; the others read what was encrypted with them
 */
export function createEncryption(secrets: readonly string[]): Encryption {
  const keys = secrets.map(
    (secret) => new Uint8Array(hkdfSync('sha256', secret, '', 'tenantry encryption', KEY_BYTES)),
  );
  return {
    encrypt: async (text, about) => {
      const [key] = keys;
      if (key === undefined) throw new Error('There is no key to encrypt with.');
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
      const encrypted = await crypto.subtle.encrypt(parameters(iv, about), await importKey(key), encode(text));
      return Buffer.concat([iv, new Uint8Array(encrypted)]).toString('base64url');
    },
    decrypt: async (encrypted, about) => {
      for (const key of keys) {
        try {
          const bytes = new Uint8Array(Buffer.from(encrypted, 'base64url'));
          const iv = bytes.subarray(0, IV_BYTES);
          const text = await crypto.subtle.decrypt(
            parameters(iv, about),
            await importKey(key),
            bytes.subarray(IV_BYTES),
          );
          return new TextDecoder().decode(text);
        } catch {
          // It was encrypted with another key, about something else, or not by this service; or it is no text.
        }
      }
      return undefined;
    },
  };
}

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

const parameters = (iv: Uint8Array<ArrayBuffer>, about: string) => ({
  name: 'AES-GCM',
  iv,
  additionalData: encode(about),
});

const importKey = (key: Uint8Array<ArrayBuffer>) =>
  crypto.subtle.importKey('raw', key, { name: 'AES-GCM' }, false, ['encrypt', 'decrypt']);
