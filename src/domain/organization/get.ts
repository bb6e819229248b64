import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { organizationKey } from './name.ts';
import type { OrganizationMetadata } from './organization.ts';
import { organizationMetadata, VISIBLE } from './organization.ts';

/**
 * What anyone may see of an organization, by its name in any case and spacing, and the version that it is of.
 * @throws {DomainError} organization_not_found
 */
export async function getOrganization(
  context: Context,
  input: { organization_name: string },
): Promise<OrganizationMetadata & { version: number }> {
  const key = organizationKey(input.organization_name);
  const organization =
    key === undefined ? undefined : await context.master.organizations.findOne({ key, status: { $in: VISIBLE } });
  if (organization === undefined) {
    throw new DomainError('organization_not_found', 'No organization has this name.');
  }
  return { ...organizationMetadata(organization), version: organization.version };
}
