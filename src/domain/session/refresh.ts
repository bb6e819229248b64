import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import { VISIBLE } from '../organization/organization.ts';
import { persist } from '../persist.ts';
import { invalidToken } from './authenticate.ts';
import { formatRefreshToken, hashesOf, parseRefreshToken, successorOf } from './refresh-token.ts';
import type { SessionDocument, Tokens } from './session.ts';
import { currentEpoch, isInForce, issueTokens } from './session.ts';

/**
 * Trades a refresh token for fresh tokens. Each is good once: presenting a spent one means that two parties hold the
 * session, and ends it (RFC 9700, section 4.14.2). There is no grace for one that was spent a moment ago: a thief who
 * comes first would keep the session unnoticed. A token that never was one of the session's ends nothing.
 * @throws {DomainError} invalid_token
 */
export async function refreshSession(context: Context, refreshToken: string): Promise<Tokens> {
  const { sessions, organizations, admins } = context.master;
  const token = parseRefreshToken(refreshToken);
  if (token === undefined) throw invalidToken();
  const { family_hash, secret_hash } = await hashesOf(token);
  const session = await sessions.findOne({ _id: token.sessionId, family_hash });
  if (session === undefined) throw invalidToken();

  const [organization, admin] = await Promise.all([
    organizations.findOne({ _id: session.organization_id }),
    admins.findOne({ _id: session.admin_id, organization_id: session.organization_id }),
  ]);
  if (organization === undefined || admin === undefined || !VISIBLE.includes(organization.status)) throw invalidToken();
  const signedIn = { organization, admin };
  if (session.epoch !== currentEpoch(signedIn) || !isInForce(context, session)) throw invalidToken();

  const next = successorOf(token);
  const { secret_hash: next_hash } = await hashesOf(next);
  const { address, device } = context.request;
  const { matched } = await persist(() =>
    sessions.updateOne(
      // Also as an earlier try of this very write left it.
      { _id: session._id, family_hash, secret_hash: { $in: [secret_hash, next_hash] } },
      { $set: { secret_hash: next_hash, last_used_at: context.clock(), address, device } },
    ),
  );
  if (matched === 0) {
    await endReused(context, session);
    throw invalidToken();
  }
  return issueTokens(context, signedIn, session, formatRefreshToken(next));
}

/** Ends a session of which a spent token was presented. One that was renewed meanwhile has other tokens, and goes on. */
async function endReused(context: Context, session: SessionDocument): Promise<void> {
  const { _id, family_hash, organization_id } = session;
  const note = noteOf(context, 'session.refresh_reused', { actor: 'anonymous', target: _id });
  await record(context, organization_id, `${_id}:${family_hash}:reused`, note, { outcome: 'failure', count: 1 });
  const ended = await persist(() => context.master.sessions.deleteOne({ _id, family_hash }));
  if (ended === 1) context.log('warn', 'session.refresh_reused', { request_id: context.request.id, organization_id });
}
