import { isStoreError } from '../../store/port.ts';
import type { AdminDocument } from '../admin/admin.ts';
import { checkNewPassword } from '../admin/password-policy.ts';
import { settleDue } from '../audit/due.ts';
import { noteOf } from '../audit/event.ts';
import type { Role } from '../authorization.ts';
import { isPermitted } from '../authorization.ts';
import type { Context } from '../context.ts';
import { claimToken, findMail, invalidOneTimeToken } from '../one-time-token/one-time-token.ts';
import { VISIBLE } from '../organization/organization.ts';
import { insertOnce } from '../persist.ts';
import { emailTaken } from './invitation.ts';

export type AcceptedInvitation = {
  organization_id: string;
  organization: string;
  admin_id: string;
  admin_email: string;
  role: Role;
};

/**
 * Makes whoever holds an invitation's token an admin of the organization, with a password of their own: an account
 * belongs to one organization, also where the address has one elsewhere. The address has shown to be theirs. They
 * sign in like anyone else then.
 * @throws {DomainError} invalid_input, invalid_one_time_token, also when who invited may not any more;
 *   admin_email_taken, busy
 */
export async function acceptInvitation(
  context: Context,
  input: { token: string; password: string },
): Promise<AcceptedInvitation> {
  const { admins, organizations } = context.master;
  const mail = await findMail(context, 'invitation', input.token);
  const { invitation, organization_id } = mail;
  if (invitation === null || organization_id === null) throw invalidOneTimeToken();
  const [organization, inviter] = await Promise.all([
    organizations.findOne({ _id: organization_id, status: { $in: VISIBLE } }),
    admins.findOne({ _id: invitation.invited_by, organization_id }),
  ]);
  if (organization === undefined || inviter === undefined || !isPermitted(inviter.role, 'admins.manage')) {
    throw invalidOneTimeToken();
  }
  checkNewPassword(input.password, 'password', { email: mail.to, organizationName: organization.name });
  const password_hash = await context.passwords.hash(input.password);
  await claimToken(context, mail);
  const now = context.clock();
  const _id = context.newId();
  const note = noteOf(context, 'admin.joined', { actor: _id, target: _id });
  const admin: AdminDocument = {
    _id,
    organization_id,
    email: mail.to,
    email_key: mail.to_key,
    email_verified: true,
    password_hash,
    role: invitation.role,
    version: 1,
    epoch: 1,
    changed_by: mail._id,
    audit_due: { [_id]: note },
    audit_due_at: now,
    created_at: now,
    updated_at: now,
  };
  try {
    await insertOnce(() => admins.insertOne(admin));
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    throw emailTaken();
  }
  await settleDue(context, _id);
  return {
    organization_id,
    organization: organization.name,
    admin_id: _id,
    admin_email: admin.email,
    role: admin.role,
  };
}
