import type { Needs } from '../context.ts';
import { randomHex } from '../secret.ts';

const CODES = 10;

/** As many random bits as make a fast hash enough (ASVS 5.0.0, 6.5.2): 112. */
const CODE_BYTES = 14;

/** New recovery codes, as they are shown once: in hex, in four groups. */
export const newRecoveryCodes = (): string[] =>
  Array.from({ length: CODES }, () => randomHex(CODE_BYTES).replaceAll(/.{7}(?=.)/g, '$&-'));

/**
 * What the store keeps of a recovery code. It starts with a letter: a path of an update names no position in a list.
 * @param code without what only makes it easy to read
 */
export const recoveryCodeHash = ({ keyedHash }: Needs<'keyedHash'>, adminId: string, code: string): string =>
  `c${keyedHash(`recovery code ${adminId} ${code}`)}`;
