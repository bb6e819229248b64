import { chmodSync, mkdirSync, statSync } from 'node:fs';

const OWNER = 0o700;
const OTHERS = 0o077;
const OTHERS_WRITE = 0o022;

/** Makes a directory for its owner alone, where it is missing; says what others may do with one that was there. */
export function openDirectory(path: string): 'private' | 'readable' | 'writable' {
  mkdirSync(path, { recursive: true, mode: OWNER });
  // On Windows, access is not in the mode.
  const mode = process.platform === 'win32' ? OWNER : statSync(path).mode;
  if ((mode & OTHERS_WRITE) !== 0) return 'writable';
  return (mode & OTHERS) === 0 ? 'private' : 'readable';
}

/** Takes from others what they may do with a file. Does nothing where there is none. */
export function makePrivate(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isFile() && (found.mode & OTHERS) !== 0) chmodSync(path, found.mode & OWNER);
}
