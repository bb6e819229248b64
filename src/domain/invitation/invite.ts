import { emailTaken } from '../admin/credentials.ts';
import { emailKey } from '../admin/schema.ts';
import { recordEvent } from '../audit/record.ts';
import type { Context, Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { insertMail, requireRecipientBudget, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument } from '../outbox/schema.ts';
import type { PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Role } from '../roles.ts';
import type { Principal } from '../session/schema.ts';

/** The open invitations and the admins that an organization has at most. */
const MAX_OPEN = 50;
const MAX_ADMINS = 1000;

/** An open invitation, as the organization's admins see it. */
const invitationView = ({ _id, to, invitation, created_at, expires_at }: MailDocument) => ({
  invitation_id: _id,
  email: to,
  role: invitation?.role ?? ('viewer' as const),
  created_at,
  expires_at,
});

type ByPrincipal<T> = T & { readonly principal: Principal };

/**
 * Invites a person to become an admin of the principal's organization, by mail. An earlier invitation to the same
 * address ends.
 * @throws {DomainError} admin_email_taken, too_many_invitations; too_many_requests, where the address has had too many
 *   mails
 */
export async function inviteAdmin(
  context: Context,
  { principal, email, role }: ByPrincipal<{ readonly email: string; readonly role: Role }>,
) {
  const { organization, admin } = principal;
  const { mails, admins } = context.master;
  const own = { organization_id: organization._id };
  const to_key = emailKey(email);
  if ((await admins.count({ ...own, email_key: to_key })) > 0) throw emailTaken();
  await requireRecipientBudget(context, { kind: 'invitation', to_key });
  await mails.deleteMany({ ...own, kind: 'invitation', to_key });
  await requireRoom(context, organization._id, MAX_OPEN - 1);
  const _id = context.newId();
  const event = { event_id: `${_id}:invited`, action: 'admin.invited', actor: admin._id, target: _id } as const;
  await recordEvent(context, organization, event);
  const mail = await insertMail(context, {
    ...own,
    _id,
    kind: 'invitation',
    to: email,
    to_key,
    invitation: { role, invited_by: admin._id },
    epoch: null,
  });
  try {
    // Counted again after the write: several requests at once cannot pass the bound together.
    await requireRoom(context, organization._id, MAX_OPEN);
  } catch (error) {
    await mails.deleteOne({ _id });
    throw error;
  }
  sendInBackground(context, [mail]);
  return invitationView(mail);
}

/** @throws {DomainError} too_many_invitations when more than `open` invitations are open, or there are too many admins */
async function requireRoom({ master }: Needs<'master'>, organization_id: string, open: number): Promise<void> {
  const [invitations, admins] = await Promise.all([
    master.mails.count({ organization_id, kind: 'invitation' }, { limit: open + 1 }),
    master.admins.count({ organization_id }, { limit: MAX_ADMINS }),
  ]);
  if (invitations <= open && admins < MAX_ADMINS) return;
  throw new DomainError(
    'too_many_invitations',
    `An organization has at most ${MAX_OPEN} open invitations and ${MAX_ADMINS} admins.`,
  );
}

/** The open invitations of the principal's organization. */
export async function listInvitations(
  context: Needs<'master' | 'clock'>,
  { principal, ...page }: ByPrincipal<PageInput>,
) {
  const { organization } = principal;
  const open = { organization_id: organization._id, kind: 'invitation', expires_at: { $gt: context.clock() } };
  return findPage(context.master.mails, open, page, invitationView);
}

/** Withdraws an invitation: its token ends. @throws {DomainError} invitation_not_found */
export async function withdrawInvitation(
  context: Context,
  { principal, invitation_id }: ByPrincipal<{ readonly invitation_id: string }>,
): Promise<void> {
  const { organization, admin } = principal;
  const { mails } = context.master;
  const invitation = { _id: invitation_id, organization_id: organization._id, kind: 'invitation' };
  if ((await mails.count(invitation)) === 0) {
    throw new DomainError('invitation_not_found', 'No open invitation of this organization has this id.');
  }
  // Two admins may withdraw it at once: each has an event of its own.
  const event_id = `${invitation_id}:withdrawn:${admin._id}`;
  const event = { event_id, action: 'admin.invitation_withdrawn', actor: admin._id, target: invitation_id } as const;
  await recordEvent(context, organization, event);
  await retryOnUnknownOutcome(context, () => mails.deleteOne(invitation));
}
