import type { Index } from '../../store/port.ts';
import type { AdminDocument } from '../admin/schema.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { Role } from '../roles.ts';

/** What an access token says, after its signature and shape were checked. */
export type AccessClaims = {
  readonly admin_id: string;
  readonly admin_email: string;
  readonly email_verified: boolean;
  /** The organization's name when the token was issued. */
  readonly organization: string;
  readonly org_id: string;
  readonly role: Role;
  /** The organization's epoch and the admin's, added: either one's rise ends the token, as neither ever falls. */
  readonly epoch: number;
  /** When the admin last gave the password, in seconds since 1970. */
  readonly auth_time: number;
  /** The session it belongs to, and ends with. */
  readonly sid: string;
  /** The token's own id. */
  readonly jti: string;
  /** When it ends, in seconds since 1970. */
  readonly exp: number;
};

export type PublicKey = { readonly [member: string]: string };

/** The port for access tokens. */
export type AccessTokens = {
  readonly lifetimeSeconds: number;
  /**
   * A signed token that says this.
   * @param claims.exp when it ends at the latest; left out: at the end of the lifetime
   */
  issue(
    claims: Omit<AccessClaims, 'jti' | 'exp'> & { readonly exp?: number },
  ): Promise<{ token: string; expiresIn: number }>;
  /** What the token says, or undefined when it is not one of ours in force. Never throws for a bad token. */
  verify(token: string): Promise<AccessClaims | undefined>;
  /** The public keys that others can check tokens with, as JWKs (RFC 7517); none where they are shared secrets. */
  publicKeys(): Promise<readonly PublicKey[]>;
};

/** A signed-in device: the family of refresh tokens that came of one sign-in, of which the newest is good. */
export type SessionDocument = {
  readonly _id: string;
  readonly organization_id: string;
  readonly admin_id: string;
  /**
   * SHA-256, in hex, of the part that all refresh tokens of the family share: it shows that the caller has held one.
   * Without it a caller who knows the session's id could end the session with a made-up token.
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
  { name: 'admin_id_last_used_at', key: { admin_id: 1, last_used_at: 1 } },
  { name: 'organization_id', key: { organization_id: 1 } },
  { name: 'expires_at', key: { expires_at: 1 }, expireAfterSeconds: 0 },
];

/** The caller: the admin, the organization and the session as they are now, and the claims of the token. */
export type Principal = {
  readonly admin: AdminDocument;
  readonly organization: OrganizationDocument;
  readonly session: SessionDocument;
  readonly claims: AccessClaims;
};
