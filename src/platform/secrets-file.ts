import { readFile } from 'node:fs/promises';
import type { ReadSecret } from './secrets.ts';
import { FILE_REFERENCE, isReference, SecretUnavailableError } from './secrets.ts';

/** Files, as Docker and Kubernetes mount secrets: `file:/run/secrets/name`, relative to where the process runs. */
export const readFileSecret: ReadSecret = async (value) => {
  if (!isReference(value)) return value;
  try {
    return (await readFile(value.slice(FILE_REFERENCE.length), 'utf8')).trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SecretUnavailableError(`refers to a file that cannot be read (${code ?? 'unknown'})`);
  }
};
