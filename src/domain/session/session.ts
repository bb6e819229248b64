import type { Index } from '../../store/port.ts';
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import type { OrganizationDocument } from '../organization/organization.ts';

/** A signed-in device: the family of refresh tokens that came of one sign-in, of which the newest is good. */
export type SessionDocument = {
  readonly _id: string;
  readonly organization_id: string;
  readonly admin_id: string;
  /** SHA-256 of the secret in the newest refresh token, in hex. The token itself is nowhere. */
  readonly secret_hash: string;
  /** The admin's epoch at sign-in: another password or email ends the session. */
  readonly admin_epoch: number;
  readonly signed_in_at: Date;
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

const SECRET_BYTES = 32;

type SignedIn = { readonly organization: OrganizationDocument; readonly admin: AdminDocument };

/** The epoch that tokens of this admin carry now. */
export const currentEpoch = ({ organization, admin }: SignedIn): number => organization.epoch + admin.epoch;

/** Opens a session for an admin who gave the password at `signedInAt`, and issues its first tokens. */
export async function openSession(context: Context, signedIn: SignedIn, signedInAt: Date): Promise<Tokens> {
  const now = context.clock();
  const secret = newSecret();
  const session: SessionDocument = {
    _id: context.newId(),
    organization_id: signedIn.organization._id,
    admin_id: signedIn.admin._id,
    secret_hash: await hashSecret(secret),
    admin_epoch: signedIn.admin.epoch,
    signed_in_at: signedInAt,
    last_used_at: now,
    expires_at: new Date(now.getTime() + context.settings.sessionSeconds.absolute * 1000),
  };
  await context.master.sessions.insertOne(session);
  return issueTokens(context, signedIn, session, secret);
}

/** The tokens of a session whose newest refresh secret is `secret`. */
export async function issueTokens(
  context: Context,
  signedIn: SignedIn,
  session: Pick<SessionDocument, '_id' | 'signed_in_at'>,
  secret: string,
): Promise<Tokens> {
  const { organization, admin } = signedIn;
  const access_token = await context.tokens.issue({
    admin_id: admin._id,
    admin_email: admin.email,
    organization: organization.name,
    org_id: organization._id,
    role: admin.role,
    epoch: currentEpoch(signedIn),
    auth_time: Math.floor(session.signed_in_at.getTime() / 1000),
  });
  return {
    access_token,
    token_type: 'bearer',
    expires_in: context.tokens.lifetimeSeconds,
    refresh_token: `${session._id}.${secret}`,
  };
}

/** 256 random bits, in hex. */
export const newSecret = (): string => hex(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));

/** A fast hash is enough: the secret has 256 bits of its own. */
export const hashSecret = async (secret: string): Promise<string> =>
  hex(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret))));

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
