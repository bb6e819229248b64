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
