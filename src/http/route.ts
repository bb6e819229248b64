import type { RouteConfig } from '@hono/zod-openapi';
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context as HonoContext } from 'hono';
import { createMiddleware } from 'hono/factory';
import * as z from 'zod';
import { authorize } from '../domain/authorization.ts';
import type { Context } from '../domain/context.ts';
import { DomainError } from '../domain/errors.ts';
import { limitByAddress } from '../domain/rate-limit/by-address.ts';
import { limitChanges } from '../domain/rate-limit/changes.ts';
import type { LimitedAction } from '../domain/rate-limit/schema.ts';
import type { Action } from '../domain/roles.ts';
import { authenticate } from '../domain/session/authenticate.ts';
import type { Principal } from '../domain/session/schema.ts';
import { bearerToken } from './bearer-token.ts';
import { boundedBody, jsonBody } from './body.ts';
import type { Env } from './env.ts';
import type { ProblemStatus } from './problem.ts';
import { problemSchema, STATUS_DESCRIPTIONS } from './problem.ts';

/** Faults of the input that one answer names at most. */
const MAX_ISSUES = 20;

/** The longest path of a fault, in UTF-16 units: a caller's field may have a name of many KB. */
const MAX_PATH = 100;

/** No input of this kind. */
type None = z.ZodObject<Record<never, never>>;

/** What a verb gets: the fields of query, headers and body, and the principal where there is an action. */
type Input<Query, Headers, Body, Required> = z.output<Query> &
  z.output<Headers> &
  z.output<Body> &
  (Required extends Action ? { principal: Principal } : unknown);

/** What a route takes and answers: requests are checked by it, and /openapi.json describes it. */
type Route<
  Query extends z.ZodObject,
  Headers extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodType,
  Required extends Action | undefined,
> = {
  readonly summary: string;
  readonly description?: string;
  /** What the caller must be permitted to do. Left out: anyone may call. */
  readonly action?: Required;
  /** What the caller's address may do only a limited number of times. */
  readonly limit?: LimitedAction;
  /** Refuses a request after its budgets, and before its fields are looked at. */
  readonly gate?: (context: Context, c: HonoContext<Env>) => void;
  /** It only takes away, or only ends sessions: it is no change that is limited. A dry run is, as it reads much. */
  readonly takesAway?: true;
  readonly query?: Query;
  /** By their names in lower case. */
  readonly headers?: Headers;
  readonly body?: Body;
  readonly answer: {
    /** Left out: 200 with a schema, 204 without. */
    readonly status?: 202;
    readonly description: string;
    readonly schema?: Answer;
    readonly headers?: z.ZodObject;
  };
  /** Answers beside that one and the refusals. */
  readonly responses?: RouteConfig['responses'];
  /** Statuses of refusals beside those that follow from the fields above. */
  readonly refusals?: readonly ProblemStatus[];
  /** A verb of the domain, or a function that calls one; it may answer with a response of its own. */
  readonly verb: (
    context: Context,
    input: Input<Query, Headers, Body, Required>,
    c: HonoContext<Env>,
  ) => Promise<z.output<Answer> | Response>;
};

/**
 * A group of routes as an app of its own, and the function that adds a route to it. A request is checked in this order:
 * the body's size, authentication and authorization, the body's form, the budgets, the gate, the schemas. The answer
 * holds the fields of its schema and no other.
 */
export function routeGroup(tag: string) {
  const app = new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (!result.success) throw invalidInput(result.error.issues);
    },
  });
  const route = <
    Answer extends z.ZodType = z.ZodUnknown,
    Query extends z.ZodObject = None,
    Headers extends z.ZodObject = None,
    Body extends z.ZodType = None,
    Required extends Action | undefined = undefined,
  >(
    place: `${'GET' | 'POST' | 'PUT' | 'DELETE'} /${string}`,
    definition: Route<Query, Headers, Body, Answer, Required>,
  ): void => {
    const [method = '', path = ''] = place.split(' ');
    const { summary, description, action, limit, gate, takesAway = false } = definition;
    const { query, headers, body, answer, verb } = definition;
    const isChange = action !== undefined && method !== 'GET';
    const status = answer.status ?? (answer.schema === undefined ? 204 : 200);
    const fields = { ...(query && { query }), ...(headers && { headers }) };
    const config: RouteConfig = {
      method: method.toLowerCase() as RouteConfig['method'],
      path,
      tags: [tag],
      summary,
      ...(description && { description }),
      ...(action && { security: [{ bearer: [] }] }),
      request: {
        ...fields,
        ...(body && { body: { required: true, content: { 'application/json': { schema: body } } } }),
      },
      responses: {
        [status]: {
          description: answer.description,
          ...(answer.schema && { content: { 'application/json': { schema: answer.schema } } }),
          ...(answer.headers && { headers: answer.headers }),
        },
        ...definition.responses,
        ...refusals([
          400,
          ...(body ? ([413, 415, 422] as const) : []),
          ...(query ? ([422] as const) : []),
          ...(action ? ([401, 403] as const) : []),
          ...(limit || isChange ? ([429] as const) : []),
          ...(definition.refusals ?? []),
          500,
          503,
        ]),
      },
    };
    const middleware = [
      ...(body ? [boundedBody] : []),
      ...(action ? [authorized(action)] : []),
      ...(body ? [jsonBody] : []),
      ...(limit || isChange ? [limited(limit, { isChange, takesAway })] : []),
      ...(gate ? [gated(gate)] : []),
    ];
    app.openAPIRegistry.registerPath(config);
    // Without the body, which would be parsed again, and its type judged by another rule than that of jsonBody.
    app.openapi({ ...config, request: fields, middleware, hide: true }, async (c) => {
      const valid = (target: 'query' | 'header' | 'json') => c.req.valid(target as never) as object;
      const input = {
        ...(query && valid('query')),
        ...(headers && valid('header')),
        ...(body && validBody(body, valid('json'))),
        ...(action && { principal: c.get('principal') }),
      } as Input<Query, Headers, Body, Required>;
      // A verb that may be cached says so.
      c.header('Cache-Control', 'no-store');
      const result = await verb(c.get('context'), input, c);
      if (result instanceof Response) return result;
      if (answer.schema === undefined) return c.body(null, status);
      return c.json(z.encode(answer.schema, result) as object, status as 200);
    });
  };
  return { app, route };
}

const authorized = (action: Action) =>
  createMiddleware<Env>(async (c, next) => {
    const context = c.get('context');
    const principal = await authenticate(context, bearerToken(c));
    // Before the refusal: the log says whose it was.
    c.set('principal', principal);
    authorize(context, principal, action);
    await next();
  });

/** One round of all the budgets that a request draws on before its verb. */
const limited = (
  action: LimitedAction | undefined,
  { isChange, takesAway }: { readonly isChange: boolean; readonly takesAway: boolean },
) =>
  createMiddleware<Env>(async (c, next) => {
    const context = c.get('context');
    const admin = isChange && !(takesAway && c.req.query('dry_run') !== 'true') && c.get('principal')?.admin;
    await Promise.all([action && limitByAddress(context, action), admin && limitChanges(context, admin)]);
    await next();
  });

const gated = (gate: (context: Context, c: HonoContext<Env>) => void) =>
  createMiddleware<Env>(async (c, next) => {
    gate(c.get('context'), c);
    await next();
  });

/** @throws {DomainError} invalid_input */
function validBody(schema: z.ZodType, value: unknown): object {
  const { data, error } = schema.safeParse(value);
  if (error !== undefined) throw invalidInput(error.issues);
  return data as object;
}

const invalidInput = (issues: readonly z.core.$ZodIssue[]): DomainError =>
  new DomainError('invalid_input', 'The input is not valid: see errors.', {
    issues: issues
      .flatMap((issue) =>
        issue.code === 'unrecognized_keys'
          ? issue.keys.map((key) => ({ path: [...issue.path, key], message: 'This field is not known.' }))
          : [issue],
      )
      .slice(0, MAX_ISSUES)
      .map(({ path, message }) => ({ path: path.map(String).join('.').slice(0, MAX_PATH).toWellFormed(), message })),
  });

/** Refusals, for /openapi.json. */
const refusals = (statuses: readonly ProblemStatus[]): RouteConfig['responses'] =>
  Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: STATUS_DESCRIPTIONS[status], content: { 'application/problem+json': { schema: problemSchema } } },
    ]),
  );
