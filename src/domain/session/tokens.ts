import type { Account } from '../admin/account.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { SessionDocument } from './schema.ts';

/** An access token, as it is answered. */
export type AccessToken = {
  access_token: string;
  token_type: 'bearer';
  /** Seconds until the access token ends. */
  expires_in: number;
};

/** The answer to a sign-in and to a refresh. */
export type Tokens = AccessToken & { refresh_token: string };

/** The epoch that tokens of this admin carry now. */
export const currentEpoch = ({ organization, admin }: Account): number => organization.epoch + admin.epoch;

/** Sessions that were last used before this time have been idle for too long. */
export const idleSince = ({ clock, settings }: Needs<'clock' | 'settings'>): Date =>
  new Date(clock().getTime() - settings.sessionSeconds.idle * 1000);

/** Whether a session has neither reached its end nor been idle for too long. */
export const isInForce = (
  context: Needs<'clock' | 'settings'>,
  { expires_at, last_used_at }: SessionDocument,
): boolean => expires_at > context.clock() && last_used_at > idleSince(context);

/**
 * An access token of a session.
 * @param input.signedInAt when the admin last gave the password
 * @param input.exp when the token ends at the latest, in seconds since 1970; left out: at the end of its lifetime
 */
export async function issueAccessToken(
  { tokens }: Needs<'tokens'>,
  input: Account & { readonly sessionId: string; readonly signedInAt: Date; readonly exp?: number },
): Promise<AccessToken> {
  const { organization, admin, sessionId, signedInAt, exp } = input;
  const { token, expiresIn } = await tokens.issue({
    admin_id: admin._id,
    admin_email: admin.email,
    email_verified: admin.email_verified,
    organization: organization.name,
    org_id: organization._id,
    role: admin.role,
    epoch: currentEpoch(input),
    auth_time: Math.floor(signedInAt.getTime() / 1000),
    sid: sessionId,
    ...(exp !== undefined && { exp }),
  });
  return { access_token: token, token_type: 'bearer', expires_in: expiresIn };
}

export const invalidToken = (): DomainError =>
  new DomainError('invalid_token', 'This token is missing, malformed or no longer valid. Sign in again.');
