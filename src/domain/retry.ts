import { isStoreError } from '../store/port.ts';
import type { Needs } from './context.ts';

const ATTEMPTS = 4;
const FIRST_WAIT_MS = 20;

/**
 * Runs an idempotent write again when its outcome is unknown, or nothing happened, with growing waits: what happened
 * the first time must make the second either do nothing or fail in a way that the caller reads as done. The store's
 * own time budget ends it.
 * @throws {StoreError} the last one, when the store stays away
 */
export async function retryOnUnknownOutcome<T>({ wait }: Needs<'wait'>, write: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (attempt === ATTEMPTS || !isStoreError(error, 'OutcomeUnknown', 'Unavailable')) throw error;
      // Full jitter, so that those who failed together do not come back together.
      await wait(Math.random() * FIRST_WAIT_MS * 4 ** (attempt - 1));
    }
  }
}

/** An insert under an id of our own: when a later try is said to clash, an earlier one went in. */
export async function insertOnce(context: Needs<'wait'>, insert: () => Promise<void>): Promise<void> {
  let tries = 0;
  await retryOnUnknownOutcome(context, async () => {
    tries++;
    try {
      await insert();
    } catch (error) {
      if (tries === 1 || !isStoreError(error, 'DuplicateKey')) throw error;
    }
  });
}

/** An insert that does nothing where another of the same key is there, whosever it is. @returns whether it went in */
export async function insertUnlessThere(context: Needs<'wait'>, insert: () => Promise<void>): Promise<boolean> {
  try {
    await retryOnUnknownOutcome(context, insert);
    return true;
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    return false;
  }
}
