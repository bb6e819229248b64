import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { claimedPlacements } from './claims.ts';
import type { Removed } from './organization.ts';
import { asidePrefix, copyPrefix, trashName } from './organization.ts';

export type ErasureReceipt = {
  organization_id: string;
  erased_at: Date;
  /** What was counted just before it was removed. */
  removed: Removed;
  /** What is found of it now: zeros, once the released collection name has rested (`claims` until then). */
  remaining: Removed;
};

/**
 * The receipt of an organization's erasure, with a fresh look for anything that is left of it.
 * @throws {DomainError} organization_not_found when no organization of this id was erased
 */
export async function getErasure(context: Context, input: { organization_id: string }): Promise<ErasureReceipt> {
  const { erasures, admins, sessions, claims, mails, organizations } = context.master;
  const own = { organization_id: input.organization_id };
  const erasure = await erasures.findOne({ _id: input.organization_id });
  if (erasure === undefined || (await organizations.count({ _id: input.organization_id })) > 0) {
    throw new DomainError('organization_not_found', 'No organization of this id was erased.');
  }
  const { cluster, database } = context.settings.placement;
  const tenants = context.clusters(cluster).database(database);
  const collections = [
    ...(await claimedPlacements(context, erasure._id)).map(({ collection }) => collection),
    ...(await tenants.listCollections(asidePrefix(erasure._id))),
    ...(await tenants.listCollections(trashName(erasure._id))),
    ...(await tenants.listCollections(copyPrefix(erasure._id))),
  ];
  const documents = await Promise.all(collections.map((name) => tenants.collection(name).count({})));
  return {
    organization_id: erasure._id,
    erased_at: erasure.erased_at,
    removed: erasure.removed,
    remaining: {
      collections: collections.length,
      documents: documents.reduce((sum, count) => sum + count, 0),
      admins: await admins.count(own),
      sessions: await sessions.count(own),
      claims: await claims.count(own),
      mails: await mails.count(own),
    },
  };
}
