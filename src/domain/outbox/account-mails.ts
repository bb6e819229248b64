import type { AdminChange, AdminDocument } from '../admin/schema.ts';
import { emailKey } from '../admin/schema.ts';
import type { EnqueueContext } from './outbox.ts';
import { enqueueMail, insertMail, requireRecipientBudget } from './outbox.ts';
import type { MailDocument, Notice } from './schema.ts';

/** Those that bring a token: see admin/undo.ts. Without them there is no change. */
const UNDOABLE: readonly Notice[] = ['email_changed', 'second_factor_enabled'];

type Change = {
  /** As the admin is before the change. */
  readonly admin: AdminDocument;
  /** Null: nothing of the admin changes now. */
  readonly change: AdminChange | null;
  readonly notices: readonly Notice[];
};

/** Another address of an admin, which has to be verified. */
type NewEmail = {
  readonly email: string;
  /** It becomes the admin's when it is verified, and not before. */
  readonly waits: boolean;
};

/**
 * Counts the mails that a change by an admin who is signed in must not be without: the notices whose token undoes it, so
 * that whoever has a stolen token takes no account away that is not told of it; and the mail to an address that waits.
 * @throws {DomainError} too_many_requests, busy
 */
export async function requireNotices(
  context: EnqueueContext,
  { email_key: to_key, email_verified: isVerified }: AdminDocument,
  { notices, newEmail }: { readonly notices: readonly Notice[]; readonly newEmail?: NewEmail | undefined },
): Promise<void> {
  const undoable = notices.filter((kind) => UNDOABLE.includes(kind));
  await Promise.all(undoable.map((kind) => requireRecipientBudget(context, { kind, to_key, isVerified })));
  if (!newEmail?.waits) return;
  await requireRecipientBudget(context, { kind: 'verification', to_key: emailKey(newEmail.email) });
}

/**
 * Enqueues the mails about a change by an admin who is signed in, before the change is written: see
 * {@link requireNotices}. They are sent when the change is made, whichever instance makes it, and never otherwise; those
 * about an address that waits are no part of the change. The token of an address that was asked for before, and waits, ends.
 */
export async function enqueueChangeMails(
  context: EnqueueContext,
  { newEmail, ...input }: Change & { readonly newEmail?: NewEmail | undefined },
): Promise<MailDocument[]> {
  // First: there is no token for an address that the present one is not told of.
  const mails = await enqueueNotices(context, input, newEmail);
  if (newEmail === undefined) return mails;
  const { _id: admin_id, organization_id, epoch } = input.admin;
  const { email: to, waits } = newEmail;
  const change = changeOf(input);
  const about = { kind: 'verification', organization_id, admin_id, to, to_key: emailKey(to), change } as const;
  const verification = { ...about, epoch: change === null ? epoch : epoch + 1 };
  if (!waits) return [...mails, ...(await enqueueMail(context, verification))];
  await context.master.mails.deleteMany({ kind: 'verification', admin_id, is_new_email: true });
  return [...mails, await insertMail(context, { ...verification, is_new_email: true })];
}

/**
 * Enqueues the notices of a change, before the change is written. One that brings no token is left out where its receiver
 * has had too many mails: strangers, who can cause those, keep nobody from changing the password.
 */
export async function enqueueNotices(
  context: EnqueueContext,
  change: Change,
  newEmail?: NewEmail,
): Promise<MailDocument[]> {
  const isVerified = change.admin.email_verified;
  const mails = change.notices.map((kind) =>
    UNDOABLE.includes(kind)
      ? insertMail(context, noticeOf(kind, change, newEmail))
      : enqueueMail(context, { ...noticeOf(kind, change), isVerified }),
  );
  return (await Promise.all(mails)).flat();
}

const changeOf = ({ change }: Change): MailDocument['change'] =>
  change && { id: change.audit.notes[0]?.event_id ?? '', version: change.version };

const noticeOf = (kind: Notice, change: Change, newEmail?: NewEmail) => {
  const { _id, organization_id, email, email_key, email_verified, version } = change.admin;
  return {
    kind,
    organization_id,
    admin_id: _id,
    to: email,
    to_key: email_key,
    // An address that waits is no change yet.
    change: kind === 'email_changed' && newEmail?.waits ? null : changeOf(change),
    ...(UNDOABLE.includes(kind) && { epoch: null, undo: { version, email_verified } }),
  };
};
