import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivate } from './private-files.ts';

const SECRET_BYTES = 48;

/**
 * The signing secret that is stored in a directory that is there (mode 600), made at the first call. Processes that start at the
 * same time agree on one: its file appears complete, or not at all.
 * @returns the secret, and whether this call made it
 */
export function storedSecret(directory: string): { secret: string; made: boolean } {
  const path = join(directory, 'jwt-secret');
  const made = !existsSync(path) && makeSecret(path);
  makePrivate(path);
  return { secret: readFileSync(path, 'utf8').trim(), made };
}

/** False: another process was faster. */
function makeSecret(path: string): boolean {
  const temporary = `${path}.${randomUUID()}`;
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  writeFileSync(temporary, secret, { mode: 0o600, flag: 'wx', flush: true });
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    unlinkSync(temporary);
  }
}
