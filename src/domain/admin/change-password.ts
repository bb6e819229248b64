import type { Context } from '../context.ts';
import { updateOrganization } from '../organization/update.ts';
import type { Principal } from '../session/authenticate.ts';
import type { Tokens } from '../session/session.ts';
import { checkNewPassword } from './password-policy.ts';

export type ChangePasswordInput = { current_password: string; new_password: string };

/**
 * Changes the principal's own password. The admin's other sessions and all tokens from before end; this session goes
 * on with the fresh ones.
 * @throws {DomainError} invalid_input, reauthentication_required when the current password is not right,
 *   too_many_requests, operation_in_progress, conflict, busy
 */
export async function changePassword(
  context: Context,
  principal: Principal,
  { current_password, new_password }: ChangePasswordInput,
): Promise<Tokens> {
  const { admin, organization } = principal;
  checkNewPassword(new_password, 'new_password', { email: admin.email, organizationName: organization.name });
  const { access_token, token_type, expires_in, refresh_token } = await updateOrganization(context, principal, {
    password: new_password,
    current_password,
  });
  return { access_token, token_type, expires_in, refresh_token };
}
