import type { Config } from '../config.ts';
import { ConfigError } from '../config.ts';
import type { Log } from '../domain/context.ts';
import { KeyError } from '../platform/key-ring.ts';
import type { KeyRings } from '../platform/key-rings.ts';
import { createSecretKeyRings, openKeyRings } from '../platform/key-rings.ts';
import type { ReadSecret } from '../platform/secrets.ts';
import { SecretUnavailableError } from '../platform/secrets.ts';

/**
 * The secret that hashes are keyed with, and the keys of tokens, both tried out.
 * @param storedSecret reads the one stored beside the embedded store's data, for when JWT_SECRET is not set
 * @throws {ConfigError} naming the variable that cannot be used, and the fix
 */
export async function openTokenKeys(
  { JWT_SECRET: secret, JWT_KEYS: keySet, JWT_ALGORITHM: algorithm }: Config,
  readSecret: ReadSecret,
  storedSecret: () => string | Promise<string>,
  log: Log,
): Promise<{ jwtSecret: string; keys: KeyRings }> {
  const jwtSecret = secret === undefined ? await storedSecret() : await usable('JWT_SECRET', () => readSecret(secret));
  if (keySet !== undefined) {
    return { jwtSecret, keys: await usable('JWT_KEYS', () => openKeyRings(keySet, readSecret, log)) };
  }
  const keys = createSecretKeyRings(jwtSecret, algorithm);
  await usable('JWT_SECRET', () => keys.current());
  return { jwtSecret, keys };
}

async function usable<T>(variable: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof KeyError || error instanceof SecretUnavailableError)) throw error;
    throw new ConfigError([`${variable} ${error.message}.`]);
  }
}
