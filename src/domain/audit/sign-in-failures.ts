/**
 * Failed sign-ins are counted by account and address before they are recorded, so that an attacker cannot make the log
 * grow at will: one entry stands for all of some time. A failure for an account that does not exist costs the same one
 * write; it is counted nowhere else, as it is of no organization.
 */
import type { Index } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { AuditAction } from './event.ts';
import { record } from './record.ts';

/** Failures of one account from one address that are not in the log yet. */
export type SignInFailures = {
  readonly _id: string;
  /** The account's; empty for one that does not exist. */
  readonly organization_id: string;
  readonly admin_id: string;
  readonly action: FailureAction;
  /** Of the entry that they will be recorded in. */
  readonly event_id: string;
  readonly count: number;
  readonly address: string | null;
  /** The last one's. */
  readonly request_id: string;
  readonly first_at: Date;
  readonly last_at: Date;
};

export const SIGN_IN_FAILURE_INDEXES: readonly Index[] = [
  { name: 'organization_id', key: { organization_id: 1 } },
  { name: 'first_at', key: { first_at: 1 } },
];

/** How long failures are counted together, unless someone looks at the log before. */
const COUNTED_MS = 15 * 60 * 1000;

const ATTEMPTS = 5;

export type FailureAction = Extract<AuditAction, 'session.sign_in_failed' | 'session.sign_in_throttled'>;

export type FailedAccount = { readonly organization_id: string; readonly _id: string };

/**
 * Counts a failed sign-in: for each account that was tried, or for the one that was looked for and is not there.
 * @param wanted what was looked for, in the same words for the same account
 */
export async function countFailedSignIn(
  context: Context,
  wanted: string,
  accounts: readonly FailedAccount[],
  action: FailureAction = 'session.sign_in_failed',
): Promise<void> {
  const tried = accounts.length > 0 ? accounts : [{ organization_id: '', _id: '' }];
  await Promise.all(tried.map((account) => count(context, wanted, account, action)));
}

async function count(context: Context, wanted: string, account: FailedAccount, action: FailureAction): Promise<void> {
  const { request, clock, keyedHash, newId, master } = context;
  const now = clock();
  const _id = keyedHash(JSON.stringify([action, account._id || wanted, request.address]));
  for (let attempt = 1; ; attempt++) {
    try {
      await master.sign_in_failures.updateOne(
        { _id },
        {
          $inc: { count: 1 },
          $set: { last_at: now, request_id: request.id },
          $setOnInsert: {
            organization_id: account.organization_id,
            admin_id: account._id,
            action,
            event_id: newId(),
            address: request.address,
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

/** Records the failures of an organization's accounts up to now, for whoever is about to look at the log. */
export async function recordFailuresOf(context: Context, organizationId: string): Promise<void> {
  // Twice: where one died between recording some and counting on, what came since is left by the first round.
  for (let round = 0; round < 2; round++) {
    for (const failures of await context.master.sign_in_failures.find({ organization_id: organizationId })) {
      await recordFailures(context, failures);
    }
  }
}

/** What has been counted for long enough. */
export const countedLongEnough = ({ clock }: Context) => ({
  first_at: { $lt: new Date(clock().getTime() - COUNTED_MS) },
});

/** Records failures in one entry, and counts on from there. */
export async function recordFailures(context: Context, failures: SignInFailures): Promise<void> {
  const { sign_in_failures } = context.master;
  const { _id, organization_id, admin_id, action, event_id, count: counted, address, request_id, last_at } = failures;
  if (organization_id === '') {
    await sign_in_failures.deleteOne({ _id, event_id });
    return;
  }
  const note = {
    action,
    actor: 'anonymous',
    target: admin_id,
    address,
    request_id,
    at: last_at,
  } as const;
  const entry = await record(context, organization_id, event_id, note, { outcome: 'failure', count: counted });
  // What was counted meanwhile, by others or after one who died here, is of the next entry.
  const removed = await persist(() => sign_in_failures.deleteOne({ _id, event_id, count: entry.count }));
  if (removed === 1) return;
  await persist(() =>
    sign_in_failures.updateOne(
      { _id, event_id },
      { $inc: { count: -entry.count }, $set: { event_id: context.newId(), first_at: context.clock() } },
    ),
  );
}
