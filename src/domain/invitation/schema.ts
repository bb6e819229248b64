import { DomainError } from '../errors.ts';
import type { MailDocument } from '../outbox/schema.ts';
import type { Role } from '../roles.ts';

/** An open invitation, as the organization's admins see it. */
export type InvitationView = { invitation_id: string; email: string; role: Role; created_at: Date; expires_at: Date };

export const invitationView = ({ _id, to, invitation, created_at, expires_at }: MailDocument): InvitationView => ({
  invitation_id: _id,
  email: to,
  role: invitation?.role ?? 'viewer',
  created_at,
  expires_at,
});

export const invitationNotFound = (): DomainError =>
  new DomainError('invitation_not_found', 'No open invitation of this organization has this id.');

export const emailTaken = (): DomainError =>
  new DomainError('admin_email_taken', 'Another admin of this organization has that email. Use another one.');
