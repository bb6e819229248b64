import { decode, sign, verify } from 'hono/jwt';
import * as z from 'zod';
import { ROLES } from '../domain/roles.ts';
import type { AccessTokens } from '../domain/session/schema.ts';
import type { KeyRings } from './key-rings.ts';

/** Clocks of instances may differ by this much, in seconds. */
const SKEW_SECONDS = 5;

const seconds = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

const headerSchema = z.object({ kid: z.string() });

/** hono/jwt checks the signature; what a token must say to be one of ours is checked here. */
const claimsSchema = z.object({
  sub: z.string(),
  admin_id: z.string(),
  admin_email: z.string(),
  email_verified: z.boolean(),
  organization: z.string(),
  org_id: z.string(),
  role: z.enum(ROLES),
  epoch: seconds,
  auth_time: seconds,
  iss: z.string(),
  aud: z.string(),
  iat: seconds,
  nbf: seconds.optional(),
  exp: seconds,
  sid: z.string(),
  jti: z.string(),
});

type AccessTokenOptions = {
  readonly keys: KeyRings;
  readonly issuer: string;
  readonly audience: string;
  readonly lifetimeSeconds: number;
  readonly clock: () => Date;
  readonly newId: () => string;
};

/** Access tokens as JWTs (RFC 7519) under a ring of keys, each with an algorithm of its own (RFC 8725, section 3.1). */
export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { keys, issuer, audience, lifetimeSeconds, clock, newId } = options;
  const now = () => Math.floor(clock().getTime() / 1000);

  /** The key that a token names, also when it has just been added. */
  const keyOf = async (token: string) => {
    const { kid } = headerSchema.parse(decode(token).header);
    return (await keys.current()).keys.get(kid) ?? (await keys.fresh()).keys.get(kid);
  };

  return {
    lifetimeSeconds,
    issue: async ({ exp: latest = Number.POSITIVE_INFINITY, ...claims }) => {
      const iat = now();
      const exp = Math.min(latest, iat + lifetimeSeconds);
      const payload = { ...claims, sub: claims.admin_id, iss: issuer, aud: audience, iat, exp, jti: newId() };
      const { signing } = (await keys.current()).current;
      return { token: await sign(payload, signing, signing.alg), expiresIn: Math.max(0, exp - iat) };
    },
    verify: async (token) => {
      let payload: unknown;
      try {
        const key = await keyOf(token);
        if (key === undefined) return undefined;
        // Times are compared below, with the clock that the service was given.
        payload = await verify(token, key.verifying, { alg: key.algorithm, exp: false, iat: false, nbf: false });
      } catch {
        // hono/jwt's messages hold the token: nothing of them goes any further.
        return undefined;
      }
      const claims = claimsSchema.safeParse(payload);
      if (!claims.success) return undefined;
      const { iss, aud, iat, nbf, exp, sub, admin_id } = claims.data;
      const latest = now() + SKEW_SECONDS;
      const ours = iss === issuer && aud === audience && sub === admin_id;
      const inForce = exp > now() && iat <= latest && (nbf ?? 0) <= latest && exp - iat <= lifetimeSeconds;
      return ours && inForce ? claims.data : undefined;
    },
    publicKeys: async () => {
      const ring = await keys.current();
      return [...ring.keys.values()].flatMap(({ published }) => (published === undefined ? [] : [published]));
    },
  };
}
