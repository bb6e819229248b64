import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { BSON } from 'mongodb';

const HEADER_BYTES = 16;
const OP_MSG = 2013;

export type WireTap = {
  /** The address to give to the client under test. */
  readonly uri: string;
  /** The commands that went through, in their order, but for the driver's own. */
  readonly commands: Record<string, unknown>[];
  close(): Promise<void>;
};

/** Passes everything on to a MongoDB server, and keeps the commands of MongoDB's wire protocol (OP_MSG). */
export async function tapWire(serverUri: string): Promise<WireTap> {
  const { hostname, port } = new URL(serverUri);
  const commands: Record<string, unknown>[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    upstream.pipe(client);
    client.pipe(upstream);
    let pending = Buffer.alloc(0);
    client.on('data', (data) => {
      pending = Buffer.concat([pending, data]);
      while (pending.length >= 4 && pending.length >= pending.readInt32LE(0)) {
        const length = pending.readInt32LE(0);
        keep(pending.subarray(0, length));
        pending = pending.subarray(length);
      }
    });
  });
  const keep = (message: Buffer): void => {
    // After the header: flags, then the first section, of kind 0 (a command) as drivers send it.
    if (message.readInt32LE(12) !== OP_MSG || message[HEADER_BYTES + 4] !== 0) return;
    const start = HEADER_BYTES + 5;
    const command = BSON.deserialize(message.subarray(start, start + message.readInt32LE(start)));
    if (!('hello' in command || 'ismaster' in command || 'endSessions' in command)) commands.push(command);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    uri: `mongodb://127.0.0.1:${(server.address() as AddressInfo).port}/?directConnection=true`,
    commands,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
