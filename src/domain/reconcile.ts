import type { Document, Filter } from '../../store/port.ts';
import type { Collection } from '../../store/store.ts';
import { settleDue } from '../audit/due.ts';
import { countedLongEnough, recordFailures } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { sendDueMails } from '../mail/outbox.ts';
import { releaseClaims } from './claims.ts';
import { eraseOrganization, purge } from './erase.ts';
import { recoverStale } from './lifecycle.ts';
import { clearAsides, sweep } from './sweep.ts';

const PAGE = 200;

/**
 * Brings everything that was left open to its end: operations whose lease has run out, collections that late writers
 * brought back, and what an instance paused past its lease left without an owner. Any number of instances may run it
 * at once, and any of them may die in it.
 * @returns whether a copy of documents is under way that anyone may go on with at once
 * @param thorough look for leftovers of any age, not of the last while only: at start, and now and then
 */
export async function reconcile(context: Context, { thorough }: { thorough: boolean }): Promise<boolean> {
  const { organizations, admins, claims, sessions, mails, idempotency, sign_in_failures, budgets } = context.master;
  const now = context.clock();
  const until = new Date(now.getTime() + context.settings.copyWaitMs);
  await each(context, organizations, { lease_until: { $lt: now } }, (organization) =>
    recoverStale(context, organization, until),
  );
  await each(context, claims, { state: 'quarantined' }, (claim) => sweep(context, claim));
  await clearAsides(context);
  await each(context, organizations, { purge_at: { $lt: now } }, (organization) => purge(context, organization));
  await claims.deleteMany({ state: 'leased', until: { $lt: now } });
  await clearOrphans(context, thorough);
  const sincePausedAtMost = new Date(now.getTime() - context.settings.leaseMs);
  await each(context, admins, { audit_due_at: { $lt: sincePausedAtMost } }, ({ _id }) => settleDue(context, _id));
  await each(context, sign_in_failures, countedLongEnough(context), (failures) => recordFailures(context, failures));
  await sessions.deleteMany({ expires_at: { $lt: now } });
  await idempotency.deleteMany({ expires_at: { $lt: now } });
  await budgets.deleteMany({ expires_at: { $lt: now } });
  await mails.deleteMany({ expires_at: { $lt: now } });
  await sendDueMails(context);
  const left = { lease_until: { $lt: context.clock() }, 'operation.step': 'copying' };
  return (await organizations.count(left, { limit: 1 })) > 0;
}

/** A process that was paused past its lease may have gone on with a step after others had cleared up behind it. */
async function clearOrphans(context: Context, thorough: boolean): Promise<void> {
  const { claims, admins, organizations } = context.master;
  const { leaseMs, quarantineMs } = context.settings;
  const now = context.clock().getTime();
  const since = thorough ? new Date(0) : new Date(now - quarantineMs - 2 * leaseMs);
  const aged = { created_at: { $gt: since, $lt: new Date(now - leaseMs) } };
  const cleared = new Set<string>();
  await each(context, claims, { ...aged, state: 'held' }, async ({ organization_id }) => {
    if (cleared.has(organization_id)) return;
    cleared.add(organization_id);
    await releaseClaims(context, organization_id);
  });
  await each(context, admins, aged, async ({ organization_id }) => {
    const owner = await organizations.findOne({ _id: organization_id }, { projection: { status: 1 } });
    if (owner === undefined) await eraseOrganization(context, organization_id);
  });
  await clearOrphanSessions(context, since);
}

/** Sessions that a sign-in opened after their admin was gone. */
async function clearOrphanSessions(context: Context, since: Date): Promise<void> {
  const { sessions, admins } = context.master;
  const { leaseMs, sessionSeconds } = context.settings;
  const ends = (opened: number) => new Date(opened + sessionSeconds.absolute * 1000);
  const aged = { expires_at: { $gt: ends(since.getTime()), $lt: ends(context.clock().getTime() - leaseMs) } };
  for await (const page of pages(sessions, aged)) {
    const there = await admins.find(
      { _id: { $in: page.map(({ admin_id }) => admin_id) } },
      { projection: { organization_id: 1 } },
    );
    const known = new Set(there.map(({ _id }) => _id));
    const orphans = page.filter(({ admin_id }) => !known.has(admin_id)).map(({ _id }) => _id);
    if (orphans.length > 0) await sessions.deleteMany({ _id: { $in: orphans } });
  }
}

/** Does it for every document that matches, page by page; what fails for one is logged, and tried again next time. */
async function each<T extends Document>(
  context: Context,
  collection: Collection<T>,
  filter: Filter,
  work: (document: T) => Promise<unknown>,
): Promise<void> {
  for await (const page of pages(collection, filter)) {
    for (const document of page) {
      try {
        await work(document);
      } catch (error) {
        context.log('warn', 'reconcile.left', { collection: collection.name, id: document._id, error });
      }
    }
  }
}

async function* pages<T extends Document>(collection: Collection<T>, filter: Filter): AsyncIterable<readonly T[]> {
  let after = '';
  for (;;) {
    const page = await collection.find({ $and: [filter, { _id: { $gt: after } }] }, { sort: { _id: 1 }, limit: PAGE });
    yield page;
    after = page.at(-1)?._id ?? after;
    if (page.length < PAGE) return;
  }
}
