import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { OrganizationDocument, OrganizationStatus } from '../organization/schema.ts';
import type { AdminDocument } from './schema.ts';

/** An admin, and the admin's organization. */
export type Account = { readonly admin: AdminDocument; readonly organization: OrganizationDocument };

type Status = OrganizationStatus | { readonly $in: readonly OrganizationStatus[] };

/**
 * The organizations whose admins use mailed tokens: also one that is deleted and kept, so that its owner, whose account a
 * thief had, can reset the password and restore it.
 */
export const KEPT = { $in: ['active', 'deleted'] } as const satisfies Status;

/** The account of an admin, as it is now; undefined when the admin is gone, or the organization has another status. */
export async function findAccount(
  { master }: Needs<'master'>,
  { admin_id, organization_id }: { readonly admin_id: string | null; readonly organization_id: string | null },
  status: Status = 'active',
): Promise<Account | undefined> {
  const [admin, organization] = await Promise.all([
    master.admins.findOne({ _id: admin_id, organization_id }),
    master.organizations.findOne({ _id: organization_id, status }),
  ]);
  return admin && organization && { admin, organization };
}

/**
 * The accounts of an email, in two store calls: the verified ones first, then the oldest; or only the one of the
 * organization that is named.
 * @param input.status of the organizations
 * @param input.limit how many are looked at, of whatever status
 */
export async function findAccounts(
  { master }: Needs<'master'>,
  input: {
    readonly email_key: string;
    readonly organization_key: string | null;
    readonly status: Status;
    readonly limit: number;
  },
): Promise<Account[]> {
  const { email_key, organization_key: key, status, limit } = input;
  if (key !== null) {
    const organization = await master.organizations.findOne({ key, status });
    const admin = await master.admins.findOne({ organization_id: organization?._id ?? '', email_key });
    return organization && admin ? [{ admin, organization }] : [];
  }
  const admins = await master.admins.find({ email_key }, { sort: { email_verified: -1, _id: 1 }, limit });
  const ids = admins.map((admin) => admin.organization_id);
  const organizations = await master.organizations.find({ _id: { $in: ids }, status });
  return admins.flatMap((admin) =>
    organizations.filter(({ _id }) => _id === admin.organization_id).map((organization) => ({ admin, organization })),
  );
}

/** An admin of the organization, as it is now. @throws {DomainError} admin_not_found, also for one of another organization */
export async function requireAdmin(
  { master }: Needs<'master'>,
  { _id }: OrganizationDocument,
  admin_id: string,
): Promise<AdminDocument> {
  const admin = await master.admins.findOne({ _id: admin_id, organization_id: _id });
  if (admin === undefined) throw new DomainError('admin_not_found', 'No admin of this organization has this id.');
  return admin;
}
