import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import type { Random } from './random.ts';

/**
 * What becomes of a step whose turn has come. `unavailable`: it is not done, and fails. `lost`: it is done, and its
 * reply is lost. `void`: it is not done, and nobody can tell. `late`: nobody can tell, and it is done some time later.
 */
export type Fate = 'done' | 'unavailable' | 'lost' | 'void' | 'late' | 'crash-before' | 'crash-after';

/** How often something goes wrong, as probabilities at each step. */
export type FaultRates = {
  /** A task is paused for a while. */
  readonly freeze: number;
  /** The clock leaps past every lease. */
  readonly leap: number;
  /** A task ends, or all tasks of its instance. */
  readonly crash: number;
  /** A step fails or its reply is lost. */
  readonly fault: number;
};

/** One run of some code that can be interleaved with others, and that can end at any of its steps. */
export type Task = { readonly name: string; readonly instance: number };

export type Scheduler = {
  /** The scheduler's own time: it passes by steps, sleeps and leaps, never by itself. */
  now(): Date;
  /** The number of the event that happens now: no two are the same. */
  tick(): number;
  /** The task that the calling code is part of. */
  current(): Task | undefined;
  /** Runs `work` as a task of its own. Resolves to undefined when the task ended by a crash. */
  start<T>(task: Task, work: () => Promise<T>): Promise<{ readonly value: T } | undefined>;
  /** Waits for the turn of a step of the current task. Never resolves when the task ends before. */
  turn(what: string, options: { readonly write: boolean }): Promise<Fate>;
  /** Ends the current task: what it awaits now never resolves. */
  end(): Promise<never>;
  /** Has something done at some later step, outside of any task. */
  later(what: string, work: () => Promise<unknown>): void;
  wait(ms: number): Promise<void>;
  /** Lets one step happen at a time until no task is left. */
  run(): Promise<void>;
  /** Whether, from here on, nothing fails and nothing is held. */
  calm(calm: boolean): void;
  /** Every step that happened, in order. */
  readonly trace: readonly string[];
};

const STEP_MS = 5;
const LEAP_MS = 2500;
/** Real time without a step, in milliseconds, after which a task counts as stuck. */
const STUCK_MS = 60_000;
const never = new Promise<never>(() => {});

let pendingCrypto = 0;

/** WebCrypto works on other threads: while it does, a task that waits for a step too is still running. */
function countCrypto(): void {
  const subtle = SubtleCrypto.prototype as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of ['digest', 'sign', 'verify', 'importKey', 'deriveBits', 'encrypt', 'decrypt']) {
    const original = subtle[name];
    if (original === undefined || COUNTED in original) continue;
    const counted = async function (this: unknown, ...args: unknown[]): Promise<unknown> {
      pendingCrypto++;
      try {
        return await original.apply(this, args);
      } finally {
        pendingCrypto--;
      }
    };
    subtle[name] = Object.assign(counted, { [COUNTED]: true });
  }
}

const COUNTED = Symbol('counted');

type RunningTask = Task & {
  ended: boolean;
  /** Steps that wait for their turn, and sleeps. With none of them, its code is running. */
  waiting: number;
  frozenUntil: number;
  weight: number;
  crash: () => void;
};

type Step = {
  readonly running: RunningTask;
  readonly what: string;
  readonly write: boolean;
  readonly go: (fate: Fate) => void;
};

/**
 * Interleaves the steps of several tasks. A step waits until a seeded generator chooses it among all that wait. The next
 * one is chosen only when the code after the last one has come to rest. So the same seed gives the same run. Single
 * process, no real time.
 */
export function createScheduler(random: Random, rates: FaultRates): Scheduler {
  countCrypto();
  const storage = new AsyncLocalStorage<RunningTask>();
  const trace: string[] = [];
  const tasks = new Set<RunningTask>();
  let steps: Step[] = [];
  let sleeps: { readonly running: RunningTask; readonly until: number; readonly wake: () => void }[] = [];
  let now = Date.UTC(2026, 0, 1);
  let ticks = 0;
  let calm = false;

  const happens = (probability: number): boolean => !calm && random.chance(probability);

  const join = (task: Task, crash: () => void): RunningTask => {
    const running: RunningTask = { ...task, ended: false, waiting: 0, frozenUntil: 0, weight: weigh(random), crash };
    tasks.add(running);
    return running;
  };
  const leave = (running: RunningTask): void => {
    running.ended = true;
    tasks.delete(running);
    steps = steps.filter((step) => step.running !== running);
    sleeps = sleeps.filter((sleep) => sleep.running !== running);
  };
  const crash = (running: RunningTask): void => {
    // A process takes all that it does with it.
    const fallen = random.chance(0.5) ? [...tasks].filter(({ instance }) => instance === running.instance) : [running];
    for (const one of fallen) {
      trace.push(`${one.name}: CRASH`);
      leave(one);
      one.crash();
    }
  };
  const waitFor = (running: RunningTask, what: string, write: boolean): Promise<Fate> => {
    if (running.ended) return never;
    running.waiting++;
    return new Promise((resolve) => {
      steps.push({ running, what, write, go: resolve });
    });
  };

  const settled = async (): Promise<void> => {
    const start = performance.now();
    for (;;) {
      await nextTurnOfLoop();
      const busy = [...tasks].find(({ waiting }) => waiting === 0);
      if (busy === undefined && pendingCrypto === 0) return;
      if (performance.now() - start > STUCK_MS)
        throw new Error(`${busy?.name} neither ends nor comes to its next step.`);
    }
  };

  const choose = (): Step | undefined => {
    const awake = steps.filter(({ running }) => calm || running.frozenUntil <= ticks);
    const eligible = awake.length > 0 || sleeps.length > 0 ? awake : steps;
    let point = random.next() * eligible.reduce((sum, { running }) => sum + running.weight, 0);
    for (const step of eligible) {
      point -= step.running.weight;
      if (point < 0) return step;
    }
    return eligible.at(-1);
  };

  const fateOf = ({ running, write }: Step): Fate => {
    if (running.instance < 0) return 'done';
    if (happens(rates.crash)) return random.pick(['crash-before', 'crash-after']);
    if (!happens(rates.fault)) return 'done';
    return write ? random.pick(['unavailable', 'lost', 'void', 'late']) : 'unavailable';
  };

  const wakeTheRested = (): void => {
    for (const sleep of sleeps.filter(({ until }) => until <= now)) {
      steps.push({ running: sleep.running, what: 'wakes', write: false, go: sleep.wake });
    }
    sleeps = sleeps.filter(({ until }) => until > now);
  };

  const act = (step: Step): void => {
    const isStep = step.what !== 'wakes' && step.what !== 'begins';
    const fate = isStep ? fateOf(step) : 'done';
    steps = steps.filter((other) => other !== step);
    trace.push(`${step.running.name}: ${step.what}${fate === 'done' ? '' : ` (${fate})`}`);
    if (fate === 'crash-before') {
      crash(step.running);
      return;
    }
    step.running.waiting--;
    step.go(fate);
  };

  return {
    trace,
    now: () => new Date(now),
    tick: () => ++ticks,
    current: () => storage.getStore(),
    start: (task, work) =>
      new Promise((resolve, reject) => {
        const running = join(task, () => resolve(undefined));
        const begun = waitFor(running, 'begins', false);
        storage
          .run(running, () => begun.then(work))
          .then(
            (value) => {
              if (running.ended) return;
              leave(running);
              resolve({ value });
            },
            (error: unknown) => {
              leave(running);
              reject(error);
            },
          );
      }),
    turn: (what, { write }) => {
      const running = storage.getStore();
      return running === undefined ? Promise.resolve('done') : waitFor(running, what, write);
    },
    end: () => {
      const running = storage.getStore();
      if (running !== undefined && !running.ended) crash(running);
      return never;
    },
    later: (what, work) => {
      const running = join({ name: 'late', instance: -1 }, () => {});
      const done = waitFor(running, what, true).then(work);
      done.then(
        () => leave(running),
        () => leave(running),
      );
    },
    wait: (ms) => {
      const running = storage.getStore();
      if (running === undefined) {
        now += ms;
        return Promise.resolve();
      }
      if (running.ended) return never;
      running.waiting++;
      return new Promise((resolve) => {
        sleeps.push({ running, until: now + ms, wake: resolve });
      });
    },
    calm: (yes) => {
      calm = yes;
    },
    run: async () => {
      for (;;) {
        await settled();
        wakeTheRested();
        if (tasks.size === 0) return;
        const step = choose();
        if (step === undefined) {
          now = Math.min(...sleeps.map(({ until }) => until));
          continue;
        }
        ticks++;
        now += STEP_MS;
        if (happens(rates.leap)) now += LEAP_MS;
        if (happens(rates.freeze)) random.pick(steps).running.frozenUntil = ticks + 5 + random.below(80);
        if (random.chance(0.1)) step.running.weight = weigh(random);
        act(step);
      }
    },
  };
}

/** Some are faster than others, for a while: what is even never lets one do much while another does nothing. */
const weigh = (random: Random): number => random.pick([1, 1, 4, 16]);
