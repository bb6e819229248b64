import { recordPendingAudit } from '../audit/pending.ts';
import { record } from '../audit/record.ts';
import { entriesBetween, MAX_SEQUENCE } from '../audit/schema.ts';
import type { Context } from '../context.ts';
import { nextLook } from '../due.ts';
import type { Outcome } from '../in-batches.ts';
import { removeInBatches } from '../in-batches.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { dropCollections } from '../tenant-data/collections.ts';
import type { OrganizationDocument } from './schema.ts';

/**
 * Erases everything of an organization that is `deleting`, and leaves a stub. The same again for a stub: an instance
 * that was paused while it created the organization may have added something since.
 * @returns whether more of its log is to be removed, at once
 */
export async function eraseOrganization(context: Context, organization: OrganizationDocument): Promise<Outcome> {
  const { admins, sessions, mails, idempotency, names } = context.master;
  const own = { organization_id: organization._id };
  const [pending] = await Promise.all([
    admins.find({ ...own, audit_due_at: { $gt: new Date(0) } }),
    dropCollections(context, organization._id, wasActive(organization) ? 'dropped' : 'unused'),
  ]);
  for (const admin of pending) {
    await recordPendingAudit(context, admin);
    await retryOnUnknownOutcome(context, () => admins.deleteOne({ _id: admin._id, version: admin.version }));
  }
  const { operation } = organization;
  await Promise.all([
    // An admin who was changed since waits for the next erasure: it records the change first.
    retryOnUnknownOutcome(context, () => admins.deleteMany({ ...own, audit_due_at: null })),
    ...[sessions, mails, idempotency].map((collection) =>
      retryOnUnknownOutcome(context, () => collection.deleteMany(own)),
    ),
    // An erased organization never comes back: whatever is claimed in its name is nobody's.
    retryOnUnknownOutcome(context, () => names.deleteMany({ ...own, kind: 'name' })),
    operation?.kind === 'delete' && operation.audit !== null && record(context, operation.audit),
  ]);
  const log = await removeExpiredLog(context, organization);
  await leaveStub(context, organization, log);
  return log;
}

/** Nothing is left of a log when the time is over since its organization was erased, not even the last entry. */
async function removeExpiredLog(context: Context, { _id, erased_at }: OrganizationDocument): Promise<Outcome> {
  const { master, settings, clock } = context;
  const keptSince = clock().getTime() - settings.auditRetentionMs;
  if (settings.auditRetentionMs === 0 || erased_at === null || erased_at.getTime() >= keptSince) return 'done';
  const removed = await removeInBatches(context, master.audit, entriesBetween(_id, 1, MAX_SEQUENCE), { _id: 1 });
  if (removed === 'done') await retryOnUnknownOutcome(context, () => master.checkpoints.deleteOne({ _id }));
  return removed;
}

/** False where a create was rolled back: its delete has nothing to record, and its stub says that nothing named it. */
const wasActive = ({ operation, named_by }: OrganizationDocument): boolean =>
  operation?.kind === 'delete' ? operation.audit !== null : named_by !== '';

/** Nothing personal remains: neither a name nor what makes the addresses in the audit log readable. */
async function leaveStub(context: Context, organization: OrganizationDocument, log: Outcome): Promise<void> {
  const { _id, status, erased_at } = organization;
  const now = context.clock();
  const isRepeated = status === 'erased';
  const since = erased_at ?? now;
  await retryOnUnknownOutcome(context, () =>
    context.master.organizations.updateOne(
      { _id, status },
      isRepeated
        ? { $set: { due_at: log === 'full' ? now : nextLook(now, since) }, $inc: { version: 1 } }
        : {
            $set: {
              name: '',
              key: '',
              slug: '',
              'placement.collection': '',
              next_placement: null,
              status: 'erased',
              operation: null,
              address_key: null,
              erased_at: now,
              ...(!wasActive(organization) && { named_by: '' }),
              due_at: nextLook(now, now),
              updated_at: now,
            },
            $inc: { version: 1 },
          },
    ),
  );
}
