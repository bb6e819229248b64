import { forbidden } from '../authorization.ts';
import type { Context } from '../context.ts';
import type { Principal } from '../session/authenticate.ts';
import { eraseOrganization } from './erase.ts';
import { beginOperation } from './lifecycle.ts';
import { organizationKey } from './name.ts';

export type DeleteOrganizationResult = { deleted: true; organization_name: string };

/**
 * Deletes the principal's organization. The write that journals the operation is the commit point: from it on, tokens
 * fail and reads find nothing; the rest is always rolled forward.
 * @throws {DomainError} forbidden for any other organization, existing or not; conflict, operation_in_progress
 */
export async function deleteOrganization(
  context: Context,
  { organization }: Principal,
  input: { organization_name: string },
): Promise<DeleteOrganizationResult> {
  if (organizationKey(input.organization_name) !== organization.key) throw forbidden();
  const operation = { id: context.newId(), kind: 'delete' } as const;
  await beginOperation(context, organization, operation, 'deleting', { epoch: 1 });
  try {
    await eraseOrganization(context, organization._id);
  } catch (error) {
    context.log('warn', 'organization.delete.left_to_reconciler', { organization_id: organization._id, error });
  }
  return { deleted: true, organization_name: organization.name };
}
