import bcrypt from 'bcryptjs';
import type { Hasher } from './hasher.ts';
import { createHasher, slots } from './hasher.ts';

/** Passwords at once. An isolate has one thread: each of them delays every other request of the isolate. */
const AT_ONCE = 2;

/**
 * Sign-ins at once: more than hash, because those over a limit end before. Further ones cost no store call, so that an
 * isolate does not fall behind on requests whose callers have left. One caller has half of them at most: its limits are
 * asked for inside.
 */
const SIGN_INS = 8;

/** The work of a request that the runtime dropped holds its slot for this long. */
const HOLD_MS = 5000;

/** bcrypt in JavaScript, for Workers, where nothing native runs and an isolate has one thread. */
export const createWorkerHasher = ({ cost }: { cost: number }): Hasher => ({
  ...createHasher(bcrypt, { cost, bound: slots(AT_ONCE, HOLD_MS) }),
  admit: slots(SIGN_INS, HOLD_MS, SIGN_INS / 2),
  share: slots(AT_ONCE / 2, HOLD_MS),
});
