import type { Context as HonoContext } from 'hono';
import { HTTPException } from 'hono/http-exception';
import * as z from 'zod';
import type { DomainErrorCode } from '../domain/errors.ts';
import { DomainError } from '../domain/errors.ts';
import { isStoreError } from '../store/port.ts';
import type { Env } from './env.ts';

/** The one map from refusals to statuses: the codes of the domain, and those of HTTP alone. */
const PROBLEMS = {
  invalid_input: { status: 422, title: 'Invalid input' },
  invalid_credentials: { status: 401, title: 'Invalid credentials' },
  invalid_token: { status: 401, title: 'Invalid token' },
  forbidden: { status: 403, title: 'Forbidden' },
  reauthentication_required: { status: 403, title: 'Recent sign-in required' },
  organization_not_found: { status: 404, title: 'Organization not found' },
  organization_renamed: { status: 308, title: 'Organization renamed' },
  organization_name_taken: { status: 409, title: 'Organization name taken' },
  organization_required: { status: 409, title: 'Organization required' },
  admin_not_found: { status: 404, title: 'Admin not found' },
  email_not_verified: { status: 403, title: 'Email not verified' },
  second_factor_required: { status: 401, title: 'Second factor required' },
  second_factor_missing: { status: 403, title: 'Second factor missing' },
  second_factor_in_force: { status: 409, title: 'Second factor in force' },
  second_factor_not_found: { status: 404, title: 'Second factor not found' },
  sign_up_closed: { status: 403, title: 'Sign-up closed' },
  sign_up_key_required: { status: 403, title: 'Sign-up key required' },
  captcha_required: { status: 403, title: 'CAPTCHA required' },
  invalid_one_time_token: { status: 401, title: 'Invalid one-time token' },
  invitation_not_found: { status: 404, title: 'Invitation not found' },
  too_many_invitations: { status: 409, title: 'Too many invitations' },
  last_owner: { status: 409, title: 'Last owner' },
  admin_email_taken: { status: 409, title: 'Admin email taken' },
  operation_in_progress: { status: 409, title: 'Operation in progress' },
  idempotency_key_reused: { status: 422, title: 'Idempotency key reused' },
  idempotency_key_in_use: { status: 409, title: 'Idempotency key in use' },
  conflict: { status: 409, title: 'Conflict' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  busy: { status: 503, title: 'Busy' },
  unavailable: { status: 503, title: 'Unavailable' },
  malformed_request: { status: 400, title: 'Malformed request' },
  malformed_json: { status: 400, title: 'Malformed JSON' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  body_too_large: { status: 413, title: 'Body too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  internal_error: { status: 500, title: 'Internal error' },
} as const satisfies Record<DomainErrorCode, Problem> & Record<string, Problem>;

/** What each status means, for /openapi.json. */
export const STATUS_DESCRIPTIONS = {
  308: 'The organization left this name by a rename: see Location.',
  400: 'A malformed request, or malformed JSON.',
  401: 'No valid token, or wrong credentials.',
  403: 'Not permitted, or a recent sign-in is needed.',
  404: 'Not there.',
  405: 'Another method; see Allow.',
  409: 'In conflict with what is there.',
  413: 'The body is too large.',
  415: 'Not application/json.',
  422: 'Invalid input: `errors` says what to change.',
  429: 'Too many attempts; see Retry-After, RateLimit and RateLimit-Policy.',
  500: 'The service failed; report the request id.',
  503: 'Busy, or the data cannot be reached; see Retry-After.',
};

export type ProblemStatus = keyof typeof STATUS_DESCRIPTIONS;

type Problem = { readonly status: ProblemStatus; readonly title: string };

/** Seconds after which a caller may try again. */
const RETRY_AFTER = '1';

/** A problem document (RFC 9457). */
export const problemSchema = z.object({
  type: z.string().meta({ example: 'urn:tenantry:problem:invalid_input' }),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string().meta({ description: 'Stable; what a program should look at.' }),
  request_id: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  organizations: z
    .array(z.string())
    .optional()
    .meta({ description: 'With organization_required: which to choose from.' }),
});

export function problem(
  c: HonoContext<Env>,
  code: keyof typeof PROBLEMS,
  detail: string,
  extra: Partial<Pick<z.infer<typeof problemSchema>, 'errors' | 'organizations'>> = {},
): Response {
  const { status, title } = PROBLEMS[code];
  const body = {
    type: `urn:tenantry:problem:${code}`,
    title,
    status,
    detail,
    code,
    request_id: c.get('context').request.id,
    ...extra,
  };
  c.set('problem', code);
  c.header('Cache-Control', 'no-store');
  if (status === 503) c.header('Retry-After', RETRY_AFTER);
  if (status === 401) {
    c.header('WWW-Authenticate', code === 'invalid_token' ? 'Bearer error="invalid_token"' : 'Bearer');
  }
  return c.json(body, status, { 'Content-Type': 'application/problem+json' });
}

/** The response for an error: a refusal keeps its message; of any other error the caller learns nothing. */
export function problemOf(c: HonoContext<Env>, error: unknown): Response {
  if (error instanceof DomainError) {
    const { code, organizations } = error;
    if (code === 'organization_renamed') c.header('Location', underNewName(c.req.url, organizations[0] ?? ''));
    if (error.retryAfterSeconds !== undefined) c.header('Retry-After', String(error.retryAfterSeconds));
    return problem(c, code, error.message, {
      ...(error.issues.length > 0 && { errors: [...error.issues] }),
      ...(code === 'organization_required' && { organizations: [...organizations] }),
    });
  }
  // From the deadline in app.ts.
  if (error instanceof HTTPException && error.status === 503) {
    c.get('context').log('warn', 'request.late', { request_id: c.get('context').request.id });
    return problem(
      c,
      'unavailable',
      'The request took too long. It may still be completed: check, or send the same request again.',
    );
  }
  if (isStoreError(error, 'Unavailable', 'OutcomeUnknown')) {
    c.get('context').log('warn', 'store.unavailable', { request_id: c.get('context').request.id, code: error.code });
    return problem(c, 'unavailable', 'The service cannot reach its data at the moment. Try again.');
  }
  c.get('context').log('error', 'request.failed', { request_id: c.get('context').request.id, error });
  return problem(c, 'internal_error', 'The service failed. Report the problem with its request id.');
}

/** The same request under the organization's new name. */
function underNewName(address: string, name: string): string {
  const url = new URL(address);
  url.searchParams.set('organization_name', name);
  return `${url.pathname}${url.search}`;
}
