import * as z from 'zod';
import { inviteAdmin, listInvitations, withdrawInvitation } from '../../domain/invitation/invite.ts';
import { routeGroup } from '../route.ts';
import { email, page, pageQuery, role, timestamp } from '../schemas.ts';

const invitation = z.object({
  invitation_id: z.string(),
  email: z.string(),
  role,
  created_at: timestamp,
  expires_at: timestamp,
});

/** Admins beyond the first come by invitation: /org/invites. */
export function invitesRoutes() {
  const { app, route } = routeGroup('Admins');
  route('POST /', {
    summary: 'Invite somebody to become an admin; an earlier invitation to the same email ends',
    action: 'admins.manage',
    limit: 'mail',
    body: z.strictObject({ email, role }),
    answer: { description: 'Invited.', schema: invitation },
    refusals: [409],
    verb: inviteAdmin,
  });
  route('GET /', {
    summary: 'The organization’s open invitations',
    action: 'admins.read',
    query: pageQuery,
    answer: { description: 'A page of them.', schema: page(invitation) },
    verb: listInvitations,
  });
  route('DELETE /', {
    summary: 'Withdraw an invitation',
    action: 'admins.manage',
    query: z.strictObject({ invitation_id: z.uuid() }),
    answer: { description: 'Withdrawn.' },
    refusals: [404],
    verb: withdrawInvitation,
  });
  return app;
}
