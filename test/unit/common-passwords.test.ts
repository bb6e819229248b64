import { expect, test } from 'vitest';
import { isCommonPassword } from '../../src/domain/admin/common-passwords.ts';
import { COMMON_PASSWORDS } from '../../src/domain/admin/common-passwords-list.ts';
import { commonPasswords, frontCoded } from '../support/common-passwords.ts';

const passwords = commonPasswords();
const listed = new Set(passwords);

test('the list is the one of the package', () => {
  expect(COMMON_PASSWORDS).toBe(frontCoded(passwords));
  expect(passwords.length).toBeGreaterThan(10_000);
});

test('every tenth password of the list is found, in upper and lower case', () => {
  const lost = passwords.filter((password, index) => index % 10 === 0 && !isCommonPassword(password));
  expect(lost).toEqual([]);
  expect(isCommonPassword('PassWord1')).toBe(listed.has('password1'));
  expect(isCommonPassword((passwords[0] ?? '').toUpperCase())).toBe(true);
  expect(isCommonPassword((passwords.at(-1) ?? '').toUpperCase())).toBe(true);
});

test('a password that differs from one of the list by a character is found only where the list has it', () => {
  for (const [index, password] of passwords.entries()) {
    if (index % 60 !== 0) continue;
    const at = index % password.length;
    for (const other of [
      password.slice(0, -1),
      `${password}0`,
      `${password} `,
      `!${password}`,
      `${password.slice(0, at)}~${password.slice(at + 1)}`,
      `${password.slice(0, at)}a${password.slice(at + 1)}`,
    ]) {
      expect(isCommonPassword(other), other).toBe(listed.has(other));
    }
  }
});

test('texts that no list has are not found', () => {
  for (const text of ['', 'a', '\uffff'.repeat(8), 'correct horse battery', 'ÄÖÜ'.repeat(9)]) {
    expect(isCommonPassword(text)).toBe(false);
  }
});
