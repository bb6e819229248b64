/**
 * Client addresses in the log: encrypted (AES-256-GCM) under a key of the organization's own. When that key is removed,
 * every one of them is unreadable for good. Entries stay as they are, and so does their chain.
 */
import { hex, randomHex } from '../secret.ts';

const KEY_BYTES = 32;
const IV_BYTES = 12;

/** A new key for one organization's addresses, in hex. */
export const newAddressKey = (): string => randomHex(KEY_BYTES);

/** The address encrypted, in hex. Null without a key, or without an address. */
export async function concealAddress(key: string | null, address: string | null): Promise<string | null> {
  if (key === null || address === null) return null;
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const text = new TextEncoder().encode(address);
  const concealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, await importKey(key), text);
  return hex(iv) + hex(new Uint8Array(concealed));
}

/** The address again; null when the key is gone, or is not the one that it was concealed with. */
export async function revealAddress(key: string | null, concealed: string | null): Promise<string | null> {
  if (key === null || concealed === null) return null;
  try {
    const bytes = fromHex(concealed);
    const iv = bytes.subarray(0, IV_BYTES);
    const text = await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, await importKey(key), bytes.subarray(IV_BYTES));
    return new TextDecoder().decode(text);
  } catch {
    return null;
  }
}

const importKey = (key: string) =>
  crypto.subtle.importKey('raw', fromHex(key), { name: 'AES-GCM' }, false, ['encrypt', 'decrypt']);

const fromHex = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
