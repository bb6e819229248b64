import type { Index } from '../../store/port.ts';
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import type { OrganizationDocument } from '../organization/organization.ts';

/** A signed-in device: the family of refresh tokens that came of one sign-in, of which the newest is good. */
export type SessionDocument = {
  readonly _id: string;
  readonly organization_id: string;
  readonly admin_id: string;
  /**
   * SHA-256, in hex, of the part that all refresh tokens of the family share: who presents it has held one of them.
   * Without it a stranger who knows the session's id could end the session with a made-up token.
   */
  readonly family_hash: string;
  /** SHA-256, in hex, of the secret in the newest refresh token. The token itself is nowhere. */
  readonly secret_hash: string;
  /** The epoch of the tokens (see currentEpoch): when it has risen, the session has ended. */
  readonly epoch: number;
  /** Where it was last used from, and by what; null where that is not known. */
  readonly address: string | null;
  readonly device: string | null;
  /** When the admin last gave the password. */
  readonly signed_in_at: Date;
  /** When it last gave tokens. */
  readonly last_used_at: Date;
  /** When it ends however much it is used. */
  readonly expires_at: Date;
};

export const SESSION_INDEXES: readonly Index[] = [
  { name: 'admin_id', key: { admin_id: 1 } },
  { name: 'organization_id', key: { organization_id: 1 } },
  { name: 'expires_at', key: { expires_at: 1 }, expireAfterSeconds: 0 },
];

/** What a sign-in, a refresh and a change of one's own account give. */
export type Tokens = {
  access_token: string;
  token_type: 'bearer';
  /** Seconds until the access token ends. */
  expires_in: number;
  refresh_token: string;
};

export type SignedIn = { readonly organization: OrganizationDocument; readonly admin: AdminDocument };

/** The epoch that tokens of this admin carry now. */
export const currentEpoch = ({ organization, admin }: SignedIn): number => organization.epoch + admin.epoch;

/** Sessions used before this have been idle for too long. */
export const idleSince = ({ clock, settings }: Context): Date =>
  new Date(clock().getTime() - settings.sessionSeconds.idle * 1000);

/** Whether a session has neither reached its end nor been idle for too long. */
export const isInForce = (context: Context, { expires_at, last_used_at }: SessionDocument): boolean =>
  expires_at > context.clock() && last_used_at > idleSince(context);

/** The tokens of a session whose newest refresh token is this one. */
export async function issueTokens(
  context: Context,
  signedIn: SignedIn,
  { _id, signed_in_at }: Pick<SessionDocument, '_id' | 'signed_in_at'>,
  refreshToken: string,
): Promise<Tokens> {
  const { organization, admin } = signedIn;
  const access_token = await context.tokens.issue({
    admin_id: admin._id,
    admin_email: admin.email,
    organization: organization.name,
    org_id: organization._id,
    role: admin.role,
    epoch: currentEpoch(signedIn),
    auth_time: Math.floor(signed_in_at.getTime() / 1000),
    sid: _id,
  });
  return {
    access_token,
    token_type: 'bearer',
    expires_in: context.tokens.lifetimeSeconds,
    refresh_token: refreshToken,
  };
}
