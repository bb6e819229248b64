/** How long one's turn is waited for, and how long one has before the next may begin as well, in milliseconds. */
const PATIENCE_MS = 10_000;
const TURN_MS = 5000;

/** Runs work for a key when this instance's earlier work for it is over, or has taken too long. */
export type Turns = <T>(key: string, work: () => Promise<T>) => Promise<T>;

type Turn = { readonly begun: Promise<void>; readonly over: Promise<void> };

/**
 * Makes the work of one instance for one key take turns. A courtesy, which spares those who would be in each other's
 * way from trying in vain: nothing may depend on it, as other instances take no part, and patience ends.
 */
export function createTurns(wait: (ms: number) => Promise<void>): Turns {
  const last = new Map<string, Turn>();
  const after = ({ begun, over }: Turn): Promise<void> =>
    Promise.race([begun.then(() => Promise.race([over, wait(TURN_MS)])), wait(PATIENCE_MS)]);

  return (key, work) => {
    const before = last.get(key);
    const begun = before === undefined ? Promise.resolve() : after(before);
    const result = begun.then(work);
    const over = result.then(
      () => {},
      () => {},
    );
    const turn = { begun, over };
    last.set(key, turn);
    void over.then(() => {
      if (last.get(key) === turn) last.delete(key);
    });
    return result;
  };
}
