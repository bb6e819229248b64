import { isStoreError } from '../store/port.ts';

const ATTEMPTS = 3;

/**
 * Runs an idempotent write again when its outcome is unknown: what happened the first time must make the second
 * either do nothing or fail in a way that the caller reads as done.
 * @throws {StoreError} the last one, when the store stays away
 */
export async function persist<T>(write: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (attempt === ATTEMPTS || !isStoreError(error, 'OutcomeUnknown')) throw error;
    }
  }
}

/** An insert under an id of our own: when it was said to clash, it was an earlier try of ours that went in. */
export async function insertOnce(insert: () => Promise<void>): Promise<void> {
  let tries = 0;
  await persist(async () => {
    tries++;
    try {
      await insert();
    } catch (error) {
      if (tries === 1 || !isStoreError(error, 'DuplicateKey')) throw error;
    }
  });
}
