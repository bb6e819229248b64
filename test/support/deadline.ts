import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks again and again until the answer is there.
 * @param ask resolves to undefined, or throws, while there is none
 * @throws {Error} naming what was waited for and the last failure, after `ms`
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  { ms = 30_000, every = 50 }: { ms?: number; every?: number } = {},
): Promise<T> {
  const deadline = performance.now() + ms;
  let failure: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (error instanceof GaveUp) throw error;
      failure = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`Waited ${ms} ms in vain: ${what}`, failure === undefined ? {} : { cause: failure });
    }
    await delay(every);
  }
}

/** Thrown by what `until` asks, when there is no use in asking again. */
export class GaveUp extends Error {
  override readonly name = 'GaveUp';
}
