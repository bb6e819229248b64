/** Changes of an admin that raise the epoch, with what is recorded of them, and what is told of them by mail. */
import { auditNote } from '../audit/note.ts';
import type { AuditAction } from '../audit/schema.ts';
import { sealChange } from '../audit/sealing.ts';
import type { Context } from '../context.ts';
import type { DomainError } from '../errors.ts';
import { accountOf } from '../one-time-token/one-time-token.ts';
import { waitForOtherChanges } from '../organization/journal.ts';
import { enqueueNotices } from '../outbox/account-mails.ts';
import { cancelMails, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument, Notice } from '../outbox/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { currentEpoch } from '../session/tokens.ts';
import type { Account } from './account.ts';
import { changeAdmin } from './credentials.ts';
import type { AdminChange, AdminDocument } from './schema.ts';

/** Others write the admin in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 3;

/** What changes of an admin, and what is recorded of it: one action at least. */
type Recorded = { readonly actions: readonly AuditAction[]; readonly set: AdminChange['set'] };

/** What a token changes, and what the address that the admin has until then is told. */
export type TokenChange = Recorded & { readonly notices: readonly Notice[] };

/** A change that an admin makes of the own account, as it was read, with its notes. */
export async function toAdminChange(
  context: Context,
  { admin, organization }: Account,
  { actions, set }: Recorded,
): Promise<AdminChange> {
  const { _id: admin_id, version } = admin;
  const id = context.newId();
  const notes = await Promise.all(
    actions.map((action, index) =>
      auditNote(context, organization, { event_id: `${id}:${index}`, action, actor: admin_id }),
    ),
  );
  const audit = sealChange(context.seals, admin_id, notes);
  return { admin_id, version, set: { ...set, updated_at: context.clock() }, audit };
}

/** Makes such a change, and sends its mails, which are enqueued first. @returns the refusal: then there are no mails */
export async function makeChange(
  context: Context,
  account: Account,
  { enqueue, ...recorded }: Recorded & { readonly enqueue: (change: AdminChange) => Promise<MailDocument[]> },
): Promise<DomainError | undefined> {
  await waitForOtherChanges(context, account.organization);
  const change = await toAdminChange(context, account, recorded);
  const mails = await enqueue(change);
  const refusal = await changeAdmin(context, change);
  if (refusal === undefined) sendInBackground(context, mails);
  else await cancelMails(context, mails);
  return refusal;
}

/**
 * Changes an admin as the token of a mail permits. Every session, and every other token of the account as it was, ends:
 * nothing but this ends the tokens of resets. The change itself ends the token: a refusal, or a crash before it, leaves
 * the token good.
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
    const account = await accountOf(context, mail);
    const { admin } = account;
    const { notices, ...recorded } = await changeOf(admin);
    const enqueue = (change: AdminChange) => enqueueNotices(context, { admin, change, notices });
    const set = { ...recorded.set, token_epoch: (admin.token_epoch ?? 0) + 1 };
    const refusal = await makeChange(context, account, { ...recorded, set, enqueue });
    if (refusal === undefined) {
      const before = { admin_id: admin._id, epoch: { $lte: currentEpoch(account) } };
      await Promise.all([
        retryOnUnknownOutcome(context, () => sessions.deleteMany(before)),
        retryOnUnknownOutcome(context, () => mails.deleteOne({ _id: mail._id })),
      ]);
      return;
    }
    if (attempt === ATTEMPTS || refusal.code !== 'conflict') throw refusal;
  }
}
