import bcrypt from 'bcryptjs';
import type { Hasher } from './password.ts';
import { createHasher } from './password.ts';

const QUEUE = 64;

/** bcrypt in JavaScript, for Workers, where nothing native runs and an isolate has one thread. */
export const createWorkerHasher = ({ cost }: { cost: number }): Hasher =>
  createHasher(
    {
      hash: (password, rounds) => bcrypt.hash(password, rounds),
      compare: (password, hash) => bcrypt.compare(password, hash),
    },
    { cost, concurrency: 1, queue: QUEUE },
  );
