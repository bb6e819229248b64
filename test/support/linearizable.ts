/**
 * Whether a history of concurrent calls could have come of a sequential object: the search of Wing and Gong ("Testing
 * and verifying concurrent objects", 1993), which takes the calls in every order that their times allow, with Lowe's
 * memory of what was tried ("Testing for linearizability", 2017).
 *
 * A call may take effect in several steps, in order, each at one instant within the call: what a specification lets
 * be seen in between is said by its steps.
 */

/** A call's times are of one clock on which no two events are at the same time. */
export type Interval = {
  readonly invoked: number;
  /** When it was answered. For one whose outcome is unknown: when it can take effect no longer. */
  readonly returned: number;
  /** Nobody knows whether, and how far, it took effect. */
  readonly unknown: boolean;
};

/** How far a call has got: undefined before its first step. */
export type Progress = string | undefined;

export const DONE = 'done';

export type Specification<State, Call extends Interval> = {
  readonly initial: State;
  /**
   * What the call's next step can lead to, from this state; nothing when it cannot happen now.
   * A call with an answer has to get to {@link DONE}.
   */
  step(state: State, call: Call, progress: Progress): readonly { readonly state: State; readonly progress: string }[];
  /** Whether a call of unknown outcome can have stopped there for good. */
  mayStop(call: Call, progress: Progress): boolean;
};

export type Verdict<Call> =
  | { readonly linearizable: true; readonly states: number }
  /** The longest order that was found, and the calls that no order of it can be followed by. */
  | { readonly linearizable: false; readonly longest: readonly Call[]; readonly states: number };

/** @throws {Error} when more than `limit` states were seen without a verdict */
export function checkLinearizable<State, Call extends Interval>(
  calls: readonly Call[],
  { initial, step, mayStop }: Specification<State, Call>,
  limit = 2_000_000,
): Verdict<Call> {
  const seen = new Set<string>();
  const order: Call[] = [];
  let longest: readonly Call[] = [];

  const search = (state: State, progress: readonly Progress[]): boolean => {
    const open = (index: number) => progress[index] !== DONE;
    if (calls.every((call, index) => !open(index) || (call.unknown && mayStop(call, progress[index])))) return true;
    const key = JSON.stringify([progress.map((one) => one ?? null), state]);
    if (seen.has(key)) return false;
    seen.add(key);
    if (seen.size > limit) throw new Error(`No verdict after ${limit} states: make the history smaller.`);

    // No call takes effect before one that was answered before it was made.
    const bound = Math.min(...calls.map(({ returned, unknown }, i) => (open(i) && !unknown ? returned : Infinity)));
    const latest = Math.max(0, ...calls.map(({ invoked }, i) => (progress[i] === undefined ? 0 : invoked)));
    for (const [index, call] of calls.entries()) {
      if (!open(index) || call.invoked > bound || (call.unknown && call.returned < latest)) continue;
      for (const next of step(state, call, progress[index])) {
        order.push(call);
        if (order.length > longest.length) longest = [...order];
        if (search(next.state, progress.with(index, next.progress))) return true;
        order.pop();
      }
    }
    return false;
  };

  const linearizable = search(
    initial,
    calls.map(() => undefined),
  );
  return linearizable ? { linearizable, states: seen.size } : { linearizable, longest, states: seen.size };
}
