import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CommandOf, Executor, Op, Results } from '../../src/store/port.ts';

/** The store calls that some work made. Calls that were under way at the same time are one round. */
export type StoreCalls = { readonly rounds: readonly (readonly string[])[]; readonly count: number };

export type CountingExecutor = Executor & {
  /** The calls of this work, and its result. */
  measure<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly calls: StoreCalls }>;
};

type Waiting = { readonly call: string; run(): Promise<unknown> };

/**
 * Counts calls and rounds over any store. A round's calls are held until nothing else goes on: no further call can come
 * before one of them is answered. What Web Crypto does takes turns of its own, so it is waited for as well.
 */
export function countingExecutor(executor: Executor): CountingExecutor {
  let rounds: string[][] | undefined;
  let waiting: Waiting[] = [];
  let isReleasing = false;
  const release = async () => {
    if (isReleasing) return;
    isReleasing = true;
    while (waiting.length > 0) {
      for (let held = -1; held !== waiting.length || cryptoUnderWay > 0; ) {
        held = waiting.length;
        await nextTurn();
      }
      const round = waiting;
      waiting = [];
      rounds?.push(round.map(({ call }) => call));
      await Promise.all(round.map(({ run }) => run()));
    }
    isReleasing = false;
  };
  return {
    limits: executor.limits,
    close: () => executor.close(),
    execute: <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      if (rounds === undefined) return executor.execute(command);
      return new Promise((resolve, reject) => {
        const { op, collection }: { op: string; collection?: string } = command;
        const run = () => executor.execute<O>(command).then(resolve, reject);
        waiting.push({ call: collection === undefined ? op : `${op} ${collection}`, run });
        void release();
      });
    },
    measure: async (work) => {
      countCrypto();
      rounds = [];
      try {
        const result = await work();
        return { result, calls: { rounds, count: rounds.flat().length } };
      } finally {
        rounds = undefined;
      }
    },
  };
}

let cryptoUnderWay = 0;
let isCounted = false;

/** Counts what Web Crypto has under way, from now on. */
function countCrypto(): void {
  if (isCounted) return;
  isCounted = true;
  const subtle = crypto.subtle as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of ['digest', 'encrypt', 'decrypt', 'importKey', 'sign', 'verify']) {
    const original = subtle[name];
    if (original === undefined) continue;
    Object.defineProperty(subtle, name, {
      configurable: true,
      writable: true,
      value: async (...args: unknown[]) => {
        cryptoUnderWay++;
        try {
          return await original.apply(crypto.subtle, args);
        } finally {
          cryptoUnderWay--;
        }
      },
    });
  }
}
