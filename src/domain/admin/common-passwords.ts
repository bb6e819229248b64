import { COMMON_PASSWORDS } from './common-passwords-list.ts';

/** Code of the letter that stands for no shared characters. */
const NONE_SHARED = 'A'.charCodeAt(0);

/**
 * Whether a password of at least 8 characters is one of the most used passwords, in upper or lower case.
 *
 * The list is in lower case and in the order of code units. Each entry is a capital letter (A: 0, B: 1, ...), the number
 * of characters that it shares with the entry before, and the rest of the entry. The search reads it once, and decodes
 * nothing: an entry that shares more or fewer characters than the password has in common with the entry before has that
 * in common with the password which is known already.
 */
export function isCommonPassword(password: string): boolean {
  const wanted = password.toLowerCase();
  const list = COMMON_PASSWORDS;
  /** The characters that the password shares with the present entry. */
  let common = 0;
  for (let at = 0; at < list.length; ) {
    const shared = list.charCodeAt(at++) - NONE_SHARED;
    // The entries from here on come after the password.
    if (shared < common) return false;
    let length = shared;
    let stillCommon = shared === common;
    for (; at < list.length && !isCapital(list.charCodeAt(at)); at++, length++) {
      stillCommon &&= list.charCodeAt(at) === wanted.charCodeAt(length);
      if (stillCommon) common = length + 1;
    }
    if (common === wanted.length && length === common) return true;
  }
  return false;
}

const isCapital = (code: number): boolean => code >= NONE_SHARED && code < NONE_SHARED + 26;
