import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { HttpBindings } from '@hono/node-server';
import { serve } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { createApp } from '../app.ts';
import { createNodeHasher } from '../platform/hashing/node.ts';
import { runProcess } from './process.ts';

/**
 * How long a connection may take for a request's headers, for a whole request, and between requests, in milliseconds.
 * Node looks at the first two every so often.
 */
const TIMEOUTS = {
  headersTimeout: 5000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: 10_000,
};

await runProcess(createNodeHasher, async (services, { HOST: hostname, PORT }) => {
  const targetOf = (_: Request, env: unknown) => (env as HttpBindings).incoming.url ?? '/';
  const { fetch } = createApp(services, getConnInfo, undefined, targetOf);
  const server = serve({ fetch, hostname, port: PORT, serverOptions: TIMEOUTS });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://${hostname}:${port}`, stop: () => new Promise((stopped) => server.close(() => stopped())) };
});
