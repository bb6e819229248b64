import * as z from 'zod';
import { listSessions, logOutEverywhere } from '../../domain/session/sessions.ts';
import { routeGroup } from '../route.ts';
import { page, pageQuery, session } from '../schemas.ts';

/** The sessions of any admin of an organization, for its owners: /org/sessions. */
export function sessionsRoutes() {
  const { app, route } = routeGroup('Admins');
  route('GET /', {
    summary: 'An admin’s sessions that are in force',
    action: 'sessions.read',
    query: pageQuery.extend({ admin_id: z.uuid() }),
    answer: { description: 'A page of them, in the order in which they began.', schema: page(session) },
    refusals: [404],
    verb: listSessions,
  });
  route('DELETE /', {
    summary: 'End all sessions of an admin; the admin’s tokens end',
    action: 'admins.manage',
    takesAway: true,
    query: z.strictObject({ admin_id: z.uuid() }),
    answer: { description: 'Ended; the tokens from before have ended with them.' },
    refusals: [404],
    verb: logOutEverywhere,
  });
  return app;
}
