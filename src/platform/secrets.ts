/**
 * Reads the secret that a value of the environment stands for, as it is now: the value itself, or what it refers to.
 * @throws {SecretUnavailableError} when what it refers to is not to be had
 */
export type ReadSecret = (value: string) => Promise<string>;

/** What a variable refers to cannot be read. Its message says why, and holds no secret. */
export class SecretUnavailableError extends Error {
  override readonly name = 'SecretUnavailableError';
}

/** How a value starts that refers to a file. */
export const FILE_REFERENCE = 'file:';

/** Whether a value of the environment refers to a secret that is kept elsewhere. */
export const isReference = (value: string): boolean => value.startsWith(FILE_REFERENCE);

/** The environment itself, where there are no files: a value is the secret. */
export const readPlainSecret: ReadSecret = async (value) => {
  if (!isReference(value)) return value;
  throw new SecretUnavailableError('refers to a file, and there are none here: give the secret itself');
};
