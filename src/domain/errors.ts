/** Every refusal of the service, by a stable code. http/problem.ts says what each means over HTTP. */
export type DomainErrorCode =
  | 'invalid_input'
  | 'invalid_credentials'
  | 'invalid_token'
  | 'forbidden'
  | 'reauthentication_required'
  | 'organization_not_found'
  | 'organization_renamed'
  | 'organization_name_taken'
  | 'organization_required'
  | 'admin_email_taken'
  | 'admin_not_found'
  | 'last_owner'
  | 'email_not_verified'
  | 'second_factor_required'
  | 'second_factor_missing'
  | 'second_factor_in_force'
  | 'second_factor_not_found'
  | 'sign_up_closed'
  | 'sign_up_key_required'
  | 'captcha_required'
  | 'invalid_one_time_token'
  | 'invitation_not_found'
  | 'too_many_invitations'
  | 'operation_in_progress'
  | 'idempotency_key_reused'
  | 'idempotency_key_in_use'
  | 'conflict'
  | 'too_many_requests'
  | 'busy'
  | 'unavailable';

/** One error of the input: where it is, and what to change. */
type InputIssue = { readonly path: string; readonly message: string };

/** A refusal. Its message is written for the caller. */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  readonly code: DomainErrorCode;
  /** For invalid_input. */
  readonly issues: readonly InputIssue[];
  /** For organization_required: the names to choose from. For organization_renamed: the present name. */
  readonly organizations: readonly string[];
  /** For too_many_requests: when to try again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: DomainErrorCode,
    message: string,
    options: {
      issues?: readonly InputIssue[];
      organizations?: readonly string[];
      retryAfterSeconds?: number;
    } = {},
  ) {
    super(message);
    this.code = code;
    this.issues = options.issues ?? [];
    this.organizations = options.organizations ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export const invalid = (path: string, message: string): DomainError =>
  new DomainError('invalid_input', 'The input is not valid.', { issues: [{ path, message }] });
