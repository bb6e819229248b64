import { invalid } from '../errors.ts';
import { isCommonPassword } from './common-passwords.ts';

/** bcrypt reads 72 bytes: a longer password would be cut, so it is refused. */
const MAX_BYTES = 72;
const MIN_CODE_POINTS = 8;

const ADVICE = 'Use several words that do not belong together, or let a password manager make one.';

/** Whom a password is for, as far as it is known: their names are the first that anybody tries. */
export type PasswordOwner = {
  readonly email?: string | undefined;
  readonly organizationName?: string | undefined;
};

/**
 * Any characters will do, in any mix (NIST SP 800-63B, section 3.1.1.2): what is refused is what is guessed first, and
 * what bcrypt would not tell apart.
 * @throws {DomainError} invalid_input, saying what to change, for a password that is too short, too long for bcrypt,
 *   holds a NUL, is among the most used ones, or is its owner's email or organization
 */
export function checkNewPassword(password: string, path: string, owner: PasswordOwner = {}): void {
  if (!password.isWellFormed()) throw invalid(path, 'Use well-formed Unicode text.');
  if ([...password].length < MIN_CODE_POINTS) {
    throw invalid(path, `Use at least ${MIN_CODE_POINTS} characters. ${ADVICE}`);
  }
  const bytes = new TextEncoder().encode(password).byteLength;
  if (bytes > MAX_BYTES) {
    throw invalid(
      path,
      `Use at most ${MAX_BYTES} bytes: this has ${bytes}, as letters outside of a-z take two to four.`,
    );
  }
  if (password.includes('\0')) throw invalid(path, 'Leave out the NUL character.');
  if (isCommonPassword(password)) {
    throw invalid(path, `This is one of the most used passwords, which attackers try first. ${ADVICE}`);
  }
  if (namesOf(owner).includes(folded(password))) {
    throw invalid(path, `The email or the organization’s name is no password: attackers try them first. ${ADVICE}`);
  }
}

const namesOf = ({ email, organizationName }: PasswordOwner): string[] =>
  [email, email?.slice(0, email.lastIndexOf('@')), organizationName].flatMap((name) => {
    const key = folded(name ?? '');
    return key === '' ? [] : [key];
  });

/** Letters and digits alone, in lower case: `Test-Co` is `testco`. */
const folded = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '');
