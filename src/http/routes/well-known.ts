import * as z from 'zod';
import { routeGroup } from '../route.ts';

/** How long a verifier of tokens may keep these keys, in seconds. */
const MAX_AGE_SECONDS = 300;

const publicKey = z.object({
  kid: z.string(),
  kty: z.enum(['EC', 'OKP']),
  alg: z.enum(['ES256', 'EdDSA']),
  use: z.literal('sig'),
  crv: z.string(),
  x: z.string(),
  y: z.string().optional(),
});

const keySet = z.object({ keys: z.array(publicKey) });

/** The public keys that others check access tokens with: /jwks.json. */
export function wellKnownRoutes() {
  const { app, route } = routeGroup('Tokens');
  route('GET /jwks.json', {
    summary: 'The public keys of access tokens (JWK Set, RFC 7517)',
    answer: { description: 'The keys; none where tokens are signed with a shared secret.', schema: keySet },
    verb: async ({ tokens }, _, c) => {
      c.header('Cache-Control', `public, max-age=${MAX_AGE_SECONDS}`);
      return keySet.parse({ keys: await tokens.publicKeys() });
    },
  });
  return app;
}
