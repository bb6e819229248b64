import type { Context } from '../domain/context.ts';
import type { Principal } from '../domain/session/schema.ts';

/** What a request carries through the middleware. */
export type Env = {
  Variables: {
    context: Context;
    /** Who is asking, where the route asked for it. */
    principal: Principal | undefined;
    /** The code of the problem that the answer is, if it is one. */
    problem: string | undefined;
  };
};
