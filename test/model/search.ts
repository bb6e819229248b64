import { firstWorld, type Transition, transitions } from './lifecycle.ts';
import { checkSettled, checkState } from './properties.ts';
import { type Rules, rulesWithout } from './rules.ts';
import type { Scenario } from './scenarios.ts';
import type { Violation, ViolationKind, World } from './state.ts';

/** The way to a state: its last transition, and the way before it. */
type Path = { readonly transition: Transition; readonly before: Path | null } | null;

/** A transition of a counterexample, with its actor named: `rename 1`, `look 2`. */
export type TraceStep = {
  readonly actor: string;
  readonly event: string;
  readonly step: string;
  readonly [detail: string]: string | boolean;
};
export type Counterexample = { readonly violations: readonly Violation[]; readonly trace: readonly TraceStep[] };

export type Outcome = {
  readonly states: number;
  readonly transitions: number;
  readonly seconds: number;
  /** Whether every state within the scenario was seen. */
  readonly exhausted: boolean;
  readonly counterexample: Counterexample | null;
};

export type Limits = {
  readonly rules?: Rules;
  readonly seconds?: number;
  /** Look for these kinds only; otherwise for all that the scenario does not accept. */
  readonly kinds?: readonly ViolationKind[];
  readonly progress?: (states: number) => void;
};

/** A set of 64-bit digests in flat memory. Two states of one digest are taken for one: about 1 in 10^6 at 6,000,000. */
class DigestSet {
  size = 0;
  private slots = new Int32Array(2 << 16);
  private mask = (1 << 16) - 1;

  /** Answers whether the digest is new. */
  add(low: number, high: number): boolean {
    if (this.size * 2 > this.mask) this.grow();
    // A slot of two zeros is empty.
    if (!this.place(low, low === 0 && high === 0 ? 1 : high)) return false;
    this.size++;
    return true;
  }

  private place(low: number, high: number): boolean {
    const { slots, mask } = this;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const at = slot * 2;
      const presentLow = slots[at];
      const presentHigh = slots[at + 1];
      if (presentLow === 0 && presentHigh === 0) {
        slots[at] = low;
        slots[at + 1] = high;
        return true;
      }
      if (presentLow === low && presentHigh === high) return false;
    }
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Int32Array(old.length * 2);
    this.mask = this.mask * 2 + 1;
    for (let at = 0; at < old.length; at += 2) {
      const low = old[at] as number;
      const high = old[at + 1] as number;
      if (low !== 0 || high !== 0) this.place(low, high);
    }
  }
}

const KINDS: readonly ViolationKind[] = [
  'mixed',
  'lost',
  'returned',
  'left over',
  'two of one name',
  'dropped without record',
  'kept came in',
  'swept own',
  'invisible',
  'remade',
  'half changed',
  'lease broken',
];
const kindsOf = (scenario: Scenario): readonly ViolationKind[] =>
  KINDS.filter((kind) => !scenario.accepted.includes(kind));

/** The violations of these kinds in a state that was just reached. Due work is tried where nobody is at work. */
function judge(world: World, kinds: readonly ViolationKind[], settle: boolean): readonly Violation[] {
  checkState(world);
  const found = world.violations.filter(({ kind }) => kinds.includes(kind));
  if (found.length > 0 || !settle) return found;
  return checkSettled(world).filter(({ kind }) => kinds.includes(kind));
}

/** Names the actors of a path, from its begin to its end. */
export function unroll(path: Path): TraceStep[] {
  const all: Transition[] = [];
  for (let at = path; at !== null; at = at.before) all.push(at.transition);
  const working: string[] = [];
  const started = new Map<string, number>();
  return all.reverse().map((transition): TraceStep => {
    if ('position' in transition) {
      const { position, ends, event, verb, ...rest } = transition;
      const actor = working[position] ?? '';
      if (ends) working.splice(position, 1);
      return { actor, event, ...rest, ends };
    }
    if (transition.event === 'begin') {
      const { verb, starts, ...rest } = transition;
      const number = (started.get(verb) ?? 0) + 1;
      started.set(verb, number);
      const actor = `${verb} ${number}`;
      if (starts) working.push(actor);
      return { actor, step: verb, ...rest };
    }
    const { event, ...rest } = transition;
    const actor = 'organization' in transition ? `tenant ${transition.organization}` : 'environment';
    return { actor, event, step: event, ...rest };
  });
}

/** One line of a trace, for people. */
export const traceLine = ({ actor, event, step, ...details }: TraceStep): string => {
  const shown = Object.entries(details).flatMap(([name, value]) =>
    value === '' || value === false || name === 'ends' ? [] : [`${value}`],
  );
  const what = event === 'call' || event === step ? step : `${event}: ${step}`;
  return `${actor}: ${what}${shown.length > 0 ? ` (${shown.join(', ')})` : ''}`;
};

type Order = 'depth first' | 'breadth first';

/**
 * Searches every state within the scenario. Depth first needs the least memory; breadth first finds a shortest
 * counterexample.
 */
function search(scenario: Scenario, order: Order, limits: Limits): Outcome {
  const kinds = limits.kinds ?? kindsOf(scenario);
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const seen = new DigestSet();
  const root = firstWorld(scenario, limits.rules ?? rulesWithout());
  const rootDigest = root.digest();
  seen.add(rootDigest.low, rootDigest.high);
  let open: { world: World; path: Path }[] = [{ world: root, path: null }];
  let next: { world: World; path: Path }[] = [];
  let taken = 0;
  let visited = 0;
  let counterexample: Counterexample | null = null;
  const outcome = (exhausted: boolean): Outcome => ({
    states: seen.size,
    transitions: taken,
    seconds: seconds(),
    exhausted,
    counterexample,
  });

  for (;;) {
    const current = open.pop();
    if (current === undefined) {
      if (next.length === 0) return outcome(true);
      open = next.reverse();
      next = [];
      continue;
    }
    if ((++visited & 4095) === 0) {
      limits.progress?.(seen.size);
      if (limits.seconds !== undefined && seconds() > limits.seconds) return outcome(false);
    }
    transitions(current.world, scenario, (world, transition) => {
      if (counterexample !== null) return;
      taken++;
      const { low, high } = world.digest();
      if (world.violations.length === 0 && !seen.add(low, high)) return;
      const path = { transition: transition(), before: current.path };
      const violations = judge(world, kinds, world.actors.length === 0);
      if (violations.length > 0) counterexample = { violations, trace: unroll(path) };
      else {
        world.violations = [];
        (order === 'depth first' ? open : next).push({ world, path });
      }
    });
    if (counterexample !== null) return outcome(false);
  }
}

export const exhaust = (scenario: Scenario, limits: Limits = {}): Outcome => search(scenario, 'depth first', limits);
export const shortest = (scenario: Scenario, limits: Limits = {}): Outcome => search(scenario, 'breadth first', limits);

/** A random number generator from a seed: numbers from 0 to 1. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const LONGEST_WALK = 500;

/** Walks at random where a scenario is too large to exhaust. In most walks one actor sleeps for long. */
export function walk(scenario: Scenario, seed: number, limits: Limits & { readonly seconds: number }): Outcome {
  const kinds = limits.kinds ?? kindsOf(scenario);
  const random = randomFrom(seed);
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  let walks = 0;
  let taken = 0;
  while (seconds() < limits.seconds) {
    walks++;
    let world = firstWorld(scenario, limits.rules ?? rulesWithout());
    let path: Path = null;
    const sleepy = random() < 0.7;
    for (let steps = 0; steps < LONGEST_WALK; steps++) {
      const all: { world: World; transition: Transition }[] = [];
      transitions(world, scenario, (next, transition) => all.push({ world: next, transition: transition() }));
      const pick = () => all[Math.floor(random() * all.length)];
      let picked = pick();
      if (picked === undefined) break;
      const isSleeper = 'position' in picked.transition && picked.transition.position === 0;
      if (sleepy && world.actors.length > 1 && isSleeper && random() < 0.85) picked = pick() ?? picked;
      path = { transition: picked.transition, before: path };
      taken++;
      world = picked.world;
      const violations = judge(world, kinds, world.actors.length === 0 || random() < 0.05);
      if (violations.length > 0)
        return {
          states: walks,
          transitions: taken,
          seconds: seconds(),
          exhausted: false,
          counterexample: { violations, trace: unroll(path) },
        };
      world.violations = [];
    }
  }
  return { states: walks, transitions: taken, seconds: seconds(), exhausted: false, counterexample: null };
}
