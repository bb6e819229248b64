/**
 * Password hashing with bcrypt, by whatever the runtime does best. All read each other's hashes.
 *
 * bcrypt reads 72 bytes and stops at a NUL, so that other passwords would share a hash: `hash` refuses them, and
 * `verify` does its work and says no.
 */
export interface Hasher {
  /**
   * @throws {HasherBusyError} over the bound of passwords at once
   * @throws {RangeError} for a password over 72 bytes or with a NUL: check it first
   */
  hash(password: string): Promise<string>;
  /**
   * Whether the hash is of this password. A hash that is malformed or empty, or made at a lower cost, takes as long
   * as one that is made now.
   * @throws {HasherBusyError} over the bound of passwords at once
   */
  verify(password: string, hash: string): Promise<boolean>;
}

/** More passwords wait to be hashed than the bound allows. */
export class HasherBusyError extends Error {
  override readonly name = 'HasherBusyError';
}

/** The runtime's own bcrypt. */
export type Bcrypt = {
  hash(password: string, cost: number): Promise<string>;
  compare(password: string, hash: string): Promise<boolean>;
};

export type HasherOptions = {
  /** 10 to 15: each step doubles the work. */
  readonly cost: number;
  /** How many passwords are worked on at once. */
  readonly concurrency: number;
  /** How many more may wait. */
  readonly queue: number;
};

const MAX_BYTES = 72;
const WELL_FORMED = /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/;

/** The cost that a hash was made at; undefined for a malformed one. */
export function costOf(hash: string): number | undefined {
  const cost = WELL_FORMED.exec(hash)?.[1];
  return cost === undefined ? undefined : Number(cost);
}

/** The hash of nothing anybody knows: 22 characters of salt and 31 of digest, at the configured cost. */
const dummyHash = (cost: number): string =>
  `$2b$${String(cost).padStart(2, '0')}$9fT1hQw2xC4bYvR7kLmZdu5aXo3GsEiN0pJtUyHzVqWcDrBnKfPSe`;

const fits = (password: string): boolean =>
  !password.includes('\0') && new TextEncoder().encode(password).byteLength <= MAX_BYTES;

/** Puts the rules, the constant work and the bound around a runtime's bcrypt. */
export function createHasher(bcrypt: Bcrypt, { cost, concurrency, queue }: HasherOptions): Hasher {
  const bounded = createBound(concurrency, queue);
  return {
    hash: async (password) => {
      if (!fits(password)) throw new RangeError('bcrypt takes a password of at most 72 bytes, without NUL.');
      return bounded(() => bcrypt.hash(password, cost));
    },
    verify: (password, hash) =>
      bounded(async () => {
        const made = costOf(hash);
        const possible = fits(password) && made !== undefined;
        const matches = await bcrypt.compare(fits(password) ? password : '-', possible ? hash : dummyHash(cost));
        // A hash from before the cost was raised takes less: what is lacking is 2^made + ... + 2^(cost - 1) rounds.
        for (let lacking = possible ? made : cost; lacking < cost; lacking++) {
          await bcrypt.compare('-', dummyHash(lacking));
        }
        return possible && matches;
      }),
  };
}

function createBound(concurrency: number, queue: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running >= concurrency) {
      if (waiting.length >= queue) throw new HasherBusyError('Too many passwords are being hashed.');
      // Whoever ends hands its place over, so that nobody new can take it in between.
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else {
      running++;
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
