import { setTimeout as delay } from 'node:timers/promises';

/**
 * Calls a function again and again until it gives a value.
 * @param ask gives undefined, or throws, while there is no value
 * @throws {Error} after `ms`: it names what was waited for and has the last failure as its cause
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
      throw new Error(`Waited ${ms} ms without success: ${what}`, failure === undefined ? {} : { cause: failure });
    }
    await delay(every);
  }
}

/** Thrown by the function that `until` calls, when another call cannot succeed. */
export class GaveUp extends Error {
  override readonly name = 'GaveUp';
}
