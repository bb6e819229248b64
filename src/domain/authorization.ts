import type { AdminDocument } from './admin/schema.ts';
import type { Needs } from './context.ts';
import { DomainError } from './errors.ts';
import type { Action } from './roles.ts';
import { isPermitted, UNVERIFIED_MAY } from './roles.ts';

/** The one refusal for another organization: the same whether it exists or not. */
export const forbidden = (): DomainError =>
  new DomainError('forbidden', 'This token does not permit that. Sign in as an admin of the organization.');

/** The refusal where the admin's role does not permit it. */
const roleForbids = (): DomainError =>
  new DomainError('forbidden', 'Your role does not permit that. Ask an owner of the organization.');

/** @throws {DomainError} forbidden, unless the table permits it; email_not_verified where it has to be */
export function authorize({ settings }: Needs<'settings'>, admin: AdminDocument, action: Action): void {
  if (!isPermitted(admin.role, action)) throw roleForbids();
  if (!settings.requireVerifiedEmail || admin.email_verified || UNVERIFIED_MAY.includes(action)) return;
  throw new DomainError(
    'email_not_verified',
    'Verify your email first: POST /admin/verify-email/resend sends a token.',
  );
}
