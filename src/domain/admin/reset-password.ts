import { auditNote } from '../audit/note.ts';
import { sealPending } from '../audit/sealing.ts';
import type { Context } from '../context.ts';
import { claimToken, findAccount, findMail } from '../one-time-token/one-time-token.ts';
import { waitForOtherChanges } from '../organization/journal.ts';
import { enqueueChangeMails } from '../outbox/account-mails.ts';
import { cancelMails, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument } from '../outbox/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { changeAdmin } from './credentials.ts';
import { checkNewPassword } from './password-policy.ts';

/** Others write the admin in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 3;

/**
 * Gives an admin a new password, by the token that was sent for it. Every session and every other token of the account
 * ends. The address is verified now.
 * @throws {DomainError} invalid_input, invalid_one_time_token, operation_in_progress, conflict, busy
 */
export async function resetPassword(
  context: Context,
  input: { readonly token: string; readonly password: string },
): Promise<void> {
  const mail = await findMail(context, { kind: 'password_reset', token: input.token });
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
    await waitForOtherChanges(context, organization);
    const note = await auditNote(context, organization, {
      event_id: context.newId(),
      action: 'admin.password_reset',
      actor: admin._id,
      target: admin._id,
    });
    const notices = await enqueueChangeMails(context, { admin, changeId: note.event_id, password: true });
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
