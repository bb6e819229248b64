import { isStoreError } from '../../store/port.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { OrganizationDocument } from './organization.ts';
import { trashName } from './organization.ts';

/** Puts aside what there is of an organization that can still be restored: its name and its admins stay reserved. */
export async function retireOrganization(context: Context, organization: OrganizationDocument): Promise<void> {
  const { operation, placement, _id } = organization;
  if (operation?.kind !== 'delete') return;
  const { organizations, sessions } = context.master;
  const tenants = context.clusters(placement.cluster).database(placement.database);
  try {
    await persist(() => tenants.renameCollection(placement.collection, trashName(_id)));
  } catch (error) {
    // Not there: done by an earlier try. Both there: done, and a late writer brought the old one back; a restore or
    // the purge deals with it. Not permitted: it stays where it is, under its claim, which nobody else can take.
    if (!isStoreError(error, 'NamespaceNotFound', 'NamespaceExists', 'NotPermitted')) throw error;
  }
  await persist(() => sessions.deleteMany({ organization_id: _id }));
  if (operation.audit !== null) await record(context, _id, operation.id, operation.audit);
  await persist(() =>
    organizations.updateOne(
      { _id, 'operation.id': operation.id, status: 'deleting' },
      {
        $set: { status: 'deleted', operation: null, lease_until: null, purge_at: operation.retain_until },
        $inc: { version: 1 },
      },
    ),
  );
}
