import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import type { Env } from '../env.ts';
import { json, problems } from '../schemas.ts';

/** Whoever checks tokens by these keys may keep them for so many seconds. */
const KEPT_SECONDS = 300;

const publicKey = z.object({
  kid: z.string(),
  kty: z.enum(['EC', 'OKP']),
  alg: z.enum(['ES256', 'EdDSA']),
  use: z.literal('sig'),
  crv: z.string(),
  x: z.string(),
  y: z.string().optional(),
});

/** /.well-known/jwks.json: what others check access tokens with. */
export function wellKnownRoutes(app: OpenAPIHono<Env>): void {
  const keys = createRoute({
    method: 'get',
    path: '/.well-known/jwks.json',
    tags: ['Tokens'],
    summary: 'The public keys of access tokens (JWK Set, RFC 7517)',
    responses: {
      200: json('The keys; none where tokens are signed with a shared secret.', z.object({ keys: z.array(publicKey) })),
      ...problems(),
    },
  });
  app.openapi(keys, async (c) => {
    const found = await c.get('context').tokens.publicKeys();
    c.header('Cache-Control', `public, max-age=${KEPT_SECONDS}`);
    return c.json({ keys: z.array(publicKey).parse(found) }, 200);
  });
}
