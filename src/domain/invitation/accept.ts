import { isStoreError } from '../../store/port.ts';
import { findAccount } from '../admin/account.ts';
import { emailTaken } from '../admin/credentials.ts';
import { checkNewPassword, hashNewPassword } from '../admin/password-policy.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { auditNote } from '../audit/note.ts';
import { flushPendingAudit, withPendingAudit } from '../audit/pending.ts';
import type { Context } from '../context.ts';
import { claimToken, findMail, invalidOneTimeToken } from '../one-time-token/one-time-token.ts';
import { recognizeCaller } from '../rate-limit/sign-in-limits.ts';
import { insertOnce } from '../retry.ts';
import { isPermitted } from '../roles.ts';

/**
 * Makes the holder of an invitation's token an admin of the organization, with a password of their own: an account
 * belongs to one organization, also when the address has another account elsewhere. The address is verified by the
 * token. The new admin then signs in as usual; the caller's address and device are known.
 * @throws {DomainError} invalid_input; invalid_one_time_token, also when the inviting admin is no longer permitted to
 *   invite; admin_email_taken, busy
 */
export async function acceptInvitation(context: Context, input: { readonly token: string; readonly password: string }) {
  const mail = await findMail(context, { kind: 'invitation', token: input.token });
  const { invitation, organization_id } = mail;
  if (invitation === null || organization_id === null) throw invalidOneTimeToken();
  const inviter = await findAccount(context, { admin_id: invitation.invited_by, organization_id });
  if (inviter === undefined || !isPermitted(inviter.admin.role, 'admins.manage')) throw invalidOneTimeToken();
  const { organization } = inviter;
  checkNewPassword(context, input.password, 'password', { email: mail.to, organizationName: organization.name });
  const password = await hashNewPassword(context, input.password, 'password');
  const _id = context.newId();
  const event = { event_id: `${mail._id}:joined`, action: 'admin.joined', actor: _id } as const;
  const note = await auditNote(context, organization, event);
  await claimToken(context, mail);
  const now = context.clock();
  const admin: AdminDocument = {
    _id,
    organization_id,
    email: mail.to,
    email_key: mail.to_key,
    email_verified: true,
    ...password,
    role: invitation.role,
    version: 1,
    epoch: 1,
    changed_by: event.event_id,
    ...withPendingAudit(context, { _id, audit_pending: null }, [note]),
    created_at: now,
    updated_at: now,
  };
  try {
    await insertOnce(context, () => context.master.admins.insertOne(admin));
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    throw emailTaken();
  }
  await flushPendingAudit(context, _id);
  return {
    organization_id,
    organization: organization.name,
    admin_id: _id,
    admin_email: admin.email,
    role: admin.role,
    device_cookie: await recognizeCaller(context, admin),
  };
}
