import type { Account } from '../admin/account.ts';
import type { Needs } from '../context.ts';
import { formatRefreshToken, hashesOf, newFamily } from './refresh-token.ts';
import type { SessionDocument } from './schema.ts';
import type { Tokens } from './tokens.ts';
import { currentEpoch, issueAccessToken } from './tokens.ts';

/** The sessions that an admin has at most: a further sign-in ends the one that was unused for the longest time. */
const MAX_SESSIONS = 50;

/** How many sessions over the bound one sign-in ends: several sign-ins at once may pass the bound together. */
const EXCESS = 50;

/** Opens a session for an admin who has just given the password, and issues its first tokens. */
export async function openSession(
  context: Needs<'master' | 'clock' | 'newId' | 'request' | 'settings' | 'tokens'>,
  account: Account,
): Promise<Tokens> {
  const now = context.clock();
  const token = newFamily(context.newId());
  const session: SessionDocument = {
    _id: token.sessionId,
    organization_id: account.organization._id,
    admin_id: account.admin._id,
    ...(await hashesOf(token)),
    epoch: currentEpoch(account),
    address: context.request.address,
    device: context.request.device,
    signed_in_at: now,
    last_used_at: now,
    expires_at: new Date(now.getTime() + context.settings.sessionSeconds.absolute * 1000),
  };
  await Promise.all([context.master.sessions.insertOne(session), endExcessSessions(context, session)]);
  const issued = await issueAccessToken(context, { ...account, sessionId: session._id, signedInAt: now });
  return { ...issued, refresh_token: formatRefreshToken(token) };
}

/** Leaves room for a new session, which is not counted, whether it is inserted already or not. */
async function endExcessSessions({ master }: Needs<'master'>, { _id, admin_id }: SessionDocument): Promise<void> {
  const { sessions } = master;
  const others = { admin_id, _id: { $ne: _id } };
  const found = await sessions.find(others, {
    sort: { last_used_at: -1, _id: -1 },
    limit: MAX_SESSIONS - 1 + EXCESS,
    projection: { last_used_at: 1 },
  });
  const excess = found.slice(MAX_SESSIONS - 1);
  if (excess[0] === undefined) return;
  // A session that was used since it was found is not the oldest any more.
  const unused = { last_used_at: { $lte: excess[0].last_used_at } };
  await sessions.deleteMany({ admin_id, ...unused, _id: { $in: excess.map((session) => session._id) } });
}
