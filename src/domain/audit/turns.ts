/** How long a turn is waited for, in milliseconds. */
const PATIENCE_MS = 2000;

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
    const result = before === undefined ? work() : Promise.race([before, wait(PATIENCE_MS)]).then(work);
    const over = result.then(
      () => {},
      () => {},
    );
    last.set(key, over);
    void over.then(() => {
      if (last.get(key) === over) last.delete(key);
    });
    return result;
  };
}
