import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { namesOf } from '../tenant-data/collections.ts';

/** Collections that one organization has had, as far as they are looked for. */
const MAX_NAMES = 900;

/**
 * The receipt of an organization's erasure, with a fresh look for anything that is left of it.
 * @throws {DomainError} organization_not_found when no organization of this id was erased
 */
export async function getErasure(
  { master, tenants }: Needs<'master' | 'tenants'>,
  { organization_id }: { readonly organization_id: string },
) {
  const stub = await master.organizations.findOne({ _id: organization_id, status: 'erased' });
  if (stub === undefined || stub.erased_at === null || stub.named_by === '') {
    throw new DomainError('organization_not_found', 'No organization of this id was erased.');
  }
  const own = { organization_id };
  const claims = await master.collections.find({
    ...own,
    kind: 'collection',
    state: { $in: ['held', 'former', 'dropped', 'unused'] },
  });
  const names = claims.flatMap(namesOf);
  const [collections, admins, sessions, nameClaims, mails] = await Promise.all([
    tenants(stub.placement).listCollections(names.slice(0, MAX_NAMES)),
    master.admins.count(own),
    master.sessions.count(own),
    master.names.count({ ...own, kind: 'name' }),
    master.mails.count(own),
  ]);
  const remaining = { collections: collections.length, admins, sessions, names: nameClaims, mails };
  return { organization_id, erased_at: stub.erased_at, remaining };
}
