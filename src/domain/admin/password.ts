import type { Context } from '../context.ts';
import { accountOf, findMail } from '../one-time-token/one-time-token.ts';
import { organizationKey } from '../organization/name.ts';
import { changeCredentials } from '../organization/update.ts';
import { insertMail, sendInBackground } from '../outbox/outbox.ts';
import { recognizeCaller } from '../rate-limit/sign-in-limits.ts';
import type { Principal } from '../session/schema.ts';
import { changeByToken } from './change.ts';
import { checkNewPassword, hashNewPassword } from './password-policy.ts';
import { emailKey } from './schema.ts';

/**
 * Changes the principal's own password. The admin's other sessions and all earlier access tokens end; this session
 * continues with the new access token, and with the refresh token that it has.
 * @throws {DomainError} invalid_input; reauthentication_required when the current password is not correct;
 *   too_many_requests, operation_in_progress, conflict, busy
 */
export async function changePassword(
  context: Context,
  input: { readonly principal: Principal; readonly current_password: string; readonly new_password: string },
) {
  const { principal, current_password, new_password } = input;
  const { admin, organization } = principal;
  checkNewPassword(context, new_password, 'new_password', { email: admin.email, organizationName: organization.name });
  return changeCredentials(context, { principal, password: new_password, current_password });
}

/**
 * Takes a request for a new password. It is one write, for every address alike, however often it is asked: accounts are
 * looked for, and mails sent, after the answer.
 */
export async function forgotPassword(
  context: Context,
  input: { readonly email: string; readonly organization_name?: string | undefined },
): Promise<void> {
  const { email, organization_name } = input;
  const to_key = emailKey(email);
  const organization_key = organization_name === undefined ? null : (organizationKey(organization_name) ?? '');
  const request = { kind: 'password_forgotten', to: email, to_key, organization_key } as const;
  sendInBackground(context, [await insertMail(context, request)]);
}

/**
 * Gives an admin a new password, by the token that was sent for it. Every session and every other token of the account
 * ends. The email is verified now, and the caller's address and device are known to the account.
 * @throws {DomainError} invalid_input, invalid_one_time_token, operation_in_progress, conflict, busy
 */
export async function resetPassword(context: Context, input: { readonly token: string; readonly password: string }) {
  const mail = await findMail(context, { kind: 'password_reset', token: input.token });
  const { admin, organization } = await accountOf(context, mail);
  checkNewPassword(context, input.password, 'password', { email: admin.email, organizationName: organization.name });
  const password = await hashNewPassword(context, input.password, 'password');
  await changeByToken(context, mail, () => ({
    actions: ['admin.password_reset'],
    notices: ['password_changed'],
    set: { ...password, email_verified: true },
  }));
  return { device_cookie: await recognizeCaller(context, { ...admin, ...password }) };
}
