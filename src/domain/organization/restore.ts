import { isStoreError } from '../../store/port.ts';
import type { Database } from '../../store/store.ts';
import { emailKey } from '../admin/admin.ts';
import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import { countFailedSignIn } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { persist } from '../persist.ts';
import { admit, takeSignIn } from '../throttle/sign-in.ts';
import { beginOperation } from './lifecycle.ts';
import { organizationKey } from './name.ts';
import type { OrganizationDocument, OrganizationMetadata } from './organization.ts';
import { asidePrefix, organizationMetadata, TENANT_INDEXES, trashName, VISIBLE } from './organization.ts';
import { changedMeanwhile, outcomeUnknown } from './refusals.ts';
import { moveBack, putAside } from './sweep.ts';

export type RestoreOrganizationInput = { organization_name: string; email: string; password: string };

/**
 * Brings a deleted organization back, with documents, indexes, admins and name, while it is kept. The work is the
 * same for one that is not there.
 * @throws {DomainError} invalid_credentials, the same for whatever did not fit; operation_in_progress, conflict,
 *   too_many_requests, busy
 */
export async function restoreOrganization(
  context: Context,
  input: RestoreOrganizationInput,
): Promise<OrganizationMetadata> {
  await takeSignIn(context);
  const { organizations, admins } = context.master;
  const key = organizationKey(input.organization_name) ?? '';
  const deleted = await organizations.findOne({ key, status: 'deleted', purge_at: { $gt: context.clock() } });
  const email_key = emailKey(input.email);
  const admin = await admins.findOne({ organization_id: deleted?._id ?? '', email_key, role: 'owner' });
  const { succeeded } = await admit(context, email_key, admin === undefined ? [] : [admin]);
  const fits = await context.passwords.verify(input.password, admin?.password_hash);
  if (deleted === undefined || admin === undefined || !fits) {
    await countFailedSignIn(context, JSON.stringify([email_key, key]), admin === undefined ? [] : [admin]);
    throw new DomainError('invalid_credentials', 'No deleted organization fits this name, email and password.');
  }
  await succeeded(admin);
  const operation = {
    id: context.newId(),
    kind: 'restore',
    audit: noteOf(context, 'organization.restored', { actor: admin._id, target: deleted._id }),
  } as const;
  const changes = { status: 'restoring', last_change: null } as const;
  const begun = await beginOperation(context, deleted, operation, changes, { epoch: 1 });
  return organizationMetadata(await carryOnRestore(context, begun));
}

/** Carries a restore on from wherever it is; every step finds out for itself whether it was done. */
export async function carryOnRestore(
  context: Context,
  organization: OrganizationDocument,
): Promise<OrganizationDocument> {
  const { operation, placement, _id } = organization;
  if (operation?.kind !== 'restore') throw changedMeanwhile();
  const { organizations } = context.master;
  const { collection } = placement;
  const tenants = context.clusters(placement.cluster).database(placement.database);
  while (!(await isBack(tenants, trashName(_id), collection))) {
    // What a late writer brought back waits aside until the documents are where they were.
    await putAside(context, tenants, collection, _id);
  }
  for (const aside of await tenants.listCollections(asidePrefix(_id))) {
    await moveBack(context, tenants, aside, organization);
  }
  await persist(() => tenants.createCollection(collection, TENANT_INDEXES));
  // Nothing ends a restore but its success.
  await record(context, _id, operation.id, operation.audit);
  const restored = await persist(() =>
    organizations.findOneAndUpdate(
      { _id, 'operation.id': operation.id },
      {
        $set: { status: 'active', operation: null, lease_until: null, purge_at: null, updated_at: context.clock() },
        $inc: { version: 1 },
      },
    ),
  );
  // Otherwise an earlier try of this very write, or another instance, was faster.
  const current = restored ?? (await organizations.findOne({ _id, status: { $in: VISIBLE } }));
  if (current === undefined) throw outcomeUnknown();
  return current;
}

/** Renames the collection back. False when its name is in use; true also when it was done by an earlier try. */
async function isBack(tenants: Database, trash: string, collection: string): Promise<boolean> {
  try {
    await persist(() => tenants.renameCollection(trash, collection));
  } catch (error) {
    if (isStoreError(error, 'NamespaceExists')) return false;
    // Where the server does not rename, it was never put aside.
    const stayed = isStoreError(error, 'NotPermitted') && !(await tenants.listCollections(trash)).includes(trash);
    if (!stayed && !isStoreError(error, 'NamespaceNotFound')) throw error;
  }
  return true;
}
