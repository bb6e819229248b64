/**
 * Failed sign-ins are counted before they are recorded, so that no stranger can make the log grow without bound: one
 * entry stands for all of an hour. An account has few counters, whatever addresses the failures come from: the block of
 * the address decides which of them counts. A failure for an account that does not exist costs the same one write, and
 * is never recorded: it is of no organization. A count is not sealed until it is recorded.
 */
import { isStoreError } from '../../store/port.ts';
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';
import type { Outcome } from '../in-batches.ts';
import { removeInBatches } from '../in-batches.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { blockOf } from '../rate-limit/address.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { concealAddress, newAddressKey } from './address.ts';
import type { Recording } from './record.ts';
import { mayBeRemoved, record } from './record.ts';
import type { SignInFailures } from './schema.ts';
import { AUDIT_ACTIONS } from './schema.ts';
import { sealNote } from './sealing.ts';

/** How long failures are counted together, unless an admin reads the log before. */
const COUNTED_MS = 60 * 60 * 1000;

/** The counters of one account and action; and those of all accounts together that do not exist. */
const SLOTS = 8;
const NOBODYS_SLOTS = 4096;

const ATTEMPTS = 5;

const FAILURES = AUDIT_ACTIONS.filter((action) => action.startsWith('session.sign_in_'));

type FailedAccount = {
  readonly admin: Pick<AdminDocument, '_id'>;
  readonly organization: Pick<OrganizationDocument, '_id' | 'address_key'>;
};

/**
 * Counts a failed sign-in: for each account that was tried, or for the one that was looked for and is not there.
 * @param input.wanted what was looked for, in the same words for the same account
 * @param input.accounts the accounts that were tried; none: there is no such account
 */
export async function countSignInFailure(
  context: Recording,
  input: {
    readonly wanted: string;
    readonly accounts: readonly FailedAccount[];
    readonly action: SignInFailures['action'];
  },
): Promise<void> {
  const { wanted, accounts, action } = input;
  const tried = accounts.length > 0 ? accounts : [undefined];
  await Promise.all(tried.map((account) => count(context, wanted, account, action)));
}

async function count(
  { request, clock, keyedHash, newId, master }: Recording,
  wanted: string,
  account: FailedAccount | undefined,
  action: SignInFailures['action'],
): Promise<void> {
  const now = clock();
  const owner = account?.admin._id ?? '';
  const block = JSON.stringify([owner, blockOf(request.address ?? '')]);
  const [spread, slots] = account === undefined ? [wanted, NOBODYS_SLOTS] : [block, SLOTS];
  const slot = Number.parseInt(keyedHash(`slot ${spread}`).slice(0, 8), 16) % slots;
  const _id = keyedHash(JSON.stringify([action, owner, slot]));
  // The same work for an account that does not exist, of which nothing readable is kept.
  const key = account === undefined ? newAddressKey() : account.organization.address_key;
  const address = await concealAddress(key, request.address);
  for (let attempt = 1; ; attempt++) {
    try {
      await master.signInFailures.updateOne(
        { _id },
        {
          $inc: { count: 1 },
          $set: { last_at: now, request_id: request.id, address: account === undefined ? null : address },
          $setOnInsert: {
            organization_id: account?.organization._id ?? '',
            admin_id: account?.admin._id ?? '',
            action,
            event_id: newId(),
            first_at: now,
          },
        },
        { upsert: true },
      );
      return;
    } catch (error) {
      // Two upserts at once may clash, and the second then finds the first one's document.
      if (attempt === ATTEMPTS || !isStoreError(error, 'DuplicateKey')) throw error;
    }
  }
}

/** Failures that were first counted before this time are to be recorded. */
export const countedSince = ({ clock }: Needs<'clock'>): Date => new Date(clock().getTime() - COUNTED_MS);

/** Records the failures of an organization's accounts up to now: before its log is read, or ends. */
export async function recordSignInFailuresOf(context: Recording, organizationId: string): Promise<void> {
  // Twice: where one died between recording some and counting on, what came since is left by the first round.
  for (let round = 0; round < 2; round++) {
    for (const failures of await context.master.signInFailures.find({ organization_id: organizationId })) {
      await recordSignInFailures(context, failures);
    }
  }
}

/** Records failures in one entry, and counts on from there. */
export async function recordSignInFailures(context: Recording, failures: SignInFailures): Promise<Outcome | undefined> {
  const { signInFailures } = context.master;
  const { _id, organization_id, admin_id, action, event_id, address, request_id } = failures;
  if (organization_id === '') {
    // With it, all that are due: there are thousands, and those of accounts that exist stand behind them.
    if ((await signInFailures.deleteOne({ _id, event_id })) === 0) return undefined;
    const due = { organization_id, first_at: { $lt: countedSince(context) } };
    return removeInBatches(context, signInFailures, due, { first_at: 1 });
  }
  const note = sealNote(context.seals, {
    organization_id,
    // A count is not sealed: it must not take the place of another event.
    event_id: `sign-in-failures:${event_id}`,
    action: FAILURES.includes(action) ? action : 'session.sign_in_failed',
    actor: 'anonymous',
    target: admin_id,
    address,
    request_id,
    outcome: 'failure',
    count: failures.count,
    at: failures.last_at,
  });
  if (await mayBeRemoved(context, note)) {
    // The service stood still for longer than entries are kept.
    await signInFailures.deleteOne({ _id, event_id, last_at: failures.last_at });
    context.log('info', 'audit.sign_in_failures_removed', { organization_id, count: failures.count });
    return;
  }
  const entry = await record(context, note);
  if (entry === undefined) {
    // No id of ours is another entry's: somebody put it there. The count is recorded under a new one, the next time.
    const another = { event_id: context.newId(), first_at: context.clock() };
    await retryOnUnknownOutcome(context, () => signInFailures.updateOne({ _id, event_id }, { $set: another }));
    return;
  }
  // What was counted meanwhile, by others or after one that died here, is of the next entry.
  const removed = await retryOnUnknownOutcome(context, () =>
    signInFailures.deleteOne({ _id, event_id, count: entry.count }),
  );
  if (removed === 1) return;
  await retryOnUnknownOutcome(context, () =>
    signInFailures.updateOne(
      { _id, event_id },
      { $inc: { count: -entry.count }, $set: { event_id: context.newId(), first_at: context.clock() } },
    ),
  );
}
