import { invalid } from '../errors.ts';

/** bcrypt reads 72 bytes: a longer password would be cut, so it is refused. */
const MAX_BYTES = 72;
const MIN_CODE_POINTS = 8;

/** @throws {DomainError} invalid_input for a password that is too short, too long for bcrypt, or holds a NUL */
export function checkNewPassword(password: string, path: string): void {
  if (!password.isWellFormed()) throw invalid(path, 'Use well-formed Unicode text.');
  if ([...password].length < MIN_CODE_POINTS) throw invalid(path, `Use at least ${MIN_CODE_POINTS} characters.`);
  if (new TextEncoder().encode(password).byteLength > MAX_BYTES) throw invalid(path, `Use at most ${MAX_BYTES} bytes.`);
  if (password.includes('\0')) throw invalid(path, 'Leave out the NUL character.');
}
