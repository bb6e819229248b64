import type { webcrypto } from 'node:crypto';
import { sign, verify } from 'hono/jwt';
import * as z from 'zod';
import { ROLES } from '../domain/authorization.ts';
import type { AccessTokens } from '../domain/session/access-token.ts';

const ISSUER = 'tenantry';
const AUDIENCE = 'tenantry';

/** Clocks of instances may differ by this much, in seconds. */
const SKEW_SECONDS = 5;

const DIGESTS = { HS256: 'SHA-256', HS384: 'SHA-384', HS512: 'SHA-512' } as const;

const seconds = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

/** hono/jwt checks the signature; what a token must say to be one of ours is checked here. */
const claimsSchema = z.object({
  sub: z.string(),
  admin_id: z.string(),
  admin_email: z.string(),
  organization: z.string(),
  org_id: z.string(),
  role: z.enum(ROLES),
  epoch: seconds,
  auth_time: seconds,
  iss: z.literal(ISSUER),
  aud: z.literal(AUDIENCE),
  iat: seconds,
  exp: seconds,
  sid: z.string(),
  jti: z.string(),
});

export type AccessTokenOptions = {
  readonly secret: string;
  readonly algorithm: keyof typeof DIGESTS;
  readonly lifetimeSeconds: number;
  readonly clock: () => Date;
  readonly newId: () => string;
};

/** Access tokens as JWTs (RFC 7519) under one secret, with the algorithm fixed by configuration (RFC 8725, 3.1). */
export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { algorithm, lifetimeSeconds } = options;
  const now = () => Math.floor(options.clock().getTime() / 1000);
  let imported: Promise<webcrypto.CryptoKey> | undefined;
  const key = () => {
    imported ??= crypto.subtle.importKey(
      'raw',
      new TextEncoder().encode(options.secret),
      { name: 'HMAC', hash: DIGESTS[algorithm] },
      false,
      ['sign', 'verify'],
    );
    return imported;
  };

  return {
    lifetimeSeconds,
    issue: async (claims) => {
      const iat = now();
      const payload = {
        ...claims,
        sub: claims.admin_id,
        iss: ISSUER,
        aud: AUDIENCE,
        iat,
        exp: iat + lifetimeSeconds,
        jti: options.newId(),
      };
      return sign(payload, await key(), algorithm);
    },
    verify: async (token) => {
      let payload: unknown;
      try {
        // Times are compared below, with the clock that the service was given.
        payload = await verify(token, await key(), { alg: algorithm, exp: false, iat: false, nbf: false });
      } catch {
        // hono/jwt's messages hold the token: nothing of them goes any further.
        return undefined;
      }
      const claims = claimsSchema.safeParse(payload);
      if (!claims.success) return undefined;
      const { iat, exp, sub, admin_id } = claims.data;
      const inForce = exp > now() && iat <= now() + SKEW_SECONDS && exp - iat <= lifetimeSeconds && sub === admin_id;
      return inForce ? claims.data : undefined;
    },
  };
}
