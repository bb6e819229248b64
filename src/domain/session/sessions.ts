import { auditNote } from '../audit/note.ts';
import type { Recording } from '../audit/record.ts';
import { record } from '../audit/record.ts';
import type { Needs } from '../context.ts';
import type { Page, PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Principal, SessionDocument } from './schema.ts';
import { currentEpoch, idleSince } from './tokens.ts';

/** A session as its admin sees it. */
export type SessionView = {
  session_id: string;
  device: string | null;
  address: string | null;
  signed_in_at: Date;
  last_used_at: Date;
  expires_at: Date;
  /** Whether the request came from this session. */
  current: boolean;
};

/** The principal's sessions that are in force, in the order in which they began. */
export async function listSessions(
  context: Needs<'master' | 'clock' | 'settings'>,
  { principal, ...page }: PageInput & { readonly principal: Principal },
): Promise<Page<SessionView>> {
  const { items, next_cursor } = await findPage(
    context.master.sessions,
    {
      admin_id: principal.admin._id,
      organization_id: principal.organization._id,
      epoch: currentEpoch(principal),
      expires_at: { $gt: context.clock() },
      last_used_at: { $gt: idleSince(context) },
    },
    page,
  );
  return { items: items.map((session) => sessionView(session, principal)), next_cursor };
}

const sessionView = (session: SessionDocument, principal: Principal): SessionView => ({
  session_id: session._id,
  device: session.device,
  address: session.address,
  signed_in_at: session.signed_in_at,
  last_used_at: session.last_used_at,
  expires_at: session.expires_at,
  current: session._id === principal.session._id,
});

/**
 * Ends one of the principal's sessions with its tokens. Does nothing for a session that is another admin's, or is not
 * there.
 */
export async function endSession(
  context: Recording & Needs<'request'>,
  { principal, session_id }: { readonly principal: Principal; readonly session_id: string },
): Promise<void> {
  const { admin, organization } = principal;
  const own = { _id: session_id, admin_id: admin._id, organization_id: organization._id };
  const session = await context.master.sessions.findOne(own);
  if (session === undefined) return;
  const note = await auditNote(context, organization, {
    event_id: `${session_id}:${session.family_hash}:ended`,
    action: 'session.ended',
    actor: admin._id,
    target: session_id,
  });
  await record(context, note);
  await retryOnUnknownOutcome(context, () => context.master.sessions.deleteOne(own));
}
