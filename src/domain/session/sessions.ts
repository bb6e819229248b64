import { requireAdmin } from '../admin/account.ts';
import { updateAdmin } from '../admin/credentials.ts';
import { auditNote } from '../audit/note.ts';
import { recordEvent } from '../audit/record.ts';
import type { Context, Needs } from '../context.ts';
import type { PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import { limitChanges } from '../rate-limit/changes.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { endReused } from './refresh.ts';
import { hashesOf, parseRefreshToken } from './refresh-token.ts';
import type { Principal } from './schema.ts';
import { currentEpoch, idleSince, invalidToken } from './tokens.ts';

/**
 * The sessions in force of the principal, or of another admin of the organization, in the order in which they began.
 * @throws {DomainError} admin_not_found
 */
export async function listSessions(
  context: Needs<'master' | 'clock' | 'settings'>,
  { principal, admin_id, ...page }: PageInput & { readonly principal: Principal; readonly admin_id?: string },
) {
  const { organization } = principal;
  const admin = admin_id === undefined ? principal.admin : await requireAdmin(context, organization, admin_id);
  const inForce = {
    admin_id: admin._id,
    organization_id: organization._id,
    epoch: currentEpoch({ organization, admin }),
    expires_at: { $gt: context.clock() },
    last_used_at: { $gt: idleSince(context) },
  };
  return findPage(context.master.sessions, inForce, page, (session) => ({
    session_id: session._id,
    device: session.device,
    address: session.address,
    signed_in_at: session.signed_in_at,
    last_used_at: session.last_used_at,
    expires_at: session.expires_at,
    current: session._id === principal.session._id,
  }));
}

/**
 * Ends one of the principal's sessions with its tokens. Does nothing for a session that is another admin's, or is not
 * there.
 */
export async function endSession(
  context: Context,
  { principal, session_id }: { readonly principal: Principal; readonly session_id: string },
): Promise<void> {
  const { admin, organization } = principal;
  const own = { _id: session_id, admin_id: admin._id, organization_id: organization._id };
  const session = await context.master.sessions.findOne(own);
  if (session === undefined) return;
  const event_id = `${session_id}:${session.family_hash}:ended`;
  const event = { event_id, action: 'session.ended', actor: admin._id, target: session_id } as const;
  await recordEvent(context, organization, event);
  await retryOnUnknownOutcome(context, () => context.master.sessions.deleteOne(own));
}

/**
 * Ends the session of a refresh token. Does nothing for a token that is not known: its session has ended already. A used
 * token ends it too, and the log says that it was one: who has it need not be the admin.
 * @throws {DomainError} invalid_token for a text that cannot be one
 */
export async function logOut(context: Context, input: { readonly refresh_token: string }): Promise<void> {
  const { sessions, organizations } = context.master;
  const token = parseRefreshToken(input.refresh_token);
  if (token === undefined) throw invalidToken();
  const { family_hash, secret_hash } = await hashesOf(token);
  const own = { _id: token.sessionId, family_hash };
  const session = await sessions.findOne(own);
  if (session === undefined) return;
  const organization = await organizations.findOne({ _id: session.organization_id });
  if (organization !== undefined) {
    if (session.secret_hash !== secret_hash) return endReused(context, organization, session);
    const event_id = `${session._id}:${family_hash}:signed_out`;
    const event = { event_id, action: 'session.signed_out', actor: session.admin_id, target: session._id } as const;
    await recordEvent(context, organization, event);
  }
  await retryOnUnknownOutcome(context, () => sessions.deleteOne(own));
}

/**
 * Ends every session of the principal, the present one included, or of another admin of the organization, with all their
 * tokens: the admin's epoch rises.
 * @throws {DomainError} admin_not_found; conflict when others change the admin all the time
 */
export async function logOutEverywhere(
  context: Context,
  { principal, admin_id }: { readonly principal: Principal; readonly admin_id?: string },
): Promise<void> {
  const { organization } = principal;
  const admin = admin_id === undefined ? principal.admin : await requireAdmin(context, organization, admin_id);
  const [actor, target] = [principal.admin._id, admin._id];
  // Each end of a session needs a sign-in. Where there is none, only mailed tokens end, and the log must not grow.
  const open = { admin_id: target, epoch: currentEpoch({ organization, admin }) };
  if ((await context.master.sessions.count(open, { limit: 1 })) === 0) await limitChanges(context, principal.admin);
  const event = { event_id: context.newId(), action: 'session.signed_out_everywhere', actor, target } as const;
  const audit = await auditNote(context, organization, event);
  // Also where the epoch has risen since: the change that raised it let its own session go on.
  const current = await updateAdmin(context, admin, { isNeeded: () => true, set: {}, raiseEpoch: true, audit });
  const epoch = currentEpoch({ organization, admin: current ?? admin });
  await retryOnUnknownOutcome(context, () =>
    context.master.sessions.deleteMany({ admin_id: target, epoch: { $lte: epoch } }),
  );
}
