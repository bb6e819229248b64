/** A tenant's own backend, and a store that does not rename for it. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CommandOf, Executor, Op } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';

export type RefusingExecutor = Executor & {
  /** Whether it refuses to rename a collection; at first it does. */
  refuse(refuses: boolean): void;
};

/** A store whose server refuses renameCollection, as for a missing privilege or a sharded collection. */
export function refusingRenames(executor: Executor): RefusingExecutor {
  let refuses = true;
  return {
    ...executor,
    refuse: (on) => {
      refuses = on;
    },
    execute: async <O extends Op>(command: CommandOf<O>) => {
      if (command.op === 'renameCollection' && refuses) {
        throw new StoreError('NotPermitted', 'The server refuses this operation.');
      }
      return executor.execute<O>(command);
    },
  };
}

/** What a backend does to its documents: whole documents by a key, in whatever collection it believes to be its own. */
export type Backend = {
  put(collection: string, key: number, version: number): Promise<void>;
  remove(collection: string, key: number): Promise<void>;
  /** Every document there, by its key: its version. */
  all(collection: string): Promise<Map<number, number>>;
};

/**
 * A backend that writes to `collection()` until it is stopped: each of its keys in turn is inserted, changed or
 * removed. It remembers what was acknowledged.
 */
export function startWriter(backend: Backend, collection: () => string, keys: readonly number[]) {
  const acknowledged = new Map<number, number>();
  let writes = 0;
  let worst = 0;
  let stopped = false;
  const run = async () => {
    for (let n = 0; !stopped; n++) {
      const key = keys[(n * 7) % keys.length] as number;
      const begun = performance.now();
      if (n % 5 === 4) {
        await backend.remove(collection(), key);
        acknowledged.delete(key);
      } else {
        await backend.put(collection(), key, n);
        acknowledged.set(key, n);
      }
      worst = Math.max(worst, performance.now() - begun);
      writes++;
      await nextTurn();
    }
  };
  const running = run();
  return {
    acknowledged,
    writes: () => writes,
    worstMs: () => worst,
    stop: async () => {
      stopped = true;
      await running;
    },
  };
}
