import type { Document, Filter, Scalar } from '../store/port.ts';
import type { Collection } from '../store/store.ts';
import { writeDueCheckpoint } from './audit/checkpoint.ts';
import { flushPendingAudit } from './audit/pending.ts';
import { removeExpiredEntries } from './audit/retention.ts';
import { countedSince, recordSignInFailures } from './audit/sign-in-failures.ts';
import type { Context } from './context.ts';
import type { Outcome } from './in-batches.ts';
import { removeInBatches } from './in-batches.ts';
import { purgeOrganization } from './organization/delete.ts';
import { eraseOrganization } from './organization/erase.ts';
import { resumeExpired } from './organization/journal.ts';
import { tryOpenMove } from './organization/rename.ts';
import type { OrganizationDocument } from './organization/schema.ts';
import { sendDueMail } from './outbox/outbox.ts';
import { syncLateWrites } from './tenant-data/late-writes.ts';

/**
 * Items of a kind that one round takes at most: the rest comes in the next one. Full pages of all kinds take about 1,200
 * store calls, and the ends of long logs as many again.
 */
const PAGE = 20;

/** Likewise, of names that late writes are looked for at: one call finds out for all of them. */
const CLAIMS = 100;

/** How long one round goes on with a kind, in milliseconds: the next one waits for it. */
const KIND_MS = 10_000;

/**
 * One round of due work: each kind is asked for what is due, a bounded page at a time, each item guarded by itself. An
 * idle round costs the same few calls however many organizations there are. Any number of instances may run it at
 * once, and any of them may die in it.
 * @param turn which kind of what has expired is removed in this round
 * @param onCleared called when nothing is left of that one: the next one has its turn
 * @returns whether a page was full, so that the next round should come at once
 */
export async function reconcile(context: Context, turn: number, onCleared = () => {}): Promise<boolean> {
  const { organizations, admins, signInFailures, checkpoints, mails, names } = context.master;
  const now = context.clock();
  const pages = [
    await each(context, organizations, 'due_at', now, (organization) => whatIsDue(context, organization)),
    await lookForLateWrites(context, now),
    await each(context, admins, 'audit_due_at', now, ({ _id }) => flushPendingAudit(context, _id)),
    await each(context, signInFailures, 'first_at', countedSince(context), (failures) =>
      recordSignInFailures(context, failures),
    ),
    await each(context, checkpoints, 'due_at', now, (checkpoint) => writeDueCheckpoint(context, checkpoint)),
    await each(context, mails, 'due_at', now, (mail) => sendDueMail(context, mail)),
    // Names whose lease is over.
    await guarded(context, 'names', () =>
      removeInBatches(context, names, { kind: 'name', due_at: { $lt: now } }, { due_at: 1 }),
    ),
  ];
  const expired = await removeExpired(context, turn, now);
  if (expired === 'done') onCleared();
  return [...pages, expired].includes('full');
}

async function whatIsDue(context: Context, organization: OrganizationDocument): Promise<unknown> {
  const { operation, status, next_placement } = organization;
  if (operation !== null) return resumeExpired(context, organization);
  if (status === 'deleted') return purgeOrganization(context, organization);
  if (status === 'erased') return eraseOrganization(context, organization);
  if (next_placement !== null) return tryOpenMove(context, organization);
}

async function lookForLateWrites(context: Context, now: Date): Promise<Outcome> {
  return guarded(context, 'claims', async () => {
    const filter = { kind: 'collection', due_at: { $lt: now } };
    const claims = await context.master.collections.find(filter, { sort: { due_at: 1 }, limit: CLAIMS });
    if (claims.length > 0) await syncLateWrites(context, claims);
    return claims.length === CLAIMS ? 'full' : 'done';
  });
}

/** After this long, an item that failed is tried again, in milliseconds: until then it is in nobody's way. */
const RETRY_MS = 5 * 60 * 1000;

/**
 * Does it for every document of a page whose time is before the one given, in the order of the times. What fails for one
 * is put off.
 * @returns whether there may be more: of these documents, or for one of them
 */
async function each<T extends Document>(
  context: Context,
  collection: Collection<T>,
  field: string,
  before: Date,
  work: (document: T) => Promise<unknown>,
): Promise<Outcome> {
  return guarded(context, collection.name, async () => {
    const page = await collection.find({ [field]: { $lt: before } } as Filter, { sort: { [field]: 1 }, limit: PAGE });
    const end = context.clock().getTime() + KIND_MS;
    let outcome: Outcome = page.length === PAGE ? 'full' : 'done';
    for (const document of page) {
      if (context.clock().getTime() > end) return 'full';
      try {
        const result = await work(document);
        // Then the rest would fail too.
        if (result === 'mailer_away') return 'done';
        if (result === 'full') outcome = 'full';
      } catch (error) {
        context.log('warn', 'reconcile.item_failed', { collection: collection.name, id: document._id, error });
        const later = new Date(before.getTime() + RETRY_MS);
        const unchanged = { _id: document._id, [field]: document[field] as Scalar };
        await collection.updateOne(unchanged, { $set: { [field]: later } });
      }
    }
    return outcome;
  });
}

async function guarded(context: Context, kind: string, work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    context.log('warn', 'reconcile.kind_failed', { kind, error });
    return 'done';
  }
}

async function removeExpired(context: Context, turn: number, now: Date): Promise<Outcome> {
  const { sessions, idempotency, budgets, mails, checkpoints } = context.master;
  const kinds = [sessions, idempotency, budgets, mails];
  const kind = kinds[turn % (kinds.length + 1)] as unknown as Collection<Expiring> | undefined;
  if (kind !== undefined) {
    const expired = { expires_at: { $lt: now } };
    return guarded(context, 'expired', () => removeInBatches(context, kind, expired, { expires_at: 1 }));
  }
  if (context.settings.auditRetentionMs === 0) return 'done';
  const before = new Date(now.getTime() - context.settings.auditRetentionMs);
  return each(context, checkpoints, 'oldest_at', before, (checkpoint) => removeExpiredEntries(context, checkpoint));
}

type Expiring = { readonly _id: string; readonly expires_at: Date };
