import { auditNote } from '../audit/note.ts';
import type { AuditAction } from '../audit/schema.ts';
import { sealChange } from '../audit/sealing.ts';
import type { Context } from '../context.ts';
import { accountOf } from '../one-time-token/one-time-token.ts';
import { waitForOtherChanges } from '../organization/journal.ts';
import type { Notice } from '../outbox/account-mails.ts';
import { enqueueNotices } from '../outbox/account-mails.ts';
import { cancelMails, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument } from '../outbox/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { currentEpoch } from '../session/tokens.ts';
import { changeAdmin } from './credentials.ts';
import type { AdminChange, AdminDocument } from './schema.ts';

/** Others write the admin in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 3;

/** What a token changes, what is recorded of it, and what the address that the admin had until then is told. */
export type TokenChange = {
  readonly actions: readonly AuditAction[];
  readonly notices: readonly Notice[];
  readonly set: AdminChange['set'];
};

/**
 * Changes an admin as the token of a mail permits. Every session, and every other token of the account as it was, ends.
 * The change itself ends the token: a refusal, or a crash before it, leaves the token good.
 * @param changeOf the change of the admin as it is when it is made
 * @throws {DomainError} invalid_one_time_token, admin_email_taken, operation_in_progress, conflict
 */
export async function changeByToken(
  context: Context,
  mail: MailDocument,
  changeOf: (admin: AdminDocument) => TokenChange | Promise<TokenChange>,
): Promise<void> {
  const { sessions, mails } = context.master;
  for (let attempt = 1; ; attempt++) {
    const { admin, organization } = await accountOf(context, mail);
    await waitForOtherChanges(context, organization);
    const { actions, notices, set } = await changeOf(admin);
    const { _id: admin_id, version } = admin;
    const changeId = context.newId();
    const notes = await Promise.all(
      actions.map((action, index) => {
        const event_id = index === 0 ? changeId : `${changeId}:${index}`;
        return auditNote(context, organization, { event_id, action, actor: admin_id });
      }),
    );
    const enqueued = await enqueueNotices(context, { admin, changeId, notices });
    const audit = sealChange(context.seals, admin_id, notes);
    const change = { admin_id, version, set: { ...set, updated_at: context.clock() }, audit };
    const refusal = await changeAdmin(context, change);
    if (refusal === undefined) {
      sendInBackground(context, enqueued);
      const before = { admin_id, epoch: { $lte: currentEpoch({ admin, organization }) } };
      const tokens = { admin_id, 'token.admin_epoch': admin.epoch };
      await Promise.all([
        retryOnUnknownOutcome(context, () => sessions.deleteMany(before)),
        retryOnUnknownOutcome(context, () => mails.deleteMany(tokens)),
      ]);
      return;
    }
    await cancelMails(context, enqueued);
    if (attempt === ATTEMPTS || refusal.code !== 'conflict') throw refusal;
  }
}
