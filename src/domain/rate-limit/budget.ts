/**
 * Budgets: so many attempts in so many seconds, counted in the shared store, exact however many instances draw on one
 * at once. A budget that was used up has a window twice as long the next time, up to an hour: the waits grow, and
 * nothing is locked for good. A window's length of quiet after it, and all is forgotten.
 */
import type { Index } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';

/** Whose budget it is, and how large. `limit` null: there is none, and every attempt is granted. */
export type Budget = { readonly name: string; readonly owner: string; readonly limit: Limit | null };

/** What came of an attempt: granted, with a way to take it back, or not, with the time to wait. */
export type Draw =
  | { readonly granted: true; giveBack(): Promise<void> }
  | { readonly granted: false; readonly seconds: number };

/** The longest window that grows, in milliseconds. */
const LONGEST_MS = 60 * 60 * 1000;

/** Each turn that is lost was another's who drew: more than this many, and there is no end in sight. */
const MAX_TURNS = 200;

/**
 * Draws one attempt. What is granted is granted by a conditional write: of any number at once, no more than are left.
 * A refusal costs one read.
 * @throws {DomainError} busy
 */
export async function draw(context: Context, budget: Budget): Promise<Draw> {
  const { name, limit } = budget;
  if (limit === null) return { granted: true, giveBack: async () => {} };
  const { budgets } = context.master;
  const _id = budgetId(context, budget);
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    const now = context.clock();
    const last = await budgets.findOne({ _id });
    const isOpen = last !== undefined && last.ends_at > now;
    if (isOpen && last.used >= limit.count) return refuse(context, { name, limit, left: 0 }, last, now);
    const window = isOpen ? await drawFrom(context, last, limit) : await openNext(context, _id, last, limit, now);
    if (window === undefined) continue;
    const { ends_at, used } = window;
    context.noteBudget({ name, limit, left: limit.count - used, seconds: secondsUntil(ends_at, now) });
    return {
      granted: true,
      giveBack: async () => {
        await budgets.updateOne({ _id, ends_at, used: { $gt: 0 } }, { $inc: { used: -1 } });
      },
    };
  }
  throw new DomainError('busy', 'Too many at once. Try again.');
}

/** Forgets a budget's window and its strikes. */
export async function reset(context: Context, budget: Budget): Promise<void> {
  if (budget.limit !== null) await context.master.budgets.deleteOne({ _id: budgetId(context, budget) });
}

/** The refusal of one who has to wait. */
export const tooManyRequests = (seconds: number): DomainError =>
  new DomainError('too_many_requests', `Too many attempts. Try again in ${seconds} s.`, {
    retryAfterSeconds: seconds,
  });

function refuse(context: Context, remaining: Omit<Remaining, 'seconds'>, { ends_at }: BudgetDocument, now: Date): Draw {
  const { id, address } = context.request;
  const seconds = secondsUntil(ends_at, now);
  context.noteBudget({ ...remaining, seconds });
  context.log('warn', 'throttle.refused', { request_id: id, budget: remaining.name, address, seconds });
  return { granted: false, seconds };
}

/** One more from a window that is open; undefined when others were faster. */
const drawFrom = (context: Context, { _id, ends_at }: BudgetDocument, { count }: Limit) =>
  context.master.budgets.findOneAndUpdate({ _id, ends_at, used: { $lt: count } }, { $inc: { used: 1 } });

/** The first of a new window; undefined when others were faster. */
async function openNext(
  context: Context,
  _id: string,
  last: BudgetDocument | undefined,
  limit: Limit,
  now: Date,
): Promise<BudgetDocument | undefined> {
  const { budgets } = context.master;
  if (last === undefined) {
    const first: BudgetDocument = { _id, used: 1, ...windowFrom(now, limit, 0) };
    try {
      await budgets.insertOne(first);
      return first;
    } catch (error) {
      if (!isStoreError(error, 'DuplicateKey')) throw error;
      return undefined;
    }
  }
  const strikes = last.expires_at > now && last.used >= limit.count ? last.strikes + 1 : 0;
  const next = { used: 1, ...windowFrom(now, limit, strikes) };
  const { matched } = await budgets.updateOne({ _id, ends_at: last.ends_at, used: last.used }, { $set: next });
  return matched === 0 ? undefined : { _id, ...next };
}

function windowFrom(now: Date, { seconds }: Limit, strikes: number): Omit<BudgetDocument, '_id' | 'used'> {
  const ms = Math.max(seconds * 1000, Math.min(seconds * 1000 * 2 ** strikes, LONGEST_MS));
  return {
    strikes,
    ends_at: new Date(now.getTime() + ms),
    expires_at: new Date(now.getTime() + 2 * ms),
  };
}

const secondsUntil = (end: Date, now: Date): number => Math.max(1, Math.ceil((end.getTime() - now.getTime()) / 1000));

const budgetId = (context: Context, { name, owner }: Budget): string => context.keyedHash(`budget ${name} ${owner}`);
