import { emailKey } from '../admin/admin.ts';
import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import type { Role } from '../authorization.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { postMail, sendSoon } from '../mail/outbox.ts';
import type { Page, PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import { persist } from '../persist.ts';
import type { Principal } from '../session/authenticate.ts';
import type { InvitationView } from './invitation.ts';
import { emailTaken, invitationNotFound, invitationView } from './invitation.ts';

/** Open invitations of an organization, and its admins, at most. */
const MAX_OPEN = 50;
const MAX_ADMINS = 1000;

/**
 * Invites somebody to become an admin of the principal's organization, by mail. One to the same address before ends.
 * @throws {DomainError} admin_email_taken, too_many_invitations
 */
export async function inviteAdmin(
  context: Context,
  { organization, admin }: Principal,
  input: { email: string; role: Role },
): Promise<InvitationView> {
  const { mails, admins } = context.master;
  const own = { organization_id: organization._id };
  const to_key = emailKey(input.email);
  if ((await admins.count({ ...own, email_key: to_key })) > 0) throw emailTaken();
  await mails.deleteMany({ ...own, kind: 'invitation', to_key });
  await requireRoom(context, organization._id, MAX_OPEN - 1);
  const _id = context.newId();
  const note = noteOf(context, 'admin.invited', { actor: admin._id, target: _id });
  await record(context, organization._id, `${_id}:invited`, note);
  const mail = await postMail(context, {
    ...own,
    _id,
    kind: 'invitation',
    to: input.email,
    to_key,
    invitation: { role: input.role, invited_by: admin._id },
    epoch: null,
  });
  try {
    // Counted once more when it is written: those who invite at once cannot go past the bound together.
    await requireRoom(context, organization._id, MAX_OPEN);
  } catch (error) {
    await mails.deleteOne({ _id });
    throw error;
  }
  sendSoon(context, [mail]);
  return invitationView(mail);
}

/** @throws {DomainError} too_many_invitations when more than `open` invitations are open, or there are too many admins */
async function requireRoom({ master }: Context, organization_id: string, open: number): Promise<void> {
  const invitations = await master.mails.count({ organization_id, kind: 'invitation' }, { limit: open + 1 });
  const admins = await master.admins.count({ organization_id }, { limit: MAX_ADMINS });
  if (invitations <= open && admins < MAX_ADMINS) return;
  throw new DomainError('too_many_invitations', `At most ${MAX_OPEN} can be open, and ${MAX_ADMINS} admins be there.`);
}

/** The open invitations of the principal's organization. */
export async function listInvitations(
  context: Context,
  { organization }: Principal,
  input: PageInput,
): Promise<Page<InvitationView>> {
  const open = { organization_id: organization._id, kind: 'invitation', expires_at: { $gt: context.clock() } };
  const { items, next_cursor } = await findPage(context.master.mails, open, input);
  return { items: items.map(invitationView), next_cursor };
}

/** Takes an invitation back: its token ends. @throws {DomainError} invitation_not_found */
export async function withdrawInvitation(
  context: Context,
  { organization, admin }: Principal,
  input: { invitation_id: string },
): Promise<void> {
  const { mails } = context.master;
  const invitation = { _id: input.invitation_id, organization_id: organization._id, kind: 'invitation' };
  if ((await mails.count(invitation)) === 0) throw invitationNotFound();
  const note = noteOf(context, 'admin.invitation_withdrawn', { actor: admin._id, target: invitation._id });
  await record(context, organization._id, `${invitation._id}:withdrawn`, note);
  await persist(() => mails.deleteOne(invitation));
}
