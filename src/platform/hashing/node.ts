import { availableParallelism } from 'node:os';
import bcrypt from 'bcrypt';
import type { Hasher } from './hasher.ts';
import { createHasher, queues } from './hasher.ts';

/** bcrypt in native code on libuv's threads: the event loop goes on. */
export const createNodeHasher = ({ cost }: { cost: number }): Hasher => {
  const { bound, share } = queues(2 * availableParallelism());
  const own = {
    hash: (password: string, rounds: number) => bcrypt.hash(password, rounds),
    // The same algorithm under PHP's name, which this library does not know.
    compare: (password: string, hash: string) => bcrypt.compare(password, hash.replace(/^\$2y\$/, '$2b$')),
  };
  return { ...createHasher(own, { cost, bound }), share };
};
