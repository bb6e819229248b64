import { auditNote } from '../audit/note.ts';
import type { Recording } from '../audit/record.ts';
import type { Needs } from '../context.ts';
import { claimToken, findAccount, findMail } from '../one-time-token/one-time-token.ts';
import { enqueueVerification } from '../outbox/account-mails.ts';
import type { EnqueueContext } from '../outbox/outbox.ts';
import { sendInBackground } from '../outbox/outbox.ts';
import type { Principal } from '../session/schema.ts';
import { updateAdmin } from './credentials.ts';

/**
 * Records that an admin's address belongs to the admin, by the token that was sent to it.
 * @throws {DomainError} invalid_one_time_token, conflict
 */
export async function verifyEmail(
  context: Recording & Needs<'request'>,
  input: { readonly token: string },
): Promise<void> {
  const mail = await findMail(context, { kind: 'verification', token: input.token });
  const { admin, organization } = await findAccount(context, mail);
  const note = await auditNote(context, organization, {
    event_id: mail._id,
    action: 'admin.email_verified',
    actor: admin._id,
    target: admin._id,
  });
  await claimToken(context, mail);
  await updateAdmin(context, admin, {
    isNeeded: ({ email_key, email_verified }) => email_key === mail.to_key && !email_verified,
    set: { email_verified: true },
    raiseEpoch: false,
    audit: note,
  });
}

/** Sends the principal another verification token, where the email is not verified. Earlier tokens end. */
export async function resendVerification(
  context: EnqueueContext & Needs<'runInBackground'>,
  { principal }: { readonly principal: Principal },
): Promise<void> {
  const { admin } = principal;
  if (admin.email_verified) return;
  await context.master.mails.deleteMany({ kind: 'verification', admin_id: admin._id });
  sendInBackground(context, [await enqueueVerification(context, admin)]);
}
