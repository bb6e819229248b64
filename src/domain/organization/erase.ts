import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import { claimedPlacements, releaseClaims } from './claims.ts';

/** Clears everything of an organization that is `deleting`, its own document last: until then it can be done again. */
export async function eraseOrganization(context: Context, organizationId: string): Promise<void> {
  const { admins, sessions, organizations } = context.master;
  for (const { cluster, database, collection } of await claimedPlacements(context, organizationId)) {
    await persist(() => context.clusters(cluster).database(database).dropCollection(collection));
  }
  await persist(() => sessions.deleteMany({ organization_id: organizationId }));
  await persist(() => admins.deleteMany({ organization_id: organizationId }));
  await releaseClaims(context, organizationId);
  await persist(() => organizations.deleteOne({ _id: organizationId, status: 'deleting' }));
}
