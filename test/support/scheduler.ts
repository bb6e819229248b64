import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import type { Random } from './random.ts';

/**
 * What becomes of a step whose turn has come. `unavailable`: it is not done, and fails. `lost`: it is done, and its
 * reply is lost. `void`: it is not done, and nobody can tell. `late`: nobody can tell, and it is done some time later.
 */
export type Fate = 'done' | 'unavailable' | 'lost' | 'void' | 'late' | 'crash-before' | 'crash-after';

/** How rough the world is, as probabilities at each step. */
export type Weather = {
  /** A life is held still for a while, as a process that is paused is. */
  readonly freeze: number;
  /** The clock leaps past every lease. */
  readonly leap: number;
  /** A life ends, or all of its instance. */
  readonly crash: number;
  /** A step fails or its reply is lost. */
  readonly fault: number;
};

/** One run of some code that can be interleaved with others, and that can end at any of its steps. */
export type Life = { readonly name: string; readonly instance: number };

export type Scheduler = {
  /** The scheduler's own time: it passes by steps, sleeps and leaps, never by itself. */
  now(): Date;
  /** The number of the event that happens now: no two are the same. */
  tick(): number;
  /** The life that the calling code is part of. */
  current(): Life | undefined;
  /** Runs `work` as a life of its own. Resolves to undefined when the life ended by a crash. */
  live<T>(life: Life, work: () => Promise<T>): Promise<{ readonly value: T } | undefined>;
  /** Waits for the turn of a step of the current life. Never resolves when the life ends before. */
  turn(what: string, options: { readonly write: boolean }): Promise<Fate>;
  /** Ends the current life: what it awaits now never resolves. */
  end(): Promise<never>;
  /** Has something done at some later step, by nobody's life. */
  later(what: string, work: () => Promise<unknown>): void;
  wait(ms: number): Promise<void>;
  /** Lets one step happen at a time until no life is left. */
  run(): Promise<void>;
  /** Whether, from here on, nothing fails and nothing is held. */
  calm(calm: boolean): void;
  /** Every step that happened, in order. */
  readonly trace: readonly string[];
};

const STEP_MS = 5;
const LEAP_MS = 2500;
/** Real time without a step, in milliseconds, after which a life must have been forgotten by whoever runs it. */
const STUCK_MS = 60_000;
const never = new Promise<never>(() => {});

type Body = Life & {
  ended: boolean;
  /** Steps that wait for their turn, and sleeps: with none of them, its code is running. */
  waiting: number;
  frozenUntil: number;
  weight: number;
  crash: () => void;
};

type Step = { readonly body: Body; readonly what: string; readonly write: boolean; readonly go: (fate: Fate) => void };

/**
 * Interleaves the steps of several lives: a step waits until it is chosen among all that wait, by a seeded generator,
 * and the next one is chosen only when the code that it set off has come to its own next step. So the same seed gives
 * the same run. Single process, no real time.
 */
export function createScheduler(random: Random, weather: Weather): Scheduler {
  const storage = new AsyncLocalStorage<Body>();
  const trace: string[] = [];
  const bodies = new Set<Body>();
  let steps: Step[] = [];
  let sleeps: { readonly body: Body; readonly until: number; readonly wake: () => void }[] = [];
  let now = Date.UTC(2026, 0, 1);
  let ticks = 0;
  let calm = false;

  const happens = (probability: number): boolean => !calm && random.chance(probability);

  const join = (life: Life, crash: () => void): Body => {
    const body: Body = { ...life, ended: false, waiting: 0, frozenUntil: 0, weight: weigh(random), crash };
    bodies.add(body);
    return body;
  };
  const leave = (body: Body): void => {
    body.ended = true;
    bodies.delete(body);
    steps = steps.filter((step) => step.body !== body);
    sleeps = sleeps.filter((sleep) => sleep.body !== body);
  };
  const crash = (body: Body): void => {
    // A process takes all that it does with it.
    const fallen = random.chance(0.5) ? [...bodies].filter(({ instance }) => instance === body.instance) : [body];
    for (const one of fallen) {
      trace.push(`${one.name}: CRASH`);
      leave(one);
      one.crash();
    }
  };
  const waitFor = (body: Body, what: string, write: boolean): Promise<Fate> => {
    if (body.ended) return never;
    body.waiting++;
    return new Promise((resolve) => {
      steps.push({ body, what, write, go: resolve });
    });
  };

  const settled = async (): Promise<void> => {
    const start = performance.now();
    for (;;) {
      await nextTurnOfLoop();
      const running = [...bodies].find(({ waiting }) => waiting === 0);
      if (running === undefined) return;
      if (performance.now() - start > STUCK_MS)
        throw new Error(`${running.name} neither ends nor comes to its next step.`);
    }
  };

  const choose = (): Step | undefined => {
    const awake = steps.filter(({ body }) => calm || body.frozenUntil <= ticks);
    const eligible = awake.length > 0 || sleeps.length > 0 ? awake : steps;
    let point = random.next() * eligible.reduce((sum, { body }) => sum + body.weight, 0);
    for (const step of eligible) {
      point -= step.body.weight;
      if (point < 0) return step;
    }
    return eligible.at(-1);
  };

  const fateOf = ({ body, write }: Step): Fate => {
    if (body.instance < 0) return 'done';
    if (happens(weather.crash)) return random.pick(['crash-before', 'crash-after']);
    if (!happens(weather.fault)) return 'done';
    return write ? random.pick(['unavailable', 'lost', 'void', 'late']) : 'unavailable';
  };

  const wakeTheRested = (): void => {
    for (const sleep of sleeps.filter(({ until }) => until <= now)) {
      steps.push({ body: sleep.body, what: 'wakes', write: false, go: sleep.wake });
    }
    sleeps = sleeps.filter(({ until }) => until > now);
  };

  const act = (step: Step): void => {
    const isStep = step.what !== 'wakes' && step.what !== 'begins';
    const fate = isStep ? fateOf(step) : 'done';
    steps = steps.filter((other) => other !== step);
    trace.push(`${step.body.name}: ${step.what}${fate === 'done' ? '' : ` (${fate})`}`);
    if (fate === 'crash-before') {
      crash(step.body);
      return;
    }
    step.body.waiting--;
    step.go(fate);
  };

  return {
    trace,
    now: () => new Date(now),
    tick: () => ++ticks,
    current: () => storage.getStore(),
    live: (life, work) =>
      new Promise((resolve, reject) => {
        const body = join(life, () => resolve(undefined));
        const begun = waitFor(body, 'begins', false);
        storage
          .run(body, () => begun.then(work))
          .then(
            (value) => {
              if (body.ended) return;
              leave(body);
              resolve({ value });
            },
            (error: unknown) => {
              leave(body);
              reject(error);
            },
          );
      }),
    turn: (what, { write }) => {
      const body = storage.getStore();
      return body === undefined ? Promise.resolve('done') : waitFor(body, what, write);
    },
    end: () => {
      const body = storage.getStore();
      if (body !== undefined && !body.ended) crash(body);
      return never;
    },
    later: (what, work) => {
      const body = join({ name: 'late', instance: -1 }, () => {});
      const done = waitFor(body, what, true).then(work);
      done.then(
        () => leave(body),
        () => leave(body),
      );
    },
    wait: (ms) => {
      const body = storage.getStore();
      if (body === undefined) {
        now += ms;
        return Promise.resolve();
      }
      if (body.ended) return never;
      body.waiting++;
      return new Promise((resolve) => {
        sleeps.push({ body, until: now + ms, wake: resolve });
      });
    },
    calm: (yes) => {
      calm = yes;
    },
    run: async () => {
      for (;;) {
        await settled();
        wakeTheRested();
        if (bodies.size === 0) return;
        const step = choose();
        if (step === undefined) {
          now = Math.min(...sleeps.map(({ until }) => until));
          continue;
        }
        ticks++;
        now += STEP_MS;
        if (happens(weather.leap)) now += LEAP_MS;
        if (happens(weather.freeze)) random.pick(steps).body.frozenUntil = ticks + 5 + random.below(80);
        if (random.chance(0.1)) step.body.weight = weigh(random);
        act(step);
      }
    },
  };
}

/** Some are faster than others, for a while: what is even never lets one do much while another does nothing. */
const weigh = (random: Random): number => random.pick([1, 1, 4, 16]);
