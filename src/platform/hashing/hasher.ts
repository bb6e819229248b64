import { DomainError } from '../../domain/errors.ts';

/**
 * Password hashing with bcrypt, by the runtime's own means. All read each other's hashes.
 *
 * bcrypt reads 72 bytes and stops at a NUL, so that other passwords would share a hash: `hash` refuses them, and
 * `verify` does its work and says no.
 */
export interface Hasher {
  /**
   * @param caller whose it is, where callers are known apart: see {@link queue}
   * @throws {HasherBusyError} over the bound of passwords at once
   * @throws {RangeError} for a password over 72 bytes or with a NUL: check it first
   */
  hash(password: string, caller?: string): Promise<string>;
  /**
   * Whether the hash is of this password. A hash that is malformed or empty, or made at a lower cost, takes as long
   * as one that is made now.
   * @throws {HasherBusyError} over the bound of passwords at once
   */
  verify(password: string, hash: string, caller?: string): Promise<boolean>;
  /**
   * Runs a whole sign-in, its store calls included. Left out: hashing alone has a bound.
   * @throws {HasherBusyError} over the bound of sign-ins at once, or of the caller's, before any of the work
   */
  readonly admit?: Bound;
  /**
   * Runs the hashing of callers who have a token: at most half of what the bound allows at once, and of what may wait, so
   * that they never keep others from signing in. Left out: they have no bound of their own.
   * @throws {HasherBusyError} over that half
   */
  readonly share?: Bound;
}

/** More passwords are hashed, or wait for it, than the bound allows. */
export class HasherBusyError extends DomainError {
  constructor() {
    super('busy', 'Too many passwords are being checked at once. Try again.');
  }
}

type Bcrypt = {
  hash(password: string, cost: number): Promise<string>;
  compare(password: string, hash: string): Promise<boolean>;
};

/** Runs a caller's work within a bound. @throws {HasherBusyError} over it */
export type Bound = <T>(work: () => Promise<T>, caller?: string) => Promise<T>;

/** Work of a caller that waits for its turn: it begins, or is refused. */
type Waiting = { readonly begin: () => void; readonly refuse: (reason: HasherBusyError) => void };

/** On Node and Bun: how many passwords wait for their turn at most, and how long. */
const WAITING = 64;
const WAIT_MS = 1000;

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

/**
 * Puts the rules, the constant work and the bound around a runtime's bcrypt.
 * @param cost 10 to 15: each step doubles the work
 */
export function createHasher(bcrypt: Bcrypt, { cost, bound }: { cost: number; bound: Bound }): Hasher {
  return {
    hash: async (password, caller) => {
      if (!fits(password)) throw new RangeError('bcrypt takes a password of at most 72 bytes, without NUL.');
      return bound(() => bcrypt.hash(password, cost), caller);
    },
    verify: (password, hash, caller) =>
      bound(async () => {
        const made = costOf(hash);
        const possible = fits(password) && made !== undefined;
        const matches = await bcrypt.compare(fits(password) ? password : '-', possible ? hash : dummyHash(cost));
        // A hash from before the cost was raised takes less: what is lacking is 2^made + ... + 2^(cost - 1) rounds.
        for (let lacking = possible ? made : cost; lacking < cost; lacking++) {
          await bcrypt.compare('-', dummyHash(lacking));
        }
        return possible && matches;
      }, caller),
  };
}

/**
 * At most `concurrency` pieces of work run at once; up to `length` more wait. The callers who wait take turns, so that
 * one with many requests delays another by one piece of work, and does not fill the places: over `length`, the caller
 * who has most of them loses the last one. Work that has waited longer than `waitMs` is refused when its turn comes: its
 * caller may have left, and those behind it wait.
 */
export function queue(concurrency: number, length: number, waitMs: number): Bound {
  /** By caller, in the order of their turns. None is empty. */
  const callers = new Map<string, Waiting[]>();
  let running = 0;
  let waiting = 0;
  const join = (caller: string, work: Waiting) => {
    const own = callers.get(caller) ?? [];
    if (waiting >= length) {
      const most = [...callers.values()].reduce((one, other) => (other.length > one.length ? other : one), own);
      if (most.length <= own.length + 1) throw new HasherBusyError();
      most.pop()?.refuse(new HasherBusyError());
      waiting--;
    }
    callers.set(caller, [...own, work]);
    waiting++;
  };
  const leave = () => {
    const [next] = callers;
    if (next === undefined) {
      running--;
      return;
    }
    const [caller, [first, ...others]] = next;
    callers.delete(caller);
    if (others.length > 0) callers.set(caller, others);
    waiting--;
    // The work that ends hands its place over, so that no newcomer takes it in between.
    first?.begin();
  };
  return async (work, caller = '') => {
    const latest = performance.now() + waitMs;
    if (running >= concurrency) await new Promise<void>((begin, refuse) => join(caller, { begin, refuse }));
    else running++;
    try {
      if (performance.now() > latest) throw new HasherBusyError();
      return await work();
    } finally {
      leave();
    }
  };
}

/** The bounds of Node and Bun: for all, and for those who have a token. What has passed the second waits in the first. */
export const queues = (concurrency: number): { readonly bound: Bound; readonly share: Bound } => ({
  bound: queue(concurrency, WAITING, WAIT_MS),
  share: queue(concurrency / 2, WAITING / 2, WAIT_MS),
});

/**
 * At most `count` pieces of work run at once, and none waits. On Workers a request must not wait for another request's
 * work: the runtime may drop that work with its request. Dropped work never ends, so its slot is free after a time.
 * @param holdMs longer than work takes
 * @param each what one caller may hold of them
 */
export function slots(count: number, holdMs: number, each = count): Bound {
  const taken = new Set<{ readonly until: number; readonly caller: string }>();
  return async (work, caller = '') => {
    const now = Date.now();
    for (const slot of taken) if (slot.until <= now) taken.delete(slot);
    const own = [...taken].filter((slot) => slot.caller === caller);
    if (taken.size >= count || own.length >= each) throw new HasherBusyError();
    const slot = { until: now + holdMs, caller };
    taken.add(slot);
    try {
      return await work();
    } finally {
      taken.delete(slot);
    }
  };
}
