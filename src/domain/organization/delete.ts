import { noteOf } from '../audit/event.ts';
import { forbidden } from '../authorization.ts';
import type { Context } from '../context.ts';
import type { AccessClaims } from '../session/access-token.ts';
import type { Principal } from '../session/authenticate.ts';
import { invalidToken } from '../session/authenticate.ts';
import { organizationThatLeft } from './claims.ts';
import { beginOperation, carryOn } from './lifecycle.ts';
import { organizationKey } from './name.ts';
import type { DeleteOperation, OrganizationDocument } from './organization.ts';
import { renamed } from './refusals.ts';

export type DeleteOrganizationInput = { organization_name: string };

export type DeleteOrganizationResult = { deleted: true; organization_name: string };

/**
 * Deletes the principal's organization. The write that journals the operation is the commit point: from it on, tokens
 * fail and reads find nothing; the rest is always rolled forward. Where deleted organizations are kept, it is put
 * aside, to be restored or purged later.
 * @throws {DomainError} forbidden for any other organization, existing or not; organization_renamed for a name that
 *   it left; conflict, operation_in_progress
 */
export async function deleteOrganization(
  context: Context,
  { organization, admin, claims }: Principal,
  input: DeleteOrganizationInput,
): Promise<DeleteOrganizationResult> {
  await requireOwnName(context, organization, input.organization_name);
  const { retentionMs } = context.settings;
  const operation: DeleteOperation = {
    id: context.newId(),
    kind: 'delete',
    retain_until: retentionMs === 0 ? null : new Date(context.clock().getTime() + retentionMs),
    removed: null,
    asked_by: claims.jti,
    audit: noteOf(context, 'organization.deleted', { actor: admin._id, target: organization._id }),
  };
  const last_change = { kind: 'delete', operation_id: operation.id, asked_by: claims.jti, raised: 1 } as const;
  const changes = { status: 'deleting', last_change } as const;
  const deleting = await beginOperation(context, organization, operation, changes, { epoch: 1 });
  try {
    await carryOn(context, deleting);
  } catch (error) {
    context.log('warn', 'organization.delete.left', { organization_id: organization._id, error });
  }
  return { deleted: true, organization_name: organization.name };
}

/**
 * The answer to a delete that is asked for again with the token that did it, after its reply was lost.
 * @throws {DomainError} invalid_token when this token deleted no organization of this name
 */
export async function repeatDelete(
  context: Context,
  claims: AccessClaims,
  input: DeleteOrganizationInput,
): Promise<DeleteOrganizationResult> {
  if (organizationKey(input.organization_name) !== organizationKey(claims.organization)) throw invalidToken();
  const { organizations, erasures } = context.master;
  const deleted = { _id: claims.org_id, 'last_change.asked_by': claims.jti, 'last_change.kind': 'delete' };
  // In this order: the receipt is there before the organization is gone.
  const organization = await organizations.findOne(deleted);
  const erasure = await erasures.findOne({ _id: claims.org_id, asked_by: claims.jti });
  if (erasure === undefined && organization === undefined) throw invalidToken();
  return { deleted: true, organization_name: claims.organization };
}

/** @throws {DomainError} unless the name is the organization's own */
export async function requireOwnName(
  context: Context,
  organization: OrganizationDocument,
  name: string,
): Promise<void> {
  const key = organizationKey(name);
  if (key === organization.key) return;
  const left = key === undefined ? undefined : await organizationThatLeft(context, key);
  if (left?._id === organization._id) throw renamed(organization.name);
  throw forbidden();
}
