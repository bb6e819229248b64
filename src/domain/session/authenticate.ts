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
  const { organizations, admins, sessions } = context.master;
  const own = { admin_id: claims.admin_id, organization_id: claims.org_id };
  const [organization, admin, session] = await Promise.all([
    organizations.findOne({ _id: claims.org_id, status: 'active' }),
    admins.findOne({ _id: claims.admin_id, organization_id: claims.org_id }),
    sessions.findOne({ _id: claims.sid, ...own }),
  ]);
  if (organization === undefined || admin === undefined || session === undefined) throw invalidToken();
  if (claims.epoch !== currentEpoch({ organization, admin }) || !isInForce(context, session)) throw invalidToken();
  return { admin, organization, session, claims };
}
