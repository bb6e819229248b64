import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { OrganizationDocument } from '../organization/organization.ts';
import { VISIBLE } from '../organization/organization.ts';
import type { AccessClaims } from './access-token.ts';
import type { SessionDocument } from './session.ts';
import { currentEpoch, isInForce } from './session.ts';

/** Who is asking: the admin, the organization and the session as they are now, and what the token said. */
export type Principal = {
  readonly admin: AdminDocument;
  readonly organization: OrganizationDocument;
  readonly session: SessionDocument;
  readonly claims: AccessClaims;
};

export const invalidToken = (): DomainError =>
  new DomainError('invalid_token', 'This token is missing, malformed or no longer valid. Sign in again.');

/**
 * The principal of an access token, read fresh: a token is as old as the epochs it carries, and ends with its session.
 * @throws {DomainError} invalid_token, whatever is wrong with it
 */
export async function authenticate(context: Context, token: string): Promise<Principal> {
  const claims = await context.tokens.verify(token);
  if (claims === undefined) throw invalidToken();
  return authenticateClaims(context, claims);
}

async function authenticateClaims(context: Context, claims: AccessClaims): Promise<Principal> {
  const [organization, admin, session] = await Promise.all([
    context.master.organizations.findOne({ _id: claims.org_id }),
    context.master.admins.findOne({ _id: claims.admin_id, organization_id: claims.org_id }),
    context.master.sessions.findOne({ _id: claims.sid, admin_id: claims.admin_id, organization_id: claims.org_id }),
  ]);
  if (organization === undefined || admin === undefined || !VISIBLE.includes(organization.status)) throw invalidToken();
  if (claims.epoch !== currentEpoch({ organization, admin })) throw invalidToken();
  if (session === undefined || !isInForce(context, session)) throw invalidToken();
  return { admin, organization, session, claims };
}

/**
 * The principal of a token, or the claims alone of one that ended by the rename or delete that was asked for with it,
 * or by an admin's change that a rename under way began with:
 * whoever holds it may have lost the reply, and may ask for the same again.
 * @throws {DomainError} invalid_token for any other
 */
export async function authenticateOrRepeat(
  context: Context,
  token: string,
): Promise<{ principal: Principal } | { spent: AccessClaims }> {
  const claims = await context.tokens.verify(token);
  if (claims === undefined) throw invalidToken();
  try {
    return { principal: await authenticateClaims(context, claims) };
  } catch (error) {
    // A store that is away says nothing of the token.
    if (!(error instanceof DomainError)) throw error;
    const { organizations, erasures } = context.master;
    const changed = await organizations.count({
      _id: claims.org_id,
      $or: [{ 'last_change.asked_by': claims.jti }, { 'operation.asked_by': claims.jti }],
    });
    const erased = await erasures.count({ _id: claims.org_id, asked_by: claims.jti });
    if (changed + erased === 0) throw error;
    return { spent: claims };
  }
}
