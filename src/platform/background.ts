import type { Log } from '../domain/context.ts';

/** Work that goes on after an answer. */
export type Background = {
  /** Begins it in a turn of its own. Resolves when it has ended; what it throws is logged. */
  later(work: () => Promise<void>): Promise<void>;
  /** Resolves when all that was begun has ended. */
  ended(): Promise<void>;
};

export function createBackground(log: Log): Background {
  const running = new Set<Promise<void>>();
  return {
    later: (work) => {
      const run = new Promise<void>((turn) => setTimeout(turn, 0))
        .then(work)
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
