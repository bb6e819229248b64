/**
 * Budgets: a number of attempts in a number of seconds, counted in the shared store. The count is exact when several
 * instances consume one budget at the same time. Where a budget grows, the window that follows a used-up window is twice
 * as long, up to an hour: the waits grow, and nothing is locked for good. After a quiet time of one window's length, the
 * growth is forgotten.
 */
import { isStoreError } from '../../store/port.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { BudgetDocument, Limit, Remaining } from './schema.ts';

/** Whose budget it is, and how large it is. */
export type Budget = {
  readonly name: string;
  readonly owner: string;
  /** Null: there is none, and every attempt is granted. */
  readonly limit: Limit | null;
  /** Its windows grow: one account is guessed at, from one device, address or block of addresses. */
  readonly grows?: boolean;
  /** The answer's headers do not tell of it. */
  readonly silent?: boolean;
};

/** The result of an attempt: granted, with a way to refund it; or refused, with the time to wait. */
export type Consumed =
  | { readonly granted: true; refund(): Promise<void> }
  | { readonly granted: false; readonly seconds: number };

/** What budgets need of the context. */
export type BudgetContext = Needs<'master' | 'clock' | 'keyedHash' | 'request' | 'noteBudget' | 'log' | 'settings'>;

/** The longest window that growth leads to, in milliseconds. */
const LONGEST_MS = 60 * 60 * 1000;

/** Each lost try was won by another request. */
const MAX_TRIES = 200;

/**
 * Consumes one attempt, by one conditional write while the window is open. Of any number of requests at once, no more
 * are granted than are left.
 * @throws {DomainError} busy
 */
export async function consume(context: BudgetContext, budget: Budget): Promise<Consumed> {
  const { limit } = budget;
  if (limit === null) return { granted: true, refund: async () => {} };
  const { budgets } = context.master;
  const _id = budgetId(context, budget);
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const now = context.clock();
    let window = await consumeOpen(context, _id, limit, now);
    if (window === undefined) {
      const last = await budgets.findOne({ _id });
      if (last === undefined) continue;
      if (last.ends_at > now) {
        if (last.used >= limit.count) return refuse(context, budget, limit, last, now);
        continue;
      }
      window = await openNext(context, last, { limit, grows: budget.grows === true }, now);
      if (window === undefined) continue;
    }
    const { ends_at, used } = window;
    note(context, budget, { limit, left: limit.count - used, seconds: secondsUntil(ends_at, now) });
    return {
      granted: true,
      refund: async () => {
        await budgets.updateOne({ _id, ends_at, used: { $gt: 0 } }, { $inc: { used: -1 } });
      },
    };
  }
  throw new DomainError('busy', 'Too many requests use this limit at the same time. Try again.');
}

/**
 * Consumes one attempt of each budget, one after the other, up to the first that refuses: a caller who has used up one
 * budget draws nothing from the later ones.
 * @throws {DomainError} busy
 */
export async function consumeInTurn(context: BudgetContext, budgets: readonly Budget[]): Promise<Consumed[]> {
  const consumed: Consumed[] = [];
  for (const budget of budgets) {
    const last = await consume(context, budget);
    consumed.push(last);
    if (!last.granted) break;
  }
  return consumed;
}

/** Removes a budget's window and its growth: the next attempt begins anew. */
export async function reset(context: Needs<'master' | 'keyedHash'>, budget: Budget): Promise<void> {
  if (budget.limit !== null) await context.master.budgets.deleteOne({ _id: budgetId(context, budget) });
}

/**
 * Consumes one attempt of each budget, or refuses: see {@link consumeInTurn}.
 * @throws {DomainError} too_many_requests, busy
 */
export async function requireBudget(context: BudgetContext, ...budgets: readonly Budget[]): Promise<void> {
  const last = (await consumeInTurn(context, budgets)).at(-1);
  if (last?.granted === false) throw tooManyRequests(last.seconds);
}

/** A limit of so many times as many attempts. */
export const multiplied = (limit: Limit | null, factor: number): Limit | null =>
  limit === null ? null : { ...limit, count: limit.count * factor };

export const tooManyRequests = (seconds: number): DomainError =>
  new DomainError('too_many_requests', `Too many attempts. Try again in ${seconds} s.`, {
    retryAfterSeconds: seconds,
  });

/** One attempt of the open window, or of the first window; undefined when the window is full, or is over. */
async function consumeOpen(
  { master }: BudgetContext,
  _id: string,
  limit: Limit,
  now: Date,
): Promise<BudgetDocument | undefined> {
  const first = windowFrom(now, limit, 0);
  try {
    const window = await master.budgets.findOneAndUpdate(
      { _id, ends_at: { $gt: now }, used: { $lt: limit.count } },
      { $inc: { used: 1 }, $setOnInsert: first },
      { upsert: true },
    );
    // The attempt is consumed. SecantusDB returns no document where several requests open the first window at once.
    return window ?? (await master.budgets.findOne({ _id })) ?? { _id, used: limit.count, ...first };
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    return undefined;
  }
}

/** The first attempt of the window after one that is over; undefined when another request was faster. */
async function openNext(
  { master }: BudgetContext,
  last: BudgetDocument,
  { limit, grows }: { readonly limit: Limit; readonly grows: boolean },
  now: Date,
): Promise<BudgetDocument | undefined> {
  const { _id, ends_at, used } = last;
  const level = grows && last.expires_at > now && used >= limit.count ? last.backoff_level + 1 : 0;
  const next = { used: 1, ...windowFrom(now, limit, level) };
  const { matched } = await master.budgets.updateOne({ _id, ends_at, used }, { $set: next });
  return matched === 0 ? undefined : { _id, ...next };
}

function refuse(
  context: BudgetContext,
  budget: Budget,
  limit: Limit,
  { ends_at }: BudgetDocument,
  now: Date,
): Consumed {
  const { id, address } = context.request;
  const seconds = secondsUntil(ends_at, now);
  note(context, budget, { limit, left: 0, seconds });
  context.log('warn', 'rate_limit.refused', { request_id: id, budget: budget.name, address, seconds });
  return { granted: false, seconds };
}

function note(context: BudgetContext, { name, silent }: Budget, remaining: Omit<Remaining, 'name'>): void {
  if (silent !== true) context.noteBudget({ name, ...remaining });
}

function windowFrom(now: Date, { seconds }: Limit, level: number): Omit<BudgetDocument, '_id' | 'used'> {
  const ms = Math.max(seconds * 1000, Math.min(seconds * 1000 * 2 ** level, LONGEST_MS));
  return {
    backoff_level: level,
    ends_at: new Date(now.getTime() + ms),
    expires_at: new Date(now.getTime() + 2 * ms),
  };
}

const secondsUntil = (end: Date, now: Date): number => Math.max(1, Math.ceil((end.getTime() - now.getTime()) / 1000));

const budgetId = ({ keyedHash }: Needs<'keyedHash'>, { name, owner }: Budget): string =>
  keyedHash(`budget ${name} ${owner}`);
