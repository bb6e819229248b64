import type { Log } from '../domain/context.ts';
import type { Principal } from '../domain/session/authenticate.ts';

/** What a request carries through the middleware. */
export type Env = {
  Variables: {
    requestId: string;
    log: Log;
    /** On routes behind `authenticated`. */
    principal: Principal;
  };
};
