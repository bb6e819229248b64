import { randomHex, sha256 } from '../secret.ts';

/**
 * A refresh token: `<session id>.<family>.<secret>`. The family is the same in all tokens of a session; the secret is
 * good once. Both are random, and the store has only their hashes.
 */
type RefreshToken = { readonly sessionId: string; readonly family: string; readonly secret: string };

const FAMILY_BYTES = 16;
const SECRET_BYTES = 32;
const FORM = /^([0-9a-f-]{36})\.([0-9a-f]{32})\.([0-9a-f]{64})$/;

export const newFamily = (sessionId: string): RefreshToken => ({
  sessionId,
  family: randomHex(FAMILY_BYTES),
  secret: randomHex(SECRET_BYTES),
});

export const successorOf = (token: RefreshToken): RefreshToken => ({ ...token, secret: randomHex(SECRET_BYTES) });

export const formatRefreshToken = ({ sessionId, family, secret }: RefreshToken): string =>
  `${sessionId}.${family}.${secret}`;

/** The parts of a refresh token, or undefined for a text that does not have its form. */
export function parseRefreshToken(text: string): RefreshToken | undefined {
  const [, sessionId, family = '', secret = ''] = FORM.exec(text) ?? [];
  return sessionId === undefined ? undefined : { sessionId, family, secret };
}

/** The hashes that the store keeps. A fast hash is enough: each part has at least 128 random bits. */
export async function hashesOf({ family, secret }: RefreshToken) {
  return { family_hash: await sha256(family), secret_hash: await sha256(secret) };
}
