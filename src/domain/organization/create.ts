import type { AdminDocument } from '../admin/admin.ts';
import { emailKey } from '../admin/admin.ts';
import { checkNewPassword } from '../admin/password-policy.ts';
import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { postVerification } from '../mail/account-mails.ts';
import { sendSoon } from '../mail/outbox.ts';
import { insertOnce, persist } from '../persist.ts';
import { claimCollection } from './claims.ts';
import { eraseOrganization } from './erase.ts';
import { leaseFromNow, rolledBack, takeName } from './lifecycle.ts';
import { parseOrganizationName } from './name.ts';
import type { OrganizationDocument } from './organization.ts';
import { TENANT_INDEXES } from './organization.ts';
import { nameTaken } from './refusals.ts';

export type CreateOrganizationInput = { organization_name: string; email: string; password: string };

export type CreateOrganizationResult = {
  organization_id: string;
  organization_name: string;
  collection_name: string;
  admin_id: string;
  admin_email: string;
  created_at: Date;
};

/** The ids to create under, never used before. */
export type NewIds = { readonly organizationId: string; readonly adminId: string };

/**
 * Creates an organization, its collection and its first admin, or nothing at all. The organization is journaled as
 * `creating` before anything else, and is there for others from the one write that makes it `active`.
 * @throws {DomainError} invalid_input, organization_name_taken, busy, unavailable
 */
export async function createOrganization(
  context: Context,
  input: CreateOrganizationInput,
  ids: NewIds = { organizationId: context.newId(), adminId: context.newId() },
): Promise<CreateOrganizationResult> {
  const { name, key, slug } = parseOrganizationName(input.organization_name, 'organization_name');
  checkNewPassword(input.password, 'password', { email: input.email, organizationName: name });

  const { admins } = context.master;
  const now = context.clock();
  const id = ids.organizationId;
  const { cluster, database } = context.settings.placement;
  const creating: OrganizationDocument = {
    _id: id,
    name,
    key,
    slug,
    status: 'creating',
    version: 1,
    epoch: 1,
    placement: { cluster, database, collection: '' },
    operation: {
      id,
      kind: 'create',
      audit: noteOf(context, 'organization.created', { actor: ids.adminId, target: id }),
    },
    lease_until: leaseFromNow(context),
    last_change: null,
    purge_at: null,
    created_at: now,
    updated_at: now,
  };
  await journal(context, creating);

  const claimant = { organizationId: id, operationId: id };
  let created: CreateOrganizationResult | undefined;
  let committed: OrganizationDocument;
  try {
    if (!(await takeName(context, key, claimant))) throw nameTaken();
    const password_hash = await context.passwords.hash(input.password);
    const placement = await claimCollection(context, { cluster, database }, slug, claimant);
    await persist(() =>
      context.clusters(cluster).database(database).createCollection(placement.collection, TENANT_INDEXES),
    );
    const admin: AdminDocument = {
      _id: ids.adminId,
      organization_id: id,
      email: input.email,
      email_key: emailKey(input.email),
      email_verified: false,
      password_hash,
      role: 'owner',
      version: 1,
      epoch: 1,
      changed_by: id,
      created_at: now,
      updated_at: now,
    };
    await insertOnce(() => admins.insertOne(admin));
    const verification = await postVerification(context, admin);
    created = {
      organization_id: id,
      organization_name: name,
      collection_name: placement.collection,
      admin_id: admin._id,
      admin_email: admin.email,
      created_at: now,
    };
    committed = await commit(context, id, placement.collection);
    sendSoon(context, [verification]);
  } catch (error) {
    const undone = await rollBack(context, id, error);
    if (!undone && created !== undefined) return created;
    throw error;
  }
  try {
    await carryOnCreate(context, committed);
  } catch (error) {
    context.log('warn', 'organization.create.left', { organization_id: id, error });
  }
  return created;
}

/** Ends a create that is committed: it is recorded. */
export async function carryOnCreate(context: Context, { _id, operation }: OrganizationDocument): Promise<void> {
  if (operation?.kind !== 'create') return;
  await record(context, _id, operation.id, operation.audit);
  await persist(() =>
    context.master.organizations.updateOne(
      { _id, 'operation.id': operation.id },
      { $set: { operation: null, lease_until: null }, $inc: { version: 1 } },
    ),
  );
}

const journal = (context: Context, organization: OrganizationDocument): Promise<void> =>
  insertOnce(() => context.master.organizations.insertOne(organization));

/** The commit point. From here the organization exists; before it, nothing of it remains. */
async function commit(context: Context, id: string, collection: string): Promise<OrganizationDocument> {
  const { organizations } = context.master;
  const committed = await persist(() =>
    organizations.findOneAndUpdate(
      { _id: id, status: 'creating' },
      { $set: { status: 'active', 'placement.collection': collection }, $inc: { version: 1 } },
    ),
  );
  if (committed !== undefined) return committed;
  // Not `creating` any more: by an earlier try of this very write, or because others took us for dead and cleared up.
  const organization = await organizations.findOne({ _id: id });
  if (organization === undefined || organization.status === 'deleting') {
    throw new DomainError('unavailable', 'The organization could not be created in time. Try again.');
  }
  return organization;
}

/**
 * Undoes what was done, at once where the store lets us; where it does not, the lease runs out and others do it.
 * False when there is nothing to undo, because the commit went through after all.
 */
async function rollBack(context: Context, id: string, reason: unknown): Promise<boolean> {
  const { organizations } = context.master;
  try {
    if (reason instanceof DomainError && reason.code === 'organization_name_taken') {
      await organizations.deleteOne({ _id: id, status: 'creating' });
      return true;
    }
    await organizations.updateOne(
      { _id: id, status: 'creating' },
      { $set: { status: 'deleting', operation: rolledBack(id) }, $inc: { version: 1 } },
    );
    const organization = await organizations.findOne({ _id: id });
    if (organization !== undefined && organization.status !== 'deleting') return false;
    await eraseOrganization(context, id);
  } catch (error) {
    context.log('warn', 'organization.create.rollback_left', { organization_id: id, error });
  }
  return true;
}
