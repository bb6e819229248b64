import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { organizationThatLeft } from './claims.ts';
import { organizationKey } from './name.ts';
import { renamed } from './refusals.ts';
import type { OrganizationMetadata } from './schema.ts';
import { organizationMetadata } from './schema.ts';

/**
 * What anyone may see of an organization, by its name in any case and spacing, and the version that it is of.
 * @throws {DomainError} organization_not_found; organization_renamed for a name that it left not too long ago
 */
export async function getOrganization(
  context: Needs<'master' | 'clock' | 'settings'>,
  input: { readonly organization_name: string },
): Promise<OrganizationMetadata & { version: number }> {
  const key = organizationKey(input.organization_name);
  const organization =
    key === undefined ? undefined : await context.master.organizations.findOne({ key, status: 'active' });
  if (organization === undefined) {
    const left = key === undefined ? undefined : await organizationThatLeft(context, key);
    if (left !== undefined) throw renamed(left.name);
    throw new DomainError('organization_not_found', 'No organization has this name.');
  }
  return { ...organizationMetadata(organization), version: organization.version };
}
