import type { Value } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import { dueWith, settleDue } from '../audit/due.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { persist } from '../persist.ts';
import { claimCollection, releaseClaims } from './claims.ts';
import { copyOn } from './copying.ts';
import { takeName } from './lifecycle.ts';
import type { AdminChange, OrganizationDocument, RenameOperation } from './organization.ts';
import { TENANT_INDEXES } from './organization.ts';
import { changedMeanwhile, nameTaken } from './refusals.ts';

/**
 * Carries a rename on from whatever step its journal is at, until it is committed and its old claims are released, or
 * rolled back. Two instances may run it at once: each step changes the journal only from the step before.
 * @param until after this, a copy of the documents is left to others, with the operation still on the organization
 * @returns the organization as the rename left it; or, while its documents are copied, as it is
 * @throws {DomainError} organization_name_taken, admin_email_taken, conflict: rolled back, nothing has changed;
 *   unavailable when another instance ended it and others have changed the organization since
 */
export async function carryOnRename(
  context: Context,
  begun: OrganizationDocument,
  until: Date,
): Promise<OrganizationDocument> {
  const operation = begun.operation;
  if (operation?.kind !== 'rename') throw changedMeanwhile();
  let organization: OrganizationDocument | undefined = begun;
  let committed: OrganizationDocument | undefined;
  while (organization?.operation?.kind === 'rename' && organization.operation.id === operation.id) {
    const current: RenameOperation = organization.operation;
    switch (current.step) {
      case 'claiming':
        await claim(context, organization, current);
        break;
      case 'changing':
        await change(context, organization, current);
        break;
      case 'moving':
        committed = await move(context, organization, current);
        break;
      case 'copying': {
        const copied = await copyOn(context, organization, current, until);
        if (copied !== undefined) committed = await commit(context, copied, current);
        break;
      }
      case 'releasing':
        committed ??= organization;
        await release(context, organization, current);
        break;
    }
    organization = await context.master.organizations.findOne({ _id: begun._id });
    // The time is up, or another instance is at it.
    if (current.step === 'copying' && committed === undefined && isCopying(organization, operation))
      return organization;
  }
  return committed ?? endedByOthers(begun, operation, organization);
}

const isCopying = (
  organization: OrganizationDocument | undefined,
  { id }: RenameOperation,
): organization is OrganizationDocument =>
  organization?.operation?.kind === 'rename' &&
  organization.operation.id === id &&
  organization.operation.step === 'copying';

/** What became of a rename that is not under way any more, as far as it can be told. */
function endedByOthers(
  begun: OrganizationDocument,
  { id }: RenameOperation,
  organization: OrganizationDocument | undefined,
): OrganizationDocument {
  if (organization?.last_change?.operation_id === id) return organization;
  // Every commit raises the epoch.
  if (organization?.epoch === begun.epoch) throw changedMeanwhile();
  throw new DomainError('unavailable', 'Others have changed the organization since. Look at it, and try again.');
}

/** Claims the new name and collection. */
async function claim(context: Context, organization: OrganizationDocument, operation: RenameOperation): Promise<void> {
  const claimant = { organizationId: organization._id, operationId: operation.id };
  const { cluster, database } = organization.placement;
  const sameKey = operation.to.key === operation.from.key;
  if (!sameKey && !(await takeName(context, operation.to.key, claimant))) {
    await rollBack(context, organization, operation, nameTaken());
    return;
  }
  const { collection } =
    operation.to.slug === organization.slug
      ? organization.placement
      : await claimCollection(context, { cluster, database }, operation.to.slug, claimant);
  await advance(context, organization, operation, {
    $set: {
      'operation.step': operation.admin === null ? 'moving' : 'changing',
      'operation.to.collection': collection,
    },
  });
}

/**
 * Changes the admin: the last step that can still be rolled back. It has a step of its own in the journal so that
 * nobody does it for a rename that others have rolled back.
 */
async function change(context: Context, organization: OrganizationDocument, operation: RenameOperation): Promise<void> {
  const refusal = operation.admin === null ? undefined : await changeAdmin(context, operation.id, operation.admin);
  if (refusal !== undefined) await rollBack(context, organization, operation, refusal);
  else await advance(context, organization, operation, { $set: { 'operation.step': 'moving' } });
}

/** Renames the collection. It is ours alone, so when the new one is there, an earlier try of ours made it. */
async function move(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
): Promise<OrganizationDocument | undefined> {
  const { cluster, database, collection: from } = { ...organization.placement, collection: operation.from.collection };
  const to = operation.to.collection;
  if (from !== to) {
    const tenants = context.clusters(cluster).database(database);
    try {
      await persist(() => tenants.renameCollection(from, to));
    } catch (error) {
      if (isStoreError(error, 'NotPermitted')) {
        context.log('info', 'organization.rename.copies', { organization_id: organization._id });
        await advance(context, organization, operation, { $set: { 'operation.step': 'copying' } });
        return undefined;
      }
      if (isStoreError(error, 'NamespaceNotFound')) await persist(() => tenants.createCollection(to, TENANT_INDEXES));
      else if (!isStoreError(error, 'NamespaceExists')) throw error;
    }
  }
  return commit(context, organization, operation);
}

/** The commit point: from here the organization has its new name, and its documents are in the new collection. */
function commit(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
): Promise<OrganizationDocument | undefined> {
  return advance(context, organization, operation, {
    $set: {
      name: operation.to.name,
      key: operation.to.key,
      slug: operation.to.slug,
      'placement.collection': operation.to.collection,
      status: 'active',
      last_change: {
        kind: 'rename',
        operation_id: operation.id,
        asked_by: operation.asked_by,
        raised: operation.admin === null ? 1 : 2,
      },
      updated_at: context.clock(),
      'operation.step': 'releasing',
    },
    $inc: { epoch: 1 },
  });
}

async function release(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
): Promise<void> {
  await releaseClaims(context, organization._id);
  await record(context, organization._id, operation.id, operation.audit);
  await advance(context, organization, operation, { $set: { operation: null, lease_until: null } });
}

/** Throws the refusal when it rolled the rename back; returns when another instance was faster, whatever it did. */
async function rollBack(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
  refusal: DomainError,
): Promise<void> {
  const changes = { status: 'active', operation: null, lease_until: null };
  const rolledBack = await advance(context, organization, operation, { $set: changes });
  if (rolledBack === undefined) return;
  await releaseClaims(context, organization._id);
  throw refusal;
}

/**
 * One conditional write on the journal.
 * @returns the organization after it; undefined when another instance, or an earlier try of ours, was faster
 */
function advance(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
  update: { $set: Record<string, Value>; $inc?: { epoch: 1 } },
): Promise<OrganizationDocument | undefined> {
  return persist(() =>
    context.master.organizations.findOneAndUpdate(
      {
        _id: organization._id,
        'operation.id': operation.id,
        'operation.step': operation.step,
        // What was verified is as it was only while nobody else copies.
        ...(operation.step === 'copying' && { lease_until: organization.lease_until }),
      },
      { ...update, $inc: { version: 1, ...update.$inc } },
    ),
  );
}

/**
 * Changes an admin as of the version that the change was made for, once for an operation. One that is refused can
 * never be made by another instance later.
 * @returns why it cannot be, or undefined when it is done
 */
export async function changeAdmin(
  context: Context,
  operationId: string,
  { admin_id, version, set, audit }: AdminChange,
): Promise<DomainError | undefined> {
  const { admins } = context.master;
  let refusal = changedMeanwhile();
  try {
    const { matched } = await persist(() =>
      admins.updateOne(
        { _id: admin_id, version },
        { $set: { ...set, ...dueWith(audit), changed_by: operationId }, $inc: { version: 1, epoch: 1 } },
      ),
    );
    if (matched === 1) {
      await settleDue(context, admin_id);
      return undefined;
    }
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    refusal = new DomainError(
      'admin_email_taken',
      'Another admin of this organization has that email. Use another one.',
    );
    await persist(() => admins.updateOne({ _id: admin_id, version }, { $inc: { version: 1 } }));
  }
  const admin = await admins.findOne({ _id: admin_id });
  if (admin?.changed_by !== operationId) return refusal;
  await settleDue(context, admin_id);
  return undefined;
}
