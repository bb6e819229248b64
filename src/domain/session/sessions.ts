import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import type { Page, PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import { persist } from '../persist.ts';
import type { Principal } from './authenticate.ts';
import type { SessionDocument } from './session.ts';
import { currentEpoch, idleSince } from './session.ts';

/** A session as its admin sees it. */
export type SessionView = {
  session_id: string;
  device: string | null;
  address: string | null;
  signed_in_at: Date;
  last_used_at: Date;
  expires_at: Date;
  /** Whether it is the one that asks. */
  current: boolean;
};

/** The principal's sessions that are in force, in the order in which they began. */
export async function listSessions(
  context: Context,
  principal: Principal,
  input: PageInput,
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
    input,
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

/** Ends one of the principal's sessions with its tokens. The same for one that is not theirs, or not there. */
export async function endSession(context: Context, principal: Principal, sessionId: string): Promise<void> {
  const own = { admin_id: principal.admin._id, organization_id: principal.organization._id };
  const session = await context.master.sessions.findOne({ _id: sessionId, ...own });
  if (session === undefined) return;
  const note = noteOf(context, 'session.ended', { actor: principal.admin._id, target: sessionId });
  await record(context, own.organization_id, `${sessionId}:${session.family_hash}:ended`, note);
  await persist(() => context.master.sessions.deleteOne({ _id: sessionId, ...own }));
}
