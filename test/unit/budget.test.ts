import { beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import type { Budget, Consumed } from '../../src/domain/rate-limit/budget.ts';
import { consume, consumeInTurn, requireBudget, reset } from '../../src/domain/rate-limit/budget.ts';
import type { Remaining } from '../../src/domain/rate-limit/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, shuffled, virtualTime } from '../support/instance.ts';
import type { CountingExecutor } from '../support/store-calls.ts';
import { countingExecutor } from '../support/store-calls.ts';

const MINUTE_MS = 60_000;
const budget: Budget = { name: 'test', owner: 'someone', limit: { count: 5, seconds: 60 }, grows: true };

let executor: CountingExecutor;
let time: ReturnType<typeof virtualTime>;
let context: Context;
let noted: Remaining[];

beforeEach(async () => {
  executor = countingExecutor(createSqliteExecutor(openSqliteFile(':memory:')));
  time = virtualTime();
  noted = [];
  context = open(executor);
  await createInstance(executor).prepare();
});

const open = (over: CountingExecutor | ReturnType<typeof shuffled>): Context => ({
  ...createInstance(over, {}, { time }).context,
  noteBudget: (remaining) => noted.push(remaining),
});

const times = (count: number, over = context): Promise<Consumed[]> =>
  Promise.all(Array.from({ length: count }, () => consume(over, budget)));
const grantedOf = (consumed: readonly Consumed[]) => consumed.filter(({ granted }) => granted).length;

/** Uses the window up. @returns the seconds to wait */
async function useUp(): Promise<number> {
  expect(grantedOf(await times(9))).toBe(5);
  const refused = await consume(context, budget);
  return refused.granted ? 0 : refused.seconds;
}

describe('a budget', () => {
  test('costs one store call while its window is open, the first attempt included', async () => {
    for (let attempt = 1; attempt <= 5; attempt++) {
      const { result, calls } = await executor.measure(() => consume(context, budget));
      expect(result.granted).toBe(true);
      expect(calls.rounds).toEqual([['findOneAndUpdate budgets']]);
    }
  });

  test('refuses with the time to wait, in two store calls, and changes nothing', async () => {
    await times(5);
    const before = await context.master.budgets.find({});
    const { result, calls } = await executor.measure(() => consume(context, budget));
    expect(result).toEqual({ granted: false, seconds: 60 });
    expect(calls.count).toBe(2);
    expect(noted.at(-1)).toEqual({ name: 'test', limit: budget.limit, left: 0, seconds: 60 });
    expect(await context.master.budgets.find({})).toEqual(before);
  });

  test('tells what is left with each attempt', async () => {
    await consume(context, budget);
    time.advance(20_000);
    await consume(context, budget);
    expect(noted).toEqual([
      { name: 'test', limit: budget.limit, left: 4, seconds: 60 },
      { name: 'test', limit: budget.limit, left: 3, seconds: 40 },
    ]);
  });

  test('grants exactly its count to many at once, in its first window and in the next ones', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const granted = await Promise.all([
        times(20, open(shuffled(executor, seed))),
        times(20, open(shuffled(executor, -seed))),
      ]);
      expect(grantedOf(granted.flat()), `window ${seed}`).toBe(5);
      time.advance(60 * MINUTE_MS);
    }
  });

  test('that grows waits twice as long after each window that was used up, up to an hour', async () => {
    const waits: number[] = [];
    for (let window = 0; window < 8; window++) {
      const seconds = await useUp();
      waits.push(seconds / 60);
      time.advance(seconds * 1000);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });

  test('forgets its growth after a window that was not used up, and after a quiet time', async () => {
    time.advance((await useUp()) * 1000);
    await times(2);
    time.advance(2 * MINUTE_MS);
    expect(await useUp()).toBe(60);
    time.advance(3 * MINUTE_MS);
    expect(await useUp()).toBe(60);
  });

  test('that does not grow waits as long after each window', async () => {
    const steady = { ...budget, grows: false };
    for (let window = 0; window < 5; window++) {
      for (let attempt = 1; attempt <= 5; attempt++) expect((await consume(context, steady)).granted).toBe(true);
      expect(await consume(context, steady)).toEqual({ granted: false, seconds: 60 });
      time.advance(MINUTE_MS);
    }
  });

  test('that is silent tells nothing of what is left', async () => {
    for (let attempt = 1; attempt <= 6; attempt++) await consume(context, { ...budget, silent: true });
    expect(noted).toEqual([]);
  });

  test('that refuses keeps the caller from the ones after it', async () => {
    const [small, large] = [budget, { name: 'large', owner: 'everyone', limit: { count: 7, seconds: 60 } }];
    for (let attempt = 1; attempt <= 20; attempt++) await consumeInTurn(context, [small, large]);
    expect((await context.master.budgets.find({})).map(({ used }) => used).sort()).toEqual([5, 5]);
    const other = { ...small, owner: 'another' };
    for (let attempt = 1; attempt <= 2; attempt++) await requireBudget(context, other, large);
    await expect(requireBudget(context, other, large)).rejects.toMatchObject({ code: 'too_many_requests' });
  });

  test('has an attempt more after a refund, and all of them after a reset', async () => {
    const [first] = await times(5);
    if (first?.granted !== true) throw new Error('It was refused.');
    await first.refund();
    expect(grantedOf(await times(3))).toBe(1);
    await reset(context, budget);
    expect(grantedOf(await times(9))).toBe(5);
  });

  test('takes no refund of a window that is over', async () => {
    const first = await consume(context, budget);
    time.advance(MINUTE_MS);
    await times(5);
    if (first.granted) await first.refund();
    expect(grantedOf(await times(2))).toBe(0);
  });

  test('without a limit grants everything and asks nothing of the store', async () => {
    const { calls } = await executor.measure(() => consume(context, { ...budget, limit: null }));
    expect(calls.count).toBe(0);
  });
});
