import type { AdminDocument } from '../admin/schema.ts';
import { emailKey } from '../admin/schema.ts';
import type { EnqueueContext } from './outbox.ts';
import { enqueueMail } from './outbox.ts';
import type { MailDocument } from './schema.ts';

/**
 * Enqueues the mails about a change of an admin's email or password, before the change is written. They are sent when
 * the change is made, whichever instance makes it, and never otherwise.
 * @param input.admin as the admin is before the change
 * @param input.changeId what `changed_by` will be
 */
export async function enqueueChangeMails(
  context: EnqueueContext,
  input: {
    readonly admin: AdminDocument;
    readonly changeId: string;
    readonly email?: string | undefined;
    readonly password: boolean;
  },
): Promise<MailDocument[]> {
  const { admin, changeId, email, password } = input;
  const about = {
    organization_id: admin.organization_id,
    admin_id: admin._id,
    change: { id: changeId, version: admin.version },
  };
  const before = { to: admin.email, to_key: admin.email_key, isVerified: admin.email_verified };
  const mails: Promise<MailDocument[]>[] = [];
  if (email !== undefined && emailKey(email) !== admin.email_key) {
    const after = { to: email, to_key: emailKey(email) };
    mails.push(enqueueMail(context, { ...noticeOf(admin), change: about.change }));
    mails.push(enqueueMail(context, { ...about, ...after, kind: 'verification', epoch: admin.epoch + 1 }));
  }
  if (password) mails.push(enqueueMail(context, { ...about, ...before, kind: 'password_changed' }));
  return (await Promise.all(mails)).flat();
}

/** Enqueues the mail that tells an admin of a second factor, before the change is written: as of other changes. */
export const enqueueSecondFactorMail = (
  context: EnqueueContext,
  {
    admin,
    changeId: id,
    kind,
  }: {
    readonly admin: AdminDocument;
    readonly changeId: string;
    readonly kind: 'second_factor_enabled' | 'second_factor_disabled';
  },
): Promise<MailDocument[]> =>
  enqueueMail(context, {
    kind,
    organization_id: admin.organization_id,
    admin_id: admin._id,
    change: { id, version: admin.version },
    to: admin.email,
    to_key: admin.email_key,
    isVerified: admin.email_verified,
  });

/**
 * Enqueues the mails about an address that an admin gets when it is verified: the notice to the present address, and
 * the token. The tokens of addresses that were asked for before end.
 */
export async function enqueueNewEmail(
  context: EnqueueContext,
  { admin, email: to }: { readonly admin: AdminDocument; readonly email: string },
): Promise<MailDocument[]> {
  const { _id: admin_id, organization_id, epoch } = admin;
  await context.master.mails.deleteMany({ kind: 'verification', admin_id, is_new_email: true });
  // First: there is no token for an address that the present one is not told of.
  const notices = await enqueueMail(context, noticeOf(admin));
  const token = { kind: 'verification', organization_id, admin_id, to, to_key: emailKey(to), epoch } as const;
  return [...notices, ...(await enqueueMail(context, { ...token, is_new_email: true }))];
}

/** The mail that tells an admin's present address of another one, and brings the token that undoes it. */
const noticeOf = ({ _id, organization_id, email, email_key, email_verified, version }: AdminDocument) =>
  ({
    kind: 'email_changed',
    organization_id,
    admin_id: _id,
    to: email,
    to_key: email_key,
    isVerified: email_verified,
    epoch: null,
    undo: { version, email_verified },
  }) as const;
