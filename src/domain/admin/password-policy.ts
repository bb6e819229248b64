import type { Needs } from '../context.ts';
import { invalid } from '../errors.ts';
import { isCommonPassword } from './common-passwords.ts';

/** bcrypt reads 72 bytes only: a longer password would be cut, so it is refused. */
const MAX_BYTES = 72;
const MIN_CODE_POINTS = 8;

const ADVICE = 'Use several words that do not belong together, or let a password manager make one.';

/** The owner of a password, as far as known: attackers try these names first. */
type PasswordOwner = {
  readonly email?: string | undefined;
  readonly organizationName?: string | undefined;
};

/**
 * Checks a new password. Any mix of characters is permitted (NIST SP 800-63B, section 3.1.1.2). Refused are passwords
 * that attackers guess first, and passwords that bcrypt cannot tell from others.
 * @throws {DomainError} invalid_input, saying what to change, for a password that is too short, is too long for bcrypt,
 *   holds a NUL, is one of the most used ones, or is its owner's email or organization
 */
export function checkNewPassword(
  { settings }: Needs<'settings'>,
  password: string,
  path: string,
  owner: PasswordOwner = {},
): void {
  if (!password.isWellFormed()) throw invalid(path, 'Use well-formed Unicode text.');
  if ([...password].length < MIN_CODE_POINTS) {
    throw invalid(path, `Use at least ${MIN_CODE_POINTS} characters. ${ADVICE}`);
  }
  const bytes = new TextEncoder().encode(password).byteLength;
  if (bytes > MAX_BYTES) {
    throw invalid(
      path,
      `Use at most ${MAX_BYTES} bytes: this has ${bytes}. Letters other than a-z take two to four bytes.`,
    );
  }
  if (password.includes('\0')) throw invalid(path, 'Leave out the NUL character.');
  if (settings.refuseCommonPasswords && isCommonPassword(password)) {
    throw invalid(path, `This is one of the most used passwords, which attackers try first. ${ADVICE}`);
  }
  if (namesOf(owner).includes(folded(password))) {
    throw invalid(
      path,
      `Do not use the email or the organization’s name as the password: attackers try them first. ${ADVICE}`,
    );
  }
}

/**
 * Looks a new password up among the breached ones, where the configuration says so. It asks another service, so it comes
 * after {@link checkNewPassword}, after the request's budgets, and after its token is known to be good.
 * @throws {DomainError} invalid_input
 */
export async function requireUnbreached(
  { breachedPasswords }: Needs<'breachedPasswords'>,
  password: string,
  path: string,
): Promise<void> {
  if (!(await breachedPasswords?.includes(password))) return;
  throw invalid(path, `This password is known from a breach of some service: attackers try those first. ${ADVICE}`);
}

/**
 * Looks up and hashes the new password of a caller who has an access token or a mailed token.
 * @returns what the admin is to have of it
 * @throws {DomainError} invalid_input, busy
 */
export async function hashNewPassword(
  context: Needs<'breachedPasswords' | 'newId' | 'passwords'>,
  password: string,
  path: string,
) {
  await requireUnbreached(context, password, path);
  const password_hash = await context.passwords.share(() => context.passwords.hash(password));
  return { password_hash, password_id: context.newId() };
}

const namesOf = ({ email, organizationName }: PasswordOwner): string[] =>
  [email, email?.slice(0, email.lastIndexOf('@')), organizationName]
    .map((name) => folded(name ?? ''))
    .filter((key) => key !== '');

/** Letters and digits alone, in lower case: `Test-Co` is `testco`. */
const folded = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '');
