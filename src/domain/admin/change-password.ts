import type { Context } from '../context.ts';
import { changeCredentials } from '../organization/update.ts';
import type { ContinuedSession } from '../session/continue-session.ts';
import type { Principal } from '../session/schema.ts';
import { checkNewPassword } from './password-policy.ts';

/**
 * Changes the principal's own password. The admin's other sessions and all earlier access tokens end; this session
 * continues with the new access token, and with the refresh token that it has.
 * @throws {DomainError} invalid_input; reauthentication_required when the current password is not correct;
 *   too_many_requests, operation_in_progress, conflict, busy
 */
export async function changePassword(
  context: Context,
  input: { readonly principal: Principal; readonly current_password: string; readonly new_password: string },
): Promise<ContinuedSession> {
  const { principal, current_password, new_password } = input;
  const { admin, organization } = principal;
  checkNewPassword(new_password, 'new_password', { email: admin.email, organizationName: organization.name });
  return changeCredentials(context, { principal, password: new_password, current_password });
}
