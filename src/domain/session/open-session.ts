import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import { formatRefreshToken, hashesOf, newFamily } from './refresh-token.ts';
import type { SessionDocument, SignedIn, Tokens } from './session.ts';
import { currentEpoch, issueTokens } from './session.ts';

/** Sessions that an admin may have at once: a further sign-in ends the one that was not used for longest. */
const MAX_SESSIONS = 50;

/** How many sessions over the bound one sign-in ends, when many came at once. */
const EXCESS = 50;

/** Opens a session for an admin who gave the password at `signedInAt`, and issues its first tokens. */
export async function openSession(context: Context, signedIn: SignedIn, signedInAt: Date): Promise<Tokens> {
  const now = context.clock();
  const token = newFamily(context.newId());
  const session: SessionDocument = {
    _id: token.sessionId,
    organization_id: signedIn.organization._id,
    admin_id: signedIn.admin._id,
    ...(await hashesOf(token)),
    epoch: currentEpoch(signedIn),
    address: context.request.address,
    device: context.request.device,
    signed_in_at: signedInAt,
    last_used_at: now,
    expires_at: new Date(now.getTime() + context.settings.sessionSeconds.absolute * 1000),
  };
  await context.master.sessions.insertOne(session);
  await endExcessSessions(context, signedIn.admin._id);
  return issueTokens(context, signedIn, session, formatRefreshToken(token));
}

/**
 * Carries a session over a change that ended its tokens: the same session with a family of tokens of its own. What was
 * issued before is worth nothing, and presenting it ends nothing. The admin's other sessions have ended. Where another
 * change has ended this one meanwhile, so are the tokens that come of it.
 */
export async function renewSession(
  context: Context,
  signedIn: SignedIn,
  sessionId: string,
  signedInAt: Date,
): Promise<Tokens> {
  const { sessions } = context.master;
  const token = newFamily(sessionId);
  const changes = {
    ...(await hashesOf(token)),
    epoch: currentEpoch(signedIn),
    signed_in_at: signedInAt,
    last_used_at: context.clock(),
  };
  const own = { admin_id: signedIn.admin._id, organization_id: signedIn.organization._id };
  const notLater = { epoch: { $lte: changes.epoch } };
  await persist(() => sessions.updateOne({ _id: sessionId, ...own, ...notLater }, { $set: changes }));
  await sessions.deleteMany({ ...own, epoch: { $lt: changes.epoch } });
  return issueTokens(context, signedIn, { _id: sessionId, signed_in_at: signedInAt }, formatRefreshToken(token));
}

async function endExcessSessions({ master: { sessions } }: Context, adminId: string): Promise<void> {
  const own = { admin_id: adminId };
  const found = await sessions.find(own, {
    sort: { last_used_at: -1, _id: -1 },
    limit: MAX_SESSIONS + EXCESS,
    projection: { last_used_at: 1 },
  });
  const excess = found.slice(MAX_SESSIONS);
  if (excess[0] === undefined) return;
  // One that was used since it was found is not the oldest any more.
  const unused = { last_used_at: { $lte: excess[0].last_used_at } };
  await sessions.deleteMany({ ...own, ...unused, _id: { $in: excess.map(({ _id }) => _id) } });
}
