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
    mails.push(enqueueMail(context, { ...about, ...before, kind: 'email_changed' }));
    mails.push(enqueueMail(context, { ...about, ...after, kind: 'verification', epoch: admin.epoch + 1 }));
  }
  if (password) mails.push(enqueueMail(context, { ...about, ...before, kind: 'password_changed' }));
  return (await Promise.all(mails)).flat();
}
