import type { Needs } from './context.ts';
import { DomainError } from './errors.ts';
import type { Action } from './roles.ts';
import { isPermitted, NEEDS_FRESH_SIGN_IN, UNVERIFIED_MAY } from './roles.ts';
import { hasSecondFactor } from './second-factor/schema.ts';
import type { Principal } from './session/schema.ts';

/** The one refusal for another organization: the same whether it exists or not. */
export const forbidden = (): DomainError =>
  new DomainError('forbidden', 'This token does not permit that. Sign in as an admin of the organization.');

/** The refusal where the last sign-in is too long ago, or the password that should replace one is not correct. */
export const reauthenticationRequired = (): DomainError =>
  new DomainError(
    'reauthentication_required',
    'This needs a recent sign-in: sign in again. To change email or password, the correct current_password does too.',
  );

/** Whether the principal gave the password not long ago. A refresh or a change of the organization does not count. */
export const isFreshSignIn = (
  { clock, settings }: Needs<'clock' | 'settings'>,
  { claims }: Pick<Principal, 'claims'>,
): boolean => clock().getTime() - claims.auth_time * 1000 <= settings.freshSignInSeconds * 1000;

/**
 * @throws {DomainError} forbidden, unless the tables permit it; email_not_verified, second_factor_missing and
 *   reauthentication_required where the email has to be verified, a second factor in force, and the sign-in recent
 */
export function authorize(
  context: Needs<'clock' | 'settings'>,
  principal: Pick<Principal, 'admin' | 'claims'>,
  action: Action,
): void {
  const { role, email_verified } = principal.admin;
  const isRestricted = !UNVERIFIED_MAY.includes(action);
  if (!isPermitted(role, action)) {
    throw new DomainError('forbidden', 'Your role does not permit that. Ask an owner of the organization.');
  }
  if (context.settings.requireVerifiedEmail && !email_verified && isRestricted) {
    throw new DomainError(
      'email_not_verified',
      'Verify your email first: POST /admin/verify-email/resend sends a token.',
    );
  }
  if (context.settings.requireSecondFactor && !hasSecondFactor(principal.admin) && isRestricted) {
    throw new DomainError(
      'second_factor_missing',
      'Set up a second factor first: POST /admin/second-factor gives the secret for an authenticator app.',
    );
  }
  if (NEEDS_FRESH_SIGN_IN.includes(action) && !isFreshSignIn(context, principal)) throw reauthenticationRequired();
}
