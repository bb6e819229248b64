import type { Log } from '../domain/context.ts';

/** Work that goes on after an answer. */
export type Background = {
  /** Begins the work in a turn of its own. Resolves when it has ended; its errors are logged. */
  run(work: () => Promise<unknown>): Promise<void>;
  /** Resolves when all work that was begun has ended. */
  ended(): Promise<void>;
};

export function createBackground(log: Log): Background {
  const running = new Set<Promise<void>>();
  return {
    run: (work) => {
      const run = new Promise<void>((turn) => setTimeout(turn, 0))
        .then(async () => void (await work()))
        .catch((error: unknown) => log('warn', 'background.failed', { error }))
        .finally(() => running.delete(run));
      running.add(run);
      return run;
    },
    ended: async () => {
      await Promise.all(running);
    },
  };
}
