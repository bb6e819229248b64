import { auditNote } from '../audit/note.ts';
import type { AuditAction } from '../audit/schema.ts';
import { sealChange } from '../audit/sealing.ts';
import type { Context } from '../context.ts';
import { accountOf } from '../one-time-token/one-time-token.ts';
import { waitForOtherChanges } from '../organization/journal.ts';
import { enqueueChangeMails } from '../outbox/account-mails.ts';
import { cancelMails, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument } from '../outbox/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { changeAdmin } from './credentials.ts';
import type { AdminChange, AdminDocument } from './schema.ts';

/** Others write the admin in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 3;

/**
 * Changes an admin's email or password, as the token of a mail permits. Every session, and every other token of the
 * account as it was, ends.
 * @param change.set of the admin as it is when it is changed
 * @throws {DomainError} invalid_one_time_token, admin_email_taken, operation_in_progress, conflict
 */
export async function changeByToken(
  context: Context,
  mail: MailDocument,
  change: {
    readonly actions: readonly AuditAction[];
    readonly set: (admin: AdminDocument) => AdminChange['set'];
  },
): Promise<void> {
  const { sessions, mails } = context.master;
  for (let attempt = 1; ; attempt++) {
    const { admin, organization } = await accountOf(context, mail);
    await waitForOtherChanges(context, organization);
    const { _id: admin_id, version } = admin;
    const changeId = context.newId();
    const notes = await Promise.all(
      change.actions.map((action, index) => {
        const event_id = index === 0 ? changeId : `${changeId}:${index}`;
        return auditNote(context, organization, { event_id, action, actor: admin_id });
      }),
    );
    const set = { ...change.set(admin), updated_at: context.clock() };
    const notices = await enqueueChangeMails(context, { admin, changeId, password: 'password_hash' in set });
    const audit = sealChange(context.seals, admin_id, notes);
    const refusal = await changeAdmin(context, { admin_id, version, set, audit });
    if (refusal === undefined) {
      sendInBackground(context, notices);
      const tokens = { admin_id, 'token.admin_epoch': admin.epoch };
      await Promise.all([
        retryOnUnknownOutcome(context, () => sessions.deleteMany({ admin_id })),
        retryOnUnknownOutcome(context, () => mails.deleteMany(tokens)),
      ]);
      return;
    }
    await cancelMails(context, notices);
    if (attempt === ATTEMPTS || refusal.code !== 'conflict') throw refusal;
  }
}
