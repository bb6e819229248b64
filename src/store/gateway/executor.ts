/**
 * The port across a Durable Object's RPC. On Workers a socket cannot be shared between requests, so a Durable Object
 * holds the pooled MongoDB client, or is the SQLite database, and the Worker sends it the port's commands.
 */
import { MONGO_DOCUMENT_BYTES, measureBson } from '../mongo/executor.ts';
import type { Command, CommandOf, Executor, Op, Results, StoreErrorCode } from '../port.ts';
import { lostReply, StoreError } from '../port.ts';
import { DURABLE_OBJECT_DOCUMENT_BYTES } from '../sqlite/driver.ts';
import { measureDocument } from '../sqlite/executor.ts';

/** What crosses back: an error as data, because a class does not survive the crossing. */
export type GatewayReply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: StoreErrorCode; readonly message: string; readonly index: string | null };

/** What is used of a Durable Object namespace; its objects may have more methods. */
export type GatewayNamespace<More = unknown> = {
  getByName(name: string): { execute(command: Command): Promise<GatewayReply> } & More;
};

type GatewayOptions = {
  /** What the objects hold. */
  readonly backend: 'sqlite' | 'mongo';
  /** With `mongo`: how many objects share the load. */
  readonly objects: number;
};

/** An executor whose commands are run by Durable Objects. */
export function createGatewayExecutor(namespace: GatewayNamespace, { backend, objects }: GatewayOptions): Executor {
  // An object's SQLite is its own: a database lives in one. A MongoDB is everybody's: any object will do, and chance
  // spreads the load whatever the commands are.
  const objectFor = (command: Command): string =>
    backend === 'sqlite'
      ? `sqlite:${'database' in command ? command.database : ''}`
      : `mongo:${Math.floor(Math.random() * objects)}`;

  return {
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      let reply: GatewayReply;
      try {
        reply = await namespace.getByName(objectFor(command)).execute(command);
      } catch (cause) {
        throw new StoreError(lostReply(command.op), 'The gateway did not answer.', { cause });
      }
      if (reply.ok) return reply.value as Results[O];
      throw new StoreError(reply.code, reply.message, reply.index === null ? {} : { index: reply.index });
    },
    limits:
      backend === 'sqlite'
        ? { documentBytes: DURABLE_OBJECT_DOCUMENT_BYTES, measure: measureDocument }
        : { documentBytes: MONGO_DOCUMENT_BYTES, measure: measureBson },
    close: async () => {},
  };
}

/** Runs a command on the object's side. */
export async function replyTo(executor: Executor, command: Command): Promise<GatewayReply> {
  try {
    return { ok: true, value: await executor.execute(command) };
  } catch (error) {
    const { code, message, index } =
      error instanceof StoreError ? error : new StoreError('OutcomeUnknown', 'The gateway failed.');
    return { ok: false, code, message, index: index ?? null };
  }
}
