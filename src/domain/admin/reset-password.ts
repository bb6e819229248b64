import { noteOf } from '../audit/event.ts';
import type { Context } from '../context.ts';
import { postChangeMails } from '../mail/account-mails.ts';
import type { MailDocument } from '../mail/mail.ts';
import { postMail, sendSoon } from '../mail/outbox.ts';
import { claimToken, findAccount, findMail } from '../one-time-token/one-time-token.ts';
import { organizationKey } from '../organization/name.ts';
import { changeAdmin } from '../organization/rename.ts';
import { whenNoOtherChanges } from '../organization/update.ts';
import { persist } from '../persist.ts';
import { emailKey } from './admin.ts';
import { checkNewPassword } from './password-policy.ts';

/** An admin's document may be written in between, by a sign-in, say, at most so often. */
const ATTEMPTS = 3;

/**
 * Notes that somebody forgot the password of an address. It is one write, whosever the address is: accounts are looked
 * for, and mails sent, after the answer. Until then, the same asked again is asked once.
 */
export async function forgotPassword(
  context: Context,
  input: { email: string; organization_name?: string | undefined },
): Promise<void> {
  const { email, organization_name } = input;
  const to_key = emailKey(email);
  const organization_key = organization_name === undefined ? null : (organizationKey(organization_name) ?? '');
  const _id = context.keyedHash(JSON.stringify(['password forgotten', to_key, organization_key]));
  sendSoon(context, [
    await postMail(context, { _id, kind: 'password_forgotten', to: email, to_key, organization_key }),
  ]);
}

/**
 * Gives an admin a new password, by the token that was sent for it. Every sign-in and every other token of the
 * account ends; the address has shown to be the admin's.
 * @throws {DomainError} invalid_input, invalid_one_time_token, conflict, busy
 */
export async function resetPassword(context: Context, input: { token: string; password: string }): Promise<void> {
  const mail = await findMail(context, 'password_reset', input.token);
  const { admin, organization } = await findAccount(context, mail);
  checkNewPassword(input.password, 'password', { email: admin.email, organizationName: organization.name });
  const password_hash = await context.passwords.hash(input.password);
  await claimToken(context, mail);
  await setPassword(context, mail, password_hash);
}

async function setPassword(context: Context, mail: MailDocument, password_hash: string): Promise<void> {
  const { sessions, mails } = context.master;
  for (let attempt = 1; ; attempt++) {
    const { admin, organization } = await findAccount(context, mail);
    await whenNoOtherChanges(context, organization);
    const id = context.newId();
    const notices = await postChangeMails(context, admin, id, { password: true });
    const refusal = await changeAdmin(context, id, {
      admin_id: admin._id,
      version: admin.version,
      set: { password_hash, email_verified: true, updated_at: context.clock() },
      audit: { [id]: noteOf(context, 'admin.password_reset', { actor: admin._id, target: admin._id }) },
    });
    if (refusal === undefined) {
      sendSoon(context, notices);
      await persist(() => sessions.deleteMany({ admin_id: admin._id }));
      await persist(() => mails.deleteMany({ admin_id: admin._id, 'token.admin_epoch': admin.epoch }));
      return;
    }
    if (attempt === ATTEMPTS) throw refusal;
  }
}
