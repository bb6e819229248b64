import { dueWith, settleDue } from '../audit/due.ts';
import { noteOf } from '../audit/event.ts';
import type { Context } from '../context.ts';
import { postVerification } from '../mail/account-mails.ts';
import { sendSoon } from '../mail/outbox.ts';
import { claimToken, findAccount, findMail, invalidOneTimeToken } from '../one-time-token/one-time-token.ts';
import { persist } from '../persist.ts';
import type { Principal } from '../session/authenticate.ts';

/**
 * Records that an admin's address is the admin's, by the token that was sent to it.
 * @throws {DomainError} invalid_one_time_token
 */
export async function verifyEmail(context: Context, input: { token: string }): Promise<void> {
  const mail = await findMail(context, 'verification', input.token);
  const { admin } = await findAccount(context, mail);
  await claimToken(context, mail);
  const note = noteOf(context, 'admin.email_verified', { actor: admin._id, target: admin._id });
  const { matched } = await persist(() =>
    context.master.admins.updateOne(
      { _id: admin._id, email_key: mail.to_key },
      {
        $set: { email_verified: true, updated_at: context.clock(), ...dueWith({ [mail._id]: note }) },
        $inc: { version: 1 },
      },
    ),
  );
  if (matched === 0) throw invalidOneTimeToken();
  await settleDue(context, admin._id);
}

/** Sends the principal another token to verify the email with, where it is not verified. Tokens from before end. */
export async function resendVerification(context: Context, { admin }: Principal): Promise<void> {
  if (admin.email_verified) return;
  await context.master.mails.deleteMany({ kind: 'verification', admin_id: admin._id });
  sendSoon(context, [await postVerification(context, admin)]);
}
