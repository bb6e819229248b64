import type { AdminDocument } from '../admin/admin.ts';
import { emailKey } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import type { MailDocument } from './mail.ts';
import { postMail } from './outbox.ts';

/** Posts the mail that asks an admin to show that the address is theirs. */
export function postVerification(
  context: Context,
  admin: Pick<AdminDocument, '_id' | 'organization_id' | 'email' | 'email_key' | 'epoch'>,
): Promise<MailDocument> {
  return postMail(context, {
    kind: 'verification',
    organization_id: admin.organization_id,
    admin_id: admin._id,
    to: admin.email,
    to_key: admin.email_key,
    epoch: admin.epoch,
  });
}

/**
 * Posts what is to be told of a change of an admin's email or password, before the change is written: none of it is
 * sent unless the change happens, and all of it is when it does, whoever carries it through.
 * @param admin as it is before
 * @param changeId what `changed_by` will be
 */
export async function postChangeMails(
  context: Context,
  admin: AdminDocument,
  changeId: string,
  { email, password }: { readonly email?: string | undefined; readonly password: boolean },
): Promise<MailDocument[]> {
  const about = {
    organization_id: admin.organization_id,
    admin_id: admin._id,
    change: { id: changeId, version: admin.version },
  };
  const before = { to: admin.email, to_key: admin.email_key };
  const posted: MailDocument[] = [];
  if (email !== undefined && emailKey(email) !== admin.email_key) {
    const now = { to: email, to_key: emailKey(email) };
    posted.push(await postMail(context, { ...about, ...before, kind: 'email_changed' }));
    posted.push(await postMail(context, { ...about, ...now, kind: 'verification', epoch: admin.epoch + 1 }));
  }
  if (password) posted.push(await postMail(context, { ...about, ...before, kind: 'password_changed' }));
  return posted;
}
