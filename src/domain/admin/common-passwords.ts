import { dictionary } from '@zxcvbn-ts/language-common';

/** The tens of thousands of passwords that people use most, in lower case. */
const COMMON: ReadonlySet<string> = new Set(dictionary['passwords-common']);

/** Whether it is one of the most used passwords, in whatever case. */
export const isCommonPassword = (password: string): boolean => COMMON.has(password.toLowerCase());
