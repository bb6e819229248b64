import type { Context } from '../domain/context.ts';
import type { AccessClaims } from '../domain/session/access-token.ts';
import type { Principal } from '../domain/session/authenticate.ts';

/** What a request carries through the middleware. */
export type Env = {
  Variables: {
    requestId: string;
    /** The service's context, for this request. */
    context: Context;
    /** On routes behind `authenticated`. */
    principal: Principal;
    /** Instead of `principal`: a token that ended by the very change that was asked for with it. */
    spent: AccessClaims | undefined;
    /** The code of the problem that the answer is, if it is one. */
    problem: string | undefined;
  };
};
