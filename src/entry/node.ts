import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { serve } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { createApp } from '../app.ts';
import { createNodeHasher } from '../platform/hashing/node.ts';
import { runProcess } from './process.ts';

await runProcess(createNodeHasher, async (services, { HOST: hostname, PORT }) => {
  const server = serve({ fetch: createApp(services, getConnInfo).fetch, hostname, port: PORT });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://${hostname}:${port}`, stop: () => new Promise((stopped) => server.close(() => stopped())) };
});
