import { checkNewPassword, requireUnbreached } from '../admin/password-policy.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { emailKey } from '../admin/schema.ts';
import { newAddressKey } from '../audit/address.ts';
import { firstCheckpoint } from '../audit/checkpoint.ts';
import { auditNote } from '../audit/note.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { enqueueMail, sendInBackground, tokenMail } from '../outbox/outbox.ts';
import { insertOnce, insertUnlessThere, retryOnUnknownOutcome } from '../retry.ts';
import { claimCollection, listCollections, makeCollection } from '../tenant-data/collections.ts';
import type { Placement } from '../tenant-data/schema.ts';
import { claimName, nameClaimId } from './claims.ts';
import { eraseOrganization } from './erase.ts';
import { endOperation, leaseEnd } from './journal.ts';
import type { OrganizationName } from './name.ts';
import { collectionCandidates } from './name.ts';
import { parseNewName } from './new-name.ts';
import { nameTaken } from './refusals.ts';
import type { DeleteOperation, OrganizationDocument } from './schema.ts';
import { requireCaptcha } from './sign-up.ts';

export type CreateOrganizationInput = {
  readonly organization_name: string;
  readonly email: string;
  readonly password: string;
  /** Of a solved CAPTCHA, where one is asked for. */
  readonly captcha_token?: string | undefined;
  /** The ids to create under, never used before; left out: new ones. */
  readonly ids?: { readonly organizationId: string; readonly adminId: string };
};

export type CreateOrganizationResult = {
  organization_id: string;
  organization_name: string;
  collection_name: string;
  admin_id: string;
  admin_email: string;
  created_at: Date;
};

/**
 * Creates an organization, its collection and its first admin, or nothing at all. The organization is journaled as
 * `creating` before anything else, and is there for others from the one write that makes it `active`.
 * @throws {DomainError} invalid_input, captcha_required, organization_name_taken, busy, unavailable
 */
export async function createOrganization(
  context: Context,
  input: CreateOrganizationInput,
): Promise<CreateOrganizationResult> {
  const name = parseNewName(context, input.organization_name, 'organization_name');
  checkNewPassword(context, input.password, 'password', { email: input.email, organizationName: name.name });
  // After the checks that cost nothing: a token is good once.
  await requireCaptcha(context, input.captcha_token);
  await requireUnbreached(context, input.password, 'password');
  const ids = input.ids ?? { organizationId: context.newId(), adminId: context.newId() };
  const creating = await journal(context, name, ids);
  let result: CreateOrganizationResult | undefined;
  let committed: OrganizationDocument;
  try {
    const claim = { key: name.key, organizationId: creating._id, operationId: creating._id };
    if (!(await claimName(context, claim))) throw nameTaken();
    const admin = newAdmin(creating, ids.adminId, input.email, await context.passwords.hash(input.password));
    const [placement, verification] = await Promise.all([
      claimAndMakeCollection(context, creating),
      enqueueMail(context, tokenMail('verification', admin)),
      insertOnce(context, () => context.master.admins.insertOne(admin)),
      insertUnlessThere(context, () => context.master.checkpoints.insertOne(firstCheckpoint(context, creating._id))),
    ]);
    result = {
      organization_id: creating._id,
      organization_name: name.name,
      collection_name: placement.collection,
      admin_id: admin._id,
      admin_email: admin.email,
      created_at: creating.created_at,
    };
    committed = await commit(context, creating, placement);
    sendInBackground(context, verification);
  } catch (error) {
    const undone = await rollBack(context, creating, error);
    if (!undone && result !== undefined) return result;
    throw error;
  }
  try {
    await resumeCreate(context, committed);
  } catch (error) {
    context.log('warn', 'organization.create_unfinished', { organization_id: creating._id, error });
  }
  return result;
}

/** Finishes a create: records one that is committed, and rolls back any other. */
export async function resumeCreate(context: Context, organization: OrganizationDocument): Promise<void> {
  const { operation } = organization;
  if (operation?.kind !== 'create') return;
  if (organization.status === 'creating') {
    const deleting = await beginRollback(context, organization);
    if (deleting !== undefined) await eraseOrganization(context, deleting);
    return;
  }
  await record(context, operation.audit);
  await endOperation(context, organization);
}

async function journal(
  context: Context,
  { name, key, slug }: OrganizationName,
  { organizationId: _id, adminId }: { readonly organizationId: string; readonly adminId: string },
): Promise<OrganizationDocument> {
  const now = context.clock();
  const address_key = newAddressKey();
  const event = { event_id: _id, action: 'organization.created', actor: adminId, target: _id } as const;
  const creating: OrganizationDocument = {
    _id,
    name,
    key,
    slug,
    status: 'creating',
    version: 1,
    epoch: 1,
    named_by: _id,
    placement: { ...context.settings.placement, collection: '' },
    next_placement: null,
    operation: { id: _id, kind: 'create', replaces: '', audit: await auditNote(context, { _id, address_key }, event) },
    changed_by: _id,
    address_key,
    due_at: leaseEnd(context),
    purge_at: null,
    erased_at: null,
    created_at: now,
    updated_at: now,
  };
  await insertOnce(context, () => context.master.organizations.insertOne(creating));
  return creating;
}

const newAdmin = (
  { _id, created_at }: OrganizationDocument,
  adminId: string,
  email: string,
  password_hash: string,
): AdminDocument => ({
  _id: adminId,
  organization_id: _id,
  email,
  email_key: emailKey(email),
  email_verified: false,
  password_hash,
  role: 'owner',
  version: 1,
  epoch: 1,
  changed_by: _id,
  audit_pending: null,
  audit_due_at: null,
  created_at,
  updated_at: created_at,
});

async function claimAndMakeCollection(context: Context, { _id, slug }: OrganizationDocument): Promise<Placement> {
  const claimant = { organizationId: _id, operationId: _id, place: context.settings.placement };
  // Each time, somebody else's collection appeared right between the look and the making.
  for (let names = collectionCandidates(slug, _id); ; names = names.slice(1)) {
    const there = await listCollections(context, claimant.place, names);
    const claimed = await claimCollection(context, { ...claimant, names, there });
    if (claimed === undefined) throw new DomainError('unavailable', 'No collection name is free. Try again.');
    if (await makeCollection(context, claimed)) return claimed;
  }
}

/** The commit point. From here the organization exists; before it, nothing of it remains. */
async function commit(context: Context, { _id }: OrganizationDocument, placement: Placement) {
  const { organizations } = context.master;
  const committed = await retryOnUnknownOutcome(context, () =>
    organizations.findOneAndUpdate(
      { _id, status: 'creating' },
      { $set: { status: 'active', placement }, $inc: { version: 1 } },
    ),
  );
  if (committed !== undefined) return committed;
  // Not `creating` any more: by an earlier try of this very write, or because others took over and rolled it back.
  const organization = await organizations.findOne({ _id });
  if (organization?.status === 'active') return organization;
  throw new DomainError('unavailable', 'The organization could not be created in time. Try again.');
}

/**
 * Undoes what was done, at once where the store lets us; otherwise others do after the lease has expired.
 * @returns false when there is nothing to undo, because it was committed after all
 */
async function rollBack(context: Context, creating: OrganizationDocument, reason: unknown): Promise<boolean> {
  const { organizations } = context.master;
  try {
    if (reason instanceof DomainError && (reason.code === 'organization_name_taken' || reason.code === 'busy')) {
      // Nothing but the name was asked for: there is nothing to leave a stub for.
      await context.master.names.deleteOne({ _id: nameClaimId(creating.key), operation_id: creating._id });
      await organizations.deleteOne({ _id: creating._id, status: 'creating' });
      return true;
    }
    const deleting = (await beginRollback(context, creating)) ?? (await organizations.findOne({ _id: creating._id }));
    if (deleting?.status === 'active') return false;
    if (deleting?.status === 'deleting') await eraseOrganization(context, deleting);
  } catch (error) {
    context.log('warn', 'organization.create_not_rolled_back', { organization_id: creating._id, error });
  }
  return true;
}

/** @returns undefined when it is not `creating` any more */
function beginRollback(context: Context, { _id, operation }: OrganizationDocument) {
  const rollback: DeleteOperation = { id: operation?.id ?? _id, kind: 'delete', replaces: '', audit: null };
  return retryOnUnknownOutcome(context, () =>
    context.master.organizations.findOneAndUpdate(
      { _id, status: 'creating' },
      { $set: { status: 'deleting', operation: rollback }, $inc: { version: 1 } },
    ),
  );
}
