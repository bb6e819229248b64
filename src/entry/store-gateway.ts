import { DurableObject } from 'cloudflare:workers';
import type { Environment } from '../config.ts';
import { parseConfig } from '../config.ts';
import { openDurableObjectSqlite } from '../platform/sqlite-durable-object.ts';
import type { GatewayReply } from '../store/gateway/executor.ts';
import { replyTo } from '../store/gateway/executor.ts';
import { createMongoExecutor } from '../store/mongo/executor.ts';
import type { Command, Executor } from '../store/port.ts';
import { createSqliteExecutor } from '../store/sqlite/executor.ts';

const SECRET_KEY = 'jwt-secret';

/**
 * A Durable Object has six outgoing connections at once. The driver's monitor keeps one to each member of a replica
 * set, of which there are three as a rule.
 */
const POOL_SIZE = 3;

/** The Durable Object behind the gateway: it holds a pooled MongoDB client, or is the embedded store itself. */
export class StoreGateway extends DurableObject<Environment> {
  #executor: Executor | undefined;

  execute(command: Command): Promise<GatewayReply> {
    this.#executor ??= this.#open();
    return replyTo(this.#executor, command);
  }

  /** The signing secret that is kept beside the embedded store, made at the first call. */
  async secret(): Promise<string> {
    const kept = await this.ctx.storage.get<string>(SECRET_KEY);
    if (kept !== undefined) return kept;
    const made = `${crypto.randomUUID()}${crypto.randomUUID()}`;
    await this.ctx.storage.put(SECRET_KEY, made);
    return made;
  }

  #open(): Executor {
    const { MONGO_URI: uri, STORE_TIMEOUT_MS: timeoutMs } = parseConfig(this.env);
    return uri === undefined
      ? createSqliteExecutor(openDurableObjectSqlite(this.ctx.storage))
      : createMongoExecutor({ uri, timeoutMs, poolSize: POOL_SIZE });
  }
}
