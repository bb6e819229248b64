import { serve } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { createApp } from '../app.ts';
import { createNodeHasher } from '../platform/hashing/node.ts';
import type { Server } from './process.ts';
import { runProcess } from './process.ts';

await runProcess(
  ({ BCRYPT_COST: cost }) => createNodeHasher({ cost }),
  (services, { HOST: host, PORT: port }) =>
    new Promise<Server>((resolve, reject) => {
      const server = serve({ fetch: createApp(services, getConnInfo).fetch, hostname: host, port }, (address) => {
        server.off('error', reject);
        resolve({
          url: `http://${host}:${address.port}`,
          stop: () => new Promise((stopped) => server.close(() => stopped())),
        });
      });
      server.on('error', reject);
    }),
);
