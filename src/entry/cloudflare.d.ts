/** What is used of the runtime's own module; the full types would clash with Node's. */
declare module 'cloudflare:workers' {
  export abstract class DurableObject<Env> {
    protected readonly ctx: {
      readonly storage: import('../platform/sqlite-durable-object.ts').DurableObjectSqlite & {
        get<T>(key: string): Promise<T | undefined>;
        put<T>(key: string, value: T): Promise<void>;
      };
    };
    protected readonly env: Env;
    constructor(ctx: unknown, env: Env);
  }

  export const env: unknown;
}
