import type { Role } from '../authorization.ts';

/** What an access token says, after its signature and shape were checked. */
export type AccessClaims = {
  readonly admin_id: string;
  readonly admin_email: string;
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
};

export type PublicKey = { readonly [member: string]: string };

/** The port for access tokens. */
export type AccessTokens = {
  readonly lifetimeSeconds: number;
  /** A signed token that says this, from now for the lifetime. */
  issue(claims: Omit<AccessClaims, 'jti'>): Promise<string>;
  /** What the token says, or undefined when it is not one of ours in force. Never throws for a bad token. */
  verify(token: string): Promise<AccessClaims | undefined>;
  /** The public keys that others can check tokens with, as JWKs (RFC 7517); none where they are shared secrets. */
  publicKeys(): Promise<readonly PublicKey[]>;
};
