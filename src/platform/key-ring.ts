/**
 * The keys of access tokens: one signs, all verify. A key has one algorithm for good (RFC 8725, section 3.1), whatever
 * the header of a token says.
 */
import { Buffer } from 'node:buffer';
import type { webcrypto } from 'node:crypto';
import { createHash, createHmac } from 'node:crypto';
import * as z from 'zod';
import type { PublicKey } from '../domain/session/schema.ts';

export const KEY_ALGORITHMS = ['HS256', 'HS384', 'HS512', 'ES256', 'EdDSA'] as const;

export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

type TokenKey = {
  readonly kid: string;
  readonly algorithm: KeyAlgorithm;
  /** What signs; undefined for a key that only verifies. */
  readonly signing: SigningJwk | undefined;
  readonly verifying: webcrypto.CryptoKey;
  /** Undefined for a shared secret. */
  readonly published: PublicKey | undefined;
};

type Members = { readonly kty: string } & { readonly [member: string]: string };

export type SigningJwk = Members & { readonly kid: string; readonly alg: KeyAlgorithm };

export type KeyRing = {
  /** The key that signs. */
  readonly current: TokenKey & { readonly signing: SigningJwk };
  /** Every key that verifies, by kid. */
  readonly keys: ReadonlyMap<string, TokenKey>;
};

/** What is wrong with keys, and the fix; without the variable's name, and without a value. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

/** The least bytes of a shared secret: what a collision of SHA-256 costs (RFC 7518, section 3.2). */
export const MIN_SECRET_BYTES = 32;

/** Keys that a ring may have: each is tried when it is read. */
const MAX_KEYS = 32;

const SECRET_KID_LENGTH = 16;

const PROBE = new TextEncoder().encode('tenantry');

const PARAMETERS: Readonly<Record<KeyAlgorithm, { name: string; hash?: string; namedCurve?: string }>> = {
  HS256: { name: 'HMAC', hash: 'SHA-256' },
  HS384: { name: 'HMAC', hash: 'SHA-384' },
  HS512: { name: 'HMAC', hash: 'SHA-512' },
  ES256: { name: 'ECDSA', hash: 'SHA-256', namedCurve: 'P-256' },
  EdDSA: { name: 'Ed25519' },
};

/** How to make the value of JWT_SECRET, as a sentence without its full stop. */
export function howToMake(algorithm: KeyAlgorithm): string {
  if (algorithm === 'ES256') return 'Make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256';
  if (algorithm === 'EdDSA') return 'Make one with: openssl genpkey -algorithm ed25519';
  return 'Make one with: openssl rand -base64 48';
}

const isShared = (algorithm: KeyAlgorithm): boolean => algorithm.startsWith('HS');

const MAKE_SET = 'Make a set with: npm run --silent key -- ES256';

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/, 'is base64url');
const shared = {
  kid: z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/, 'is 1 to 128 visible ASCII characters')
    .optional(),
  use: z.literal('sig', 'is "sig", or left out').optional(),
};

const jwkSchema = z.discriminatedUnion(
  'kty',
  [
    z.object({
      ...shared,
      kty: z.literal('oct'),
      alg: z.enum(['HS256', 'HS384', 'HS512'], 'is HS256, HS384 or HS512 with kty "oct"'),
      k: base64url.refine(
        (k) => Buffer.from(k, 'base64url').length >= MIN_SECRET_BYTES,
        `has at least ${MIN_SECRET_BYTES} bytes`,
      ),
    }),
    z.object({
      ...shared,
      kty: z.literal('EC'),
      alg: z.literal('ES256', 'is ES256 with kty "EC"'),
      crv: z.literal('P-256', 'is P-256 with ES256'),
      x: base64url,
      y: base64url,
      d: base64url.optional(),
    }),
    z.object({
      ...shared,
      kty: z.literal('OKP'),
      alg: z.literal('EdDSA', 'is EdDSA with kty "OKP"'),
      crv: z.literal('Ed25519', 'is Ed25519 with EdDSA'),
      x: base64url,
      d: base64url.optional(),
    }),
  ],
  'is "oct", "EC" or "OKP"',
);

type Jwk = z.infer<typeof jwkSchema>;

/**
 * The ring of a JWK Set (RFC 7517, section 5): its first key signs, all of them verify.
 * @throws {KeyError} naming the key by its place and its member
 */
export async function parseKeySet(text: string): Promise<KeyRing> {
  const set = z.object({ keys: z.array(z.unknown()).min(1).max(MAX_KEYS) }).safeParse(parseJson(text));
  if (!set.success) {
    throw new KeyError(`is no JSON {"keys": [...]} of 1 to ${MAX_KEYS} keys (a JWK Set, RFC 7517). ${MAKE_SET}`);
  }
  const keys: TokenKey[] = [];
  for (const [index, given] of set.data.keys.entries()) {
    const parsed = jwkSchema.safeParse(given);
    const place = `has a key, number ${index + 1}`;
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new KeyError(`${place}, that cannot be used: ${issue?.path.join('.')} ${issue?.message}. ${MAKE_SET}`);
    }
    const key = await importKey(parsed.data, place);
    if (keys.some(({ kid }) => kid === key.kid)) throw new KeyError(`${place}, whose kid another one has`);
    keys.push(key);
  }
  return ringOf(keys);
}

/**
 * The ring of one key: for HMAC the secret's bytes, for the others a private key as PEM (PKCS #8) or JWK.
 * @throws {KeyError}
 */
export async function keyRingOfSecret(secret: string, algorithm: KeyAlgorithm): Promise<KeyRing> {
  const make = howToMake(algorithm);
  const jwk = jwkSchema.safeParse(await jwkOfSecret(secret, algorithm));
  if (!jwk.success || jwk.data.alg !== algorithm) {
    const needed = isShared(algorithm)
      ? `has at least ${MIN_SECRET_BYTES} bytes`
      : 'is a private key as PEM (PKCS #8) or JWK';
    throw new KeyError(`is no key for ${algorithm}: it ${needed}. ${make}`);
  }
  try {
    return ringOf([await importKey(jwk.data, 'is a key')]);
  } catch (error) {
    throw error instanceof KeyError ? new KeyError(`${error.message}. ${make}`) : error;
  }
}

/** A new private key or secret as JWK. */
export async function makeJwk(algorithm: KeyAlgorithm): Promise<SigningJwk> {
  const made = await crypto.subtle.generateKey(PARAMETERS[algorithm], true, ['sign', 'verify']);
  const exported = await crypto.subtle.exportKey('jwk', 'privateKey' in made ? made.privateKey : made);
  const { signing } = await importKey(jwkSchema.parse({ ...exported, alg: algorithm }), 'is a key');
  if (signing === undefined) throw new KeyError('is a key without a private part');
  return signing;
}

async function jwkOfSecret(secret: string, algorithm: KeyAlgorithm): Promise<unknown> {
  if (isShared(algorithm)) {
    return { kty: 'oct', alg: algorithm, k: Buffer.from(secret, 'utf8').toString('base64url') };
  }
  if (secret.startsWith('{')) return { alg: algorithm, ...(parseJson(secret) as object | undefined) };
  const der = Buffer.from(secret.replaceAll('\\n', '\n').replace(/-----[A-Z ]+-----/g, ''), 'base64');
  try {
    const key = await crypto.subtle.importKey('pkcs8', der, PARAMETERS[algorithm], true, ['sign']);
    return { ...(await crypto.subtle.exportKey('jwk', key)), alg: algorithm };
  } catch {
    return undefined;
  }
}

function ringOf(keys: readonly TokenKey[]): KeyRing {
  const [first] = keys;
  if (first?.signing === undefined) throw new KeyError('begins with a key that has no private part: it cannot sign');
  return { current: { ...first, signing: first.signing }, keys: new Map(keys.map((key) => [key.kid, key])) };
}

async function importKey(jwk: Jwk, place: string): Promise<TokenKey> {
  const { alg } = jwk;
  const { verifying, signing } = membersOf(jwk);
  const kid = jwk.kid ?? keyId(verifying);
  const key = await verifyingKey(verifying, signing, alg);
  if (key === undefined) throw new KeyError(`${place}, that is none for ${alg}: its parts do not fit`);
  return {
    kid,
    algorithm: alg,
    signing: signing && { ...signing, kid, alg },
    verifying: key,
    published: jwk.kty === 'oct' ? undefined : { ...verifying, kid, alg, use: 'sig' },
  };
}

/** What of a JWK verifies, its members in the order of RFC 7638, and what signs. */
function membersOf(jwk: Jwk): { verifying: Members; signing: Members | undefined } {
  if (jwk.kty === 'oct') {
    const secret = { k: jwk.k, kty: jwk.kty };
    return { verifying: secret, signing: secret };
  }
  const { crv, kty, x, d } = jwk;
  const verifying = jwk.kty === 'EC' ? { crv, kty, x, y: jwk.y } : { crv, kty, x };
  return { verifying, signing: d === undefined ? undefined : { ...verifying, d } };
}

/** The thumbprint of a public key (RFC 7638); for a secret, what can be told of it without giving it away. */
function keyId(members: Members): string {
  if (members.kty !== 'oct') return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
  const secret = Buffer.from(members['k'] ?? '', 'base64url');
  return createHmac('sha256', secret).update('tenantry kid').digest('base64url').slice(0, SECRET_KID_LENGTH);
}

/** The key that verifies, tried out; undefined where it is none, or where what signs does not fit it. */
async function verifyingKey(verifying: Members, signing: Members | undefined, alg: KeyAlgorithm) {
  const parameters = PARAMETERS[alg];
  try {
    const key = await crypto.subtle.importKey('jwk', verifying, parameters, false, ['verify']);
    if (signing === undefined) return key;
    const signer = await crypto.subtle.importKey('jwk', signing, parameters, false, ['sign']);
    const signature = await crypto.subtle.sign(parameters, signer, PROBE);
    return (await crypto.subtle.verify(parameters, key, signature, PROBE)) ? key : undefined;
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
