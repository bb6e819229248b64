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
  }): {
    port: number;
    stop(): Promise<void>;
  };
};

await runProcess(createBunHasher, async (services, { HOST: host, PORT: port }) => {
  const app = createApp(services, getConnInfo);
  const server = Bun.serve({ fetch: (request, server) => app.fetch(request, { server }), hostname: host, port });
  return { url: `http://${host}:${server.port}`, stop: () => server.stop() };
});
