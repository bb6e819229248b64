import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import type { Env } from '../env.ts';
import { json, problems } from '../schemas.ts';

const ok = z.object({ status: z.literal('ok') });

/** /health/live: the process answers. /health/ready: it can serve, store and all. */
export function healthRoutes(app: OpenAPIHono<Env>, checkReady: () => Promise<void>): void {
  const live = createRoute({
    method: 'get',
    path: '/health/live',
    tags: ['Health'],
    summary: 'Whether the process answers',
    responses: { 200: json('It does.', ok) },
  });
  app.openapi(live, (c) => c.json({ status: 'ok' as const }, 200));

  const ready = createRoute({
    method: 'get',
    path: '/health/ready',
    tags: ['Health'],
    summary: 'Whether the service can serve, its store included',
    responses: { 200: json('It can.', ok), ...problems() },
  });
  app.openapi(ready, async (c) => {
    await checkReady();
    return c.json({ status: 'ok' as const }, 200);
  });
}
