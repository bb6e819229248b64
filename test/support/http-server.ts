import type { RequestListener } from 'node:http';
import { createServer } from 'node:http';
import { freePort } from './free-port.ts';

/** A server on this machine, in the place of one that the service asks. */
export async function startHttpServer(listener: RequestListener): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer(listener);
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
