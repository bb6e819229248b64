import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CallLimiter } from '../../src/store/mongo/call-limiter.ts';

const late = () => new Error('late');

/** Work that ends when the test says so. */
const work = () => {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  return { run: vi.fn(() => promise), resolve, reject };
};

const outcomeOf = (promise: Promise<unknown>) =>
  promise.then(
    (value) => value,
    (error: Error) => error.message,
  );

describe('calls to MongoDB', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('run at once up to their number, and one after another from there', async () => {
    const limiter = new CallLimiter(2);
    const works = [work(), work(), work()];
    const calls = works.map(({ run }) => limiter.run(1000, run, late));
    expect(works.map(({ run }) => run.mock.calls.length)).toEqual([1, 1, 0]);
    works[0]?.resolve('first');
    await calls[0];
    await vi.advanceTimersByTimeAsync(0);
    expect(works[2]?.run).toHaveBeenCalledOnce();
    works[1]?.reject(new Error('second'));
    works[2]?.resolve('third');
    expect(await Promise.all(calls.map(outcomeOf))).toEqual(['first', 'second', 'third']);
  });

  test('end when their time is up, with what their caller says', async () => {
    const limiter = new CallLimiter(1);
    const call = outcomeOf(limiter.run(300, work().run, late));
    await vi.advanceTimersByTimeAsync(350);
    expect(await call).toBe('late');
  });

  test('that have not begun when their time is up never begin: nothing happened', async () => {
    const limiter = new CallLimiter(1);
    const [busy, waiting] = [work(), work()];
    const first = limiter.run(1000, busy.run, late);
    const second = outcomeOf(limiter.run(300, waiting.run, late));
    await vi.advanceTimersByTimeAsync(350);
    expect(await second).toBe('late');
    busy.resolve('done');
    await first;
    await vi.advanceTimersByTimeAsync(100);
    expect(waiting.run).not.toHaveBeenCalled();
  });

  test('that are late keep their place until their work has ended', async () => {
    const limiter = new CallLimiter(1);
    const [slow, next] = [work(), work()];
    const first = outcomeOf(limiter.run(100, slow.run, late));
    const second = limiter.run(1000, next.run, late);
    await vi.advanceTimersByTimeAsync(150);
    expect(await first).toBe('late');
    expect(next.run).not.toHaveBeenCalled();
    slow.resolve('too late');
    await vi.advanceTimersByTimeAsync(0);
    expect(next.run).toHaveBeenCalledOnce();
    next.resolve('second');
    expect(await second).toBe('second');
  });

  test('may have no time of their own', async () => {
    const limiter = new CallLimiter(1);
    const long = work();
    const call = limiter.run(undefined, long.run, late);
    await vi.advanceTimersByTimeAsync(1_000_000);
    long.resolve('done');
    expect(await call).toBe('done');
  });

  test('leave no timer behind', async () => {
    const limiter = new CallLimiter(1);
    const done = work();
    const call = limiter.run(1000, done.run, late);
    done.resolve('done');
    await call;
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
