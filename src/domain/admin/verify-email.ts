import { auditNote } from '../audit/note.ts';
import type { Context } from '../context.ts';
import { accountOf, claimToken, findMail } from '../one-time-token/one-time-token.ts';
import { insertMail, requireRecipientBudget, sendInBackground, tokenMail } from '../outbox/outbox.ts';
import { recognizeCaller } from '../rate-limit/sign-in-limits.ts';
import type { Principal } from '../session/schema.ts';
import { changeByToken } from './change.ts';
import { updateAdmin } from './credentials.ts';

/**
 * Records that an admin's email belongs to the admin, by the token that was sent to it. A new one, which waited for
 * that, takes the place of the present one, and every session ends. The caller's address and device are known to the
 * account from then on.
 * @throws {DomainError} invalid_one_time_token, conflict; for a new email also admin_email_taken, operation_in_progress
 */
export async function verifyEmail(context: Context, input: { readonly token: string }) {
  const mail = await findMail(context, { kind: 'verification', token: input.token });
  const { admin, organization } = await accountOf(context, mail);
  if (mail.is_new_email) {
    await changeByToken(context, mail, () => ({
      actions: ['admin.email_changed', 'admin.email_verified'],
      // The former address was told when the new one was asked for.
      notices: [],
      set: { email: mail.to, email_key: mail.to_key, email_verified: true },
    }));
  } else {
    const event = { event_id: `${mail._id}:verified`, action: 'admin.email_verified', actor: admin._id } as const;
    const audit = await auditNote(context, organization, event);
    // This change leaves the epoch, and so the token, as it is.
    await claimToken(context, mail);
    await updateAdmin(context, admin, {
      isNeeded: ({ email_key, email_verified }) => email_key === mail.to_key && !email_verified,
      set: { email_verified: true },
      raiseEpoch: false,
      audit,
    });
  }
  return { device_cookie: await recognizeCaller(context, admin) };
}

/**
 * Sends the principal another verification token, where the email is not verified. Earlier tokens end.
 * @throws {DomainError} too_many_requests
 */
export async function resendVerification(context: Context, input: { readonly principal: Principal }): Promise<void> {
  const { admin } = input.principal;
  if (admin.email_verified) return;
  const mail = tokenMail('verification', admin);
  await requireRecipientBudget(context, mail);
  await context.master.mails.deleteMany({ kind: 'verification', admin_id: admin._id, to_key: admin.email_key });
  sendInBackground(context, [await insertMail(context, mail)]);
}
