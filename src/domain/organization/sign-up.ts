/** Who may create an organization, where not everyone may: see the settings. */
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';

/**
 * @param key the sign-up key that came with the request
 * @throws {DomainError} sign_up_closed; sign_up_key_required, the same for a wrong key and for none
 */
export function requireSignUp(
  { settings: { signUp, signUpKeys }, keyedHash }: Needs<'settings' | 'keyedHash'>,
  key: string | undefined,
): void {
  if (signUp === 'open') return;
  if (signUp === 'closed') throw new DomainError('sign_up_closed', 'No organizations are created here.');
  // Hashed, so that the time of the comparison does not tell how much of the key is correct.
  const given = keyedHash(`sign-up key ${key ?? ''}`);
  if (signUpKeys.some((known) => keyedHash(`sign-up key ${known}`) === given)) return;
  throw new DomainError('sign_up_key_required', 'Send the key that you were given for this in X-Signup-Key.');
}

/**
 * @param token what the CAPTCHA gave the person who solved it
 * @throws {DomainError} captcha_required, the same for a token that is not good and for none; unavailable
 */
export async function requireCaptcha(
  { captcha, request }: Needs<'captcha' | 'request'>,
  token: string | undefined,
): Promise<void> {
  if (captcha === null) return;
  if (token !== undefined && (await captcha.verify(token, request.address))) return;
  throw new DomainError(
    'captcha_required',
    'Solve the CAPTCHA, and send its token in X-Captcha-Token. It is good once.',
  );
}
