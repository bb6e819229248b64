import type { Log } from '../domain/context.ts';
import type { KeyAlgorithm, KeyRing } from './key-ring.ts';
import { KeyError, keyRingOfSecret, parseKeySet } from './key-ring.ts';
import type { ReadSecret } from './secrets.ts';
import { isReference, SecretUnavailableError } from './secrets.ts';

/** The key ring over time. */
export interface KeyRings {
  /** The ring as it is now, or was a quarter of a second ago. */
  current(): Promise<KeyRing>;
  /** The ring as it is now: for a token of a key that is not known yet. */
  fresh(): Promise<KeyRing>;
}

/** How old a ring may be that is read from elsewhere: a removed key stops within this. */
const MAX_AGE_MS = 250;

/** The ring of JWT_SECRET: the same for good. Both reject with a {@link KeyError} when the secret is no key. */
export function createSecretKeyRings(secret: string, algorithm: KeyAlgorithm): KeyRings {
  // The ring is kept, not its promise: on Workers no request may await what another one began.
  let ring: KeyRing | undefined;
  const current = async () => {
    ring ??= await keyRingOfSecret(secret, algorithm);
    return ring;
  };
  return { current, fresh: current };
}

/**
 * The rings of a JWK Set, read again while it is used, so that keys rotate without a restart. A set that cannot be
 * read, or used, changes nothing: the log says so, and the last good one stays.
 * @param value the set itself, or what refers to it
 * @throws {KeyError | SecretUnavailableError} when there is no good one to begin with
 */
export async function openKeyRings(value: string, readSecret: ReadSecret, log: Log): Promise<KeyRings> {
  let text = await readSecret(value);
  let ring = await parseKeySet(text);
  let readAt = performance.now();
  let reading: Promise<KeyRing> | undefined;
  let lastProblem = '';

  const read = async (): Promise<KeyRing> => {
    const startedAt = performance.now();
    try {
      const found = await readSecret(value);
      if (found !== text) {
        const parsed = await parseKeySet(found);
        // A read that began later has said what is there now.
        if (startedAt >= readAt) {
          [text, ring] = [found, parsed];
          log('info', 'keys.changed', { kid: ring.current.kid, kids: [...ring.keys.keys()] });
        }
      }
      lastProblem = '';
    } catch (error) {
      const known = error instanceof KeyError || error instanceof SecretUnavailableError;
      const problem = known ? error.message : 'unknown';
      if (problem !== lastProblem) log('error', 'keys.not_usable', { variable: 'JWT_KEYS', problem, error });
      lastProblem = problem;
    }
    readAt = Math.max(readAt, startedAt);
    return ring;
  };
  if (!isReference(value)) return { current: async () => ring, fresh: async () => ring };
  return {
    current: async () => {
      if (performance.now() - readAt < MAX_AGE_MS) return ring;
      reading ??= read().finally(() => {
        reading = undefined;
      });
      return reading;
    },
    fresh: read,
  };
}
