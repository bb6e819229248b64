import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { Principal } from '../session/schema.ts';
import { organizationThatLeft } from './claims.ts';
import { organizationKey } from './name.ts';
import { renamed } from './refusals.ts';
import type { OrganizationDocument } from './schema.ts';
import { organizationMetadata } from './schema.ts';

/**
 * What may be seen of an organization, by its name in any case and spacing, and the version that it is of.
 * @param input.member who asks, where only members may: any name but their own organization's is as one that nobody has
 * @throws {DomainError} organization_not_found; organization_renamed for a name that it left not too long ago
 */
export async function getOrganization(
  context: Needs<'master' | 'clock' | 'settings'>,
  input: { readonly organization_name: string; readonly member?: Principal | undefined },
) {
  const key = organizationKey(input.organization_name);
  const organization = key === undefined ? undefined : await find(context, key, input.member?.organization);
  if (organization === undefined) throw new DomainError('organization_not_found', 'No organization has this name.');
  if (organization.key !== key) throw renamed(organization.name);
  return { ...organizationMetadata(organization), version: organization.version };
}

/** The organization that has this name, or that left it. @param own the only one that is looked for; left out: any */
async function find(
  context: Needs<'master' | 'clock' | 'settings'>,
  key: string,
  own: OrganizationDocument | undefined,
): Promise<OrganizationDocument | undefined> {
  if (own?.key === key) return own;
  const named = own === undefined && (await context.master.organizations.findOne({ key, status: 'active' }));
  return named || organizationThatLeft(context, key, own?._id);
}
