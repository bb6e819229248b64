import { availableParallelism } from 'node:os';
import { hash, verify } from '@node-rs/bcrypt';
import type { Hasher } from './password.ts';
import { createHasher } from './password.ts';

const QUEUE = 64;

/** bcrypt in native code on libuv's threads: the event loop goes on. */
export const createNodeHasher = ({ cost }: { cost: number }): Hasher =>
  createHasher(
    { hash: (password, rounds) => hash(password, { cost: rounds }), compare: verify },
    { cost, concurrency: 2 * availableParallelism(), queue: QUEUE },
  );
