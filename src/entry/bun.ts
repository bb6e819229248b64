import { getConnInfo } from 'hono/bun';
import { createApp } from '../app.ts';
import { createBunHasher } from '../platform/hashing/bun.ts';
import { runProcess } from './process.ts';

/** What is used of Bun here; its own types would clash with Node's. */
declare const Bun: {
  serve(options: {
    fetch: (request: Request, server: unknown) => Response | Promise<Response>;
    hostname: string;
    port: number;
    idleTimeout: number;
  }): {
    port: number;
    stop(): Promise<void>;
  };
};

/** How long a connection may be silent beyond the time that an answer takes at most, in seconds. */
const SILENCE_SECONDS = 5;

await runProcess(createBunHasher, async (services, { HOST: host, PORT: port, STORE_TIMEOUT_MS }) => {
  const app = createApp(services, getConnInfo);
  const server = Bun.serve({
    fetch: (request, server) => app.fetch(request, { server }),
    hostname: host,
    port,
    idleTimeout: Math.ceil(STORE_TIMEOUT_MS / 1000) + SILENCE_SECONDS,
  });
  return { url: `http://${host}:${server.port}`, stop: () => server.stop() };
});
