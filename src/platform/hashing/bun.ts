import { availableParallelism } from 'node:os';
import type { Hasher } from './hasher.ts';
import { createHasher, queues } from './hasher.ts';

/** What is used of Bun here; its own types would clash with Node's. */
declare const Bun: {
  password: {
    hash(password: string, options: { algorithm: 'bcrypt'; cost: number }): Promise<string>;
    verify(password: string, hash: string, algorithm: 'bcrypt'): Promise<boolean>;
  };
};

/** bcrypt on Bun's own threads: the event loop goes on. */
export const createBunHasher = ({ cost }: { cost: number }): Hasher => {
  const { bound, share } = queues(2 * availableParallelism());
  const own = {
    hash: (password: string, rounds: number) => Bun.password.hash(password, { algorithm: 'bcrypt', cost: rounds }),
    compare: (password: string, hash: string) => Bun.password.verify(password, hash, 'bcrypt'),
  };
  return { ...createHasher(own, { cost, bound }), share };
};
