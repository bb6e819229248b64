import { availableParallelism } from 'node:os';
import bcrypt from 'bcrypt';
import type { Hasher } from './hasher.ts';
import { createHasher, queue, WAIT_MS, WAITING } from './hasher.ts';

/** bcrypt in native code on libuv's threads: the event loop goes on. */
export const createNodeHasher = ({ cost }: { cost: number }): Hasher =>
  createHasher(
    {
      hash: (password, rounds) => bcrypt.hash(password, rounds),
      // The same algorithm under PHP's name, which this library does not know.
      compare: (password, hash) => bcrypt.compare(password, hash.replace(/^\$2y\$/, '$2b$')),
    },
    { cost, bound: queue(2 * availableParallelism(), WAITING, WAIT_MS) },
  );
