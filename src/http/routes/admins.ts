import * as z from 'zod';
import { changeRole, listAdmins, removeAdmin } from '../../domain/admin/membership.ts';
import { routeGroup } from '../route.ts';
import { page, pageQuery, role, timestamp } from '../schemas.ts';

const admin = z.object({
  admin_id: z.string(),
  email: z.string(),
  email_verified: z.boolean(),
  role,
  created_at: timestamp,
});

/** The admins of an organization: /org/admins. */
export function adminsRoutes() {
  const { app, route } = routeGroup('Admins');
  route('GET /', {
    summary: 'The organization’s admins',
    action: 'admins.read',
    query: pageQuery,
    answer: { description: 'A page of them, in the order in which they came.', schema: page(admin) },
    verb: listAdmins,
  });
  route('PUT /', {
    summary: 'Give an admin another role; the admin’s tokens end',
    action: 'admins.manage',
    body: z.strictObject({ admin_id: z.uuid(), role }),
    answer: { description: 'The admin as it is now.', schema: admin },
    refusals: [404, 409],
    verb: changeRole,
  });
  route('DELETE /', {
    summary: 'Remove an admin; the admin’s tokens end',
    action: 'admins.manage',
    query: z.strictObject({ admin_id: z.uuid() }),
    answer: { description: 'Removed.' },
    refusals: [404, 409],
    verb: removeAdmin,
  });
  return app;
}
