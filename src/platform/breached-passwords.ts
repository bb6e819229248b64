import type { BreachedPasswords, Log } from '../domain/context.ts';
import { hex } from '../domain/secret.ts';

/** A part of what a request has: where the service is away, the request still has time to go on. */
const TIMEOUT_MS = 2000;

/** An answer has about 80 KB; one that goes on and on is not read. */
const MAX_BYTES = 1_000_000;

/** How much of the hash is sent, in hex digits. */
const PREFIX = 5;

/** The rest of a hash and how often it was seen; 0: padding, so that the length of an answer tells nothing. */
const LINE = /^([0-9A-F]{35}):(\d{1,12})$/i;

/**
 * Breached passwords, looked up by k-anonymity in the form of Have I Been Pwned's range API
 * (https://haveibeenpwned.com/API/v3#SearchingPwnedPasswordsByRange): five digits of the password's SHA-1 are sent, and
 * every known hash that begins with them comes back. Neither the password nor the rest of its hash leaves the process,
 * and nothing of them is logged. Where there is no answer, the password counts as not breached, so that nobody's outage
 * stops sign-ups and password resets, and the log says so.
 */
export function createBreachedPasswords({ url, log }: { url: string; log: Log }): BreachedPasswords {
  return {
    includes: async (password) => {
      const hash = await sha1(password);
      try {
        return findHash(await fetchRange(`${url}/${hash.slice(0, PREFIX)}`), hash.slice(PREFIX));
      } catch (error) {
        log('warn', 'password.breach_lookup_failed', { error });
        return false;
      }
    },
  };
}

const sha1 = async (text: string): Promise<string> =>
  hex(new Uint8Array(await crypto.subtle.digest('SHA-1', new TextEncoder().encode(text)))).toUpperCase();

async function fetchRange(url: string): Promise<string> {
  const response = await fetch(url, {
    headers: { 'Add-Padding': 'true', 'User-Agent': 'tenantry' },
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw unexpected(response.status);
  }
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  // Leaving the loop cancels the rest.
  for await (const chunk of response.body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BYTES) throw unexpected('too_large');
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

/** @throws where the text is not the answer of such an API */
function findHash(range: string, wanted: string): boolean {
  let isFound = false;
  for (const line of range.split('\n')) {
    if (line.trim() === '') continue;
    const [, suffix, count] = LINE.exec(line.trim()) ?? [];
    if (suffix === undefined) throw unexpected('malformed');
    isFound ||= suffix.toUpperCase() === wanted && Number(count) > 0;
  }
  return isFound;
}

const unexpected = (code: number | string): Error =>
  Object.assign(new Error('The breach service did not answer as it should.'), { code });
