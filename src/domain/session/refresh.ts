import { findAccount } from '../admin/account.ts';
import { recordEvent } from '../audit/record.ts';
import type { Context } from '../context.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { formatRefreshToken, hashesOf, parseRefreshToken, successorOf } from './refresh-token.ts';
import type { SessionDocument } from './schema.ts';
import type { Tokens } from './tokens.ts';
import { currentEpoch, invalidToken, isInForce, issueAccessToken } from './tokens.ts';

/**
 * Replaces a refresh token by fresh tokens. Each refresh token is good once: when a used one is presented, two parties
 * hold the session, and it ends (RFC 9700, section 4.14.2). There is no period of grace: a thief who comes first would
 * keep the session unnoticed. A token that never belonged to the session ends nothing.
 * @throws {DomainError} invalid_token
 */
export async function refreshSession(context: Context, input: { readonly refresh_token: string }): Promise<Tokens> {
  const { sessions } = context.master;
  const token = parseRefreshToken(input.refresh_token);
  if (token === undefined) throw invalidToken();
  const { family_hash, secret_hash } = await hashesOf(token);
  const session = await sessions.findOne({ _id: token.sessionId, family_hash });
  if (session === undefined) throw invalidToken();
  const account = await findAccount(context, session);
  if (account === undefined || session.epoch !== currentEpoch(account)) throw invalidToken();
  if (!isInForce(context, session)) throw invalidToken();

  const next = successorOf(token);
  const { secret_hash: next_hash } = await hashesOf(next);
  const { address, device } = context.request;
  const { matched } = await retryOnUnknownOutcome(context, () =>
    sessions.updateOne(
      // The next hash matches when an earlier try of this same write was done, and its reply was lost.
      { _id: session._id, family_hash, secret_hash: { $in: [secret_hash, next_hash] } },
      { $set: { secret_hash: next_hash, last_used_at: context.clock(), address, device } },
    ),
  );
  if (matched === 0) {
    await endReused(context, account.organization, session);
    throw invalidToken();
  }
  const { signed_in_at: signedInAt } = session;
  const issued = await issueAccessToken(context, { ...account, sessionId: session._id, signedInAt });
  return { ...issued, refresh_token: formatRefreshToken(next) };
}

/** Ends a session of which a used refresh token was presented. */
export async function endReused(
  context: Context,
  organization: OrganizationDocument,
  { _id, family_hash }: SessionDocument,
): Promise<void> {
  await recordEvent(context, organization, {
    event_id: `${_id}:${family_hash}:reused`,
    action: 'session.refresh_reused',
    actor: 'anonymous',
    target: _id,
    outcome: 'failure',
  });
  const ended = await retryOnUnknownOutcome(context, () => context.master.sessions.deleteOne({ _id, family_hash }));
  if (ended === 0) return;
  context.log('warn', 'session.refresh_reused', { request_id: context.request.id, organization_id: organization._id });
}
