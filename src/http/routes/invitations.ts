import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import { ROLES } from '../../domain/authorization.ts';
import { acceptInvitation } from '../../domain/invitation/accept.ts';
import type { InvitationView } from '../../domain/invitation/invitation.ts';
import { inviteAdmin, listInvitations, withdrawInvitation } from '../../domain/invitation/invite.ts';
import { authenticated } from '../authenticated.ts';
import type { Env } from '../env.ts';
import { boundedBody, jsonBody } from '../json-body.ts';
import { body, email, json, newPassword, oneTimeToken, page, pageQuery, problems, timestamp } from '../schemas.ts';
import { throttled } from '../throttled.ts';

const role = z.enum(ROLES);

const invitation = z.object({
  invitation_id: z.string(),
  email: z.string(),
  role,
  created_at: timestamp,
  expires_at: timestamp,
});

const shown = ({ created_at, expires_at, ...view }: InvitationView) => ({
  ...view,
  created_at: created_at.toISOString(),
  expires_at: expires_at.toISOString(),
});

/** Admins beyond the first come by invitation: /org/invites, /admin/accept-invite. */
export function invitationRoutes(app: OpenAPIHono<Env>): void {
  const invite = createRoute({
    method: 'post',
    path: '/org/invites',
    tags: ['Admins'],
    summary: 'Invite somebody to become an admin; an invitation to the same email from before ends',
    security: [{ bearer: [] }],
    middleware: [boundedBody, authenticated('admins.manage'), jsonBody, throttled('mail')] as const,
    request: { body: body(z.strictObject({ email, role })) },
    responses: { 200: json('Invited.', invitation), ...problems(400, 401, 403, 409, 413, 415, 422, 429) },
  });
  app.openapi(invite, async (c) =>
    c.json(shown(await inviteAdmin(c.get('context'), c.get('principal'), c.req.valid('json'))), 200),
  );

  const list = createRoute({
    method: 'get',
    path: '/org/invites',
    tags: ['Admins'],
    summary: 'The organization’s open invitations',
    security: [{ bearer: [] }],
    middleware: [authenticated('admins.read')] as const,
    request: { query: pageQuery },
    responses: { 200: json('A page of them.', page(invitation)), ...problems(401, 403, 422) },
  });
  app.openapi(list, async (c) => {
    const { items, next_cursor } = await listInvitations(c.get('context'), c.get('principal'), c.req.valid('query'));
    c.header('Cache-Control', 'no-store');
    return c.json({ items: items.map(shown), next_cursor }, 200);
  });

  const withdraw = createRoute({
    method: 'delete',
    path: '/org/invites',
    tags: ['Admins'],
    summary: 'Withdraw an invitation',
    security: [{ bearer: [] }],
    middleware: [authenticated('admins.manage')] as const,
    request: { query: z.strictObject({ invitation_id: z.uuid() }) },
    responses: { 204: { description: 'Withdrawn.' }, ...problems(401, 403, 404, 422) },
  });
  app.openapi(withdraw, async (c) => {
    await withdrawInvitation(c.get('context'), c.get('principal'), c.req.valid('query'));
    return c.body(null, 204);
  });

  const accept = createRoute({
    method: 'post',
    path: '/admin/accept-invite',
    tags: ['Admins'],
    summary: 'Become an admin, by the token of an invitation; then sign in',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(z.strictObject({ token: oneTimeToken, password: newPassword })) },
    responses: {
      200: json(
        'An admin now.',
        z.object({
          organization_id: z.string(),
          organization: z.string(),
          admin_id: z.string(),
          admin_email: z.string(),
          role,
        }),
      ),
      ...problems(400, 401, 409, 413, 415, 422),
    },
  });
  app.openapi(accept, async (c) => c.json(await acceptInvitation(c.get('context'), c.req.valid('json')), 200));
}
