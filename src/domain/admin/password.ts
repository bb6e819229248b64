import { auditNote } from '../audit/note.ts';
import { sealPending } from '../audit/sealing.ts';
import type { Context } from '../context.ts';
import { accountOf, claimToken, findMail } from '../one-time-token/one-time-token.ts';
import { waitForOtherChanges } from '../organization/journal.ts';
import { organizationKey } from '../organization/name.ts';
import { changeCredentials } from '../organization/update.ts';
import { enqueueChangeMails } from '../outbox/account-mails.ts';
import { cancelMails, insertMail, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument } from '../outbox/schema.ts';
import type { DeviceCookie } from '../rate-limit/device-cookie.ts';
import { recognizeCaller } from '../rate-limit/sign-in-limits.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Principal } from '../session/schema.ts';
import type { AccessToken } from '../session/tokens.ts';
import { changeAdmin } from './credentials.ts';
import { checkNewPassword } from './password-policy.ts';
import { emailKey } from './schema.ts';

/** Others write the admin in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 3;

/**
 * Changes the principal's own password. The admin's other sessions and all earlier access tokens end; this session
 * continues with the new access token, and with the refresh token that it has.
 * @throws {DomainError} invalid_input; reauthentication_required when the current password is not correct;
 *   too_many_requests, operation_in_progress, conflict, busy
 */
export async function changePassword(
  context: Context,
  input: { readonly principal: Principal; readonly current_password: string; readonly new_password: string },
): Promise<AccessToken> {
  const { principal, current_password, new_password } = input;
  const { admin, organization } = principal;
  checkNewPassword(new_password, 'new_password', { email: admin.email, organizationName: organization.name });
  return changeCredentials(context, { principal, password: new_password, current_password });
}

/**
 * Takes a request for a new password. It is one write, for every address alike: accounts are looked for, and mails sent,
 * after the answer. Until then, the same request again changes nothing.
 */
export async function forgotPassword(
  context: Context,
  input: { readonly email: string; readonly organization_name?: string | undefined },
): Promise<void> {
  const { email, organization_name } = input;
  const to_key = emailKey(email);
  const organization_key = organization_name === undefined ? null : (organizationKey(organization_name) ?? '');
  const _id = context.keyedHash(JSON.stringify(['password forgotten', to_key, organization_key]));
  const request = { _id, kind: 'password_forgotten', to: email, to_key, organization_key } as const;
  sendInBackground(context, [await insertMail(context, request)]);
}

/**
 * Gives an admin a new password, by the token that was sent for it. Every session and every other token of the account
 * ends. The email is verified now, and the caller's address and device are known to the account.
 * @throws {DomainError} invalid_input, invalid_one_time_token, operation_in_progress, conflict, busy
 */
export async function resetPassword(
  context: Context,
  input: { readonly token: string; readonly password: string },
): Promise<{ device_cookie: DeviceCookie }> {
  const mail = await findMail(context, { kind: 'password_reset', token: input.token });
  const { admin, organization } = await accountOf(context, mail);
  checkNewPassword(input.password, 'password', { email: admin.email, organizationName: organization.name });
  const password_hash = await context.passwords.hash(input.password);
  await claimToken(context, mail);
  await setPassword(context, mail, password_hash);
  return { device_cookie: await recognizeCaller(context, admin) };
}

async function setPassword(context: Context, mail: MailDocument, password_hash: string): Promise<void> {
  const { sessions, mails } = context.master;
  for (let attempt = 1; ; attempt++) {
    const { admin, organization } = await accountOf(context, mail);
    await waitForOtherChanges(context, organization);
    const event = { event_id: context.newId(), action: 'admin.password_reset', actor: admin._id } as const;
    const note = await auditNote(context, organization, event);
    const notices = await enqueueChangeMails(context, { admin, changeId: event.event_id, password: true });
    const refusal = await changeAdmin(context, {
      admin_id: admin._id,
      version: admin.version,
      set: { password_hash, email_verified: true, updated_at: context.clock() },
      audit: sealPending(context.seals, admin._id, [note]),
    });
    if (refusal === undefined) {
      sendInBackground(context, notices);
      const tokens = { admin_id: admin._id, 'token.admin_epoch': admin.epoch };
      await Promise.all([
        retryOnUnknownOutcome(context, () => sessions.deleteMany({ admin_id: admin._id })),
        retryOnUnknownOutcome(context, () => mails.deleteMany(tokens)),
      ]);
      return;
    }
    await cancelMails(context, notices);
    if (attempt === ATTEMPTS) throw refusal;
  }
}
