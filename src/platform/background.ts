import type { Log } from '../domain/context.ts';

/** Work that goes on after an answer. */
export function createBackground(log: Log) {
  const running = new Set<Promise<void>>();
  return {
    /** Begins the work in a turn of its own. Resolves when it has ended; its errors are logged. */
    run: (work: () => Promise<unknown>): Promise<void> => {
      const run = new Promise<void>((turn) => setTimeout(turn, 0))
        .then(async () => void (await work()))
        .catch((error: unknown) => log('warn', 'background.failed', { error }))
        .finally(() => running.delete(run));
      running.add(run);
      return run;
    },
    /** Resolves when all work that was begun has ended. */
    ended: async (): Promise<void> => {
      await Promise.all(running);
    },
  };
}
