/** How long one's turn is waited for, and how long one has before the next may begin as well, in milliseconds. */
const PATIENCE_MS = 10_000;
const TURN_MS = 5000;

/** Runs work for a key when this instance's earlier work for it is over, or has taken too long. */
export type Turns = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/**
 * Makes the work of one instance for one key take turns. A courtesy, which spares those who would be in each other's
 * way from trying in vain: nothing may depend on it, as other instances take no part, and patience ends.
 */
export function createTurns(wait: (ms: number) => Promise<void>): Turns {
  const last = new Map<string, Promise<void>>();
  return (key, work) => {
    const before = last.get(key);
    const begun = before === undefined ? Promise.resolve() : Promise.race([before, wait(PATIENCE_MS)]);
    const result = begun.then(work);
    const settled = result.then(
      () => {},
      () => {},
    );
    const over = begun.then(() => Promise.race([settled, wait(TURN_MS)]));
    last.set(key, over);
    void over.then(() => {
      if (last.get(key) === over) last.delete(key);
    });
    return result;
  };
}
