import { availableParallelism } from 'node:os';
import type { Hasher } from './hasher.ts';
import { createHasher, queue, WAIT_MS, WAITING } from './hasher.ts';

/** What is used of Bun here; its own types would clash with Node's. */
declare const Bun: {
  password: {
    hash(password: string, options: { algorithm: 'bcrypt'; cost: number }): Promise<string>;
    verify(password: string, hash: string, algorithm: 'bcrypt'): Promise<boolean>;
  };
};

/** bcrypt on Bun's own threads: the event loop goes on. */
export const createBunHasher = ({ cost }: { cost: number }): Hasher =>
  createHasher(
    {
      hash: (password, rounds) => Bun.password.hash(password, { algorithm: 'bcrypt', cost: rounds }),
      compare: (password, hash) => Bun.password.verify(password, hash, 'bcrypt'),
    },
    { cost, bound: queue(2 * availableParallelism(), WAITING, WAIT_MS) },
  );
