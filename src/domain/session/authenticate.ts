import { findAccount } from '../admin/account.ts';
import type { Needs } from '../context.ts';
import type { Principal } from './schema.ts';
import { currentEpoch, invalidToken, isInForce } from './tokens.ts';

/**
 * The principal of an access token, read from the store on every call. A token ends when an epoch rises, and with its
 * session.
 * @throws {DomainError} invalid_token, the same for every reason
 */
export async function authenticate(
  context: Needs<'master' | 'tokens' | 'clock' | 'settings'>,
  token: string,
): Promise<Principal> {
  const claims = await context.tokens.verify(token);
  if (claims === undefined) throw invalidToken();
  const own = { admin_id: claims.admin_id, organization_id: claims.org_id };
  const [account, session] = await Promise.all([
    findAccount(context, own),
    context.master.sessions.findOne({ _id: claims.sid, ...own }),
  ]);
  if (account === undefined || session === undefined) throw invalidToken();
  if (claims.epoch !== currentEpoch(account) || !isInForce(context, session)) throw invalidToken();
  return { ...account, session, claims };
}
