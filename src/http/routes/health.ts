import * as z from 'zod';
import { routeGroup } from '../route.ts';

const ok = z.object({ status: z.literal('ok') });

/** The process answers: /live. It can serve, store and all: /ready. */
export function healthRoutes(checkReady: () => Promise<void>) {
  const { app, route } = routeGroup('Health');
  route('GET /live', {
    summary: 'Whether the process answers',
    answer: { description: 'It does.', schema: ok },
    verb: async () => ({ status: 'ok' as const }),
  });
  route('GET /ready', {
    summary: 'Whether the service can serve, its store included',
    answer: { description: 'It can.', schema: ok },
    verb: async () => {
      await checkReady();
      return { status: 'ok' as const };
    },
  });
  return app;
}
