import { errorOf } from './errors.ts';

/** How often deadlines are looked at, in milliseconds: a call may end so much later than its time. */
const TICK_MS = 25;

type Call = {
  readonly deadline: number;
  readonly begin: () => void;
  /** Called when the time is up. */
  readonly expire: () => void;
};

/**
 * Bounds calls in number and in time. A call that finds all connections busy waits here and not in the driver, where
 * it could not be taken back: when its time is up before it began, nothing happened. One timer serves all calls.
 */
export class CallLimiter {
  readonly #size: number;
  #running = 0;
  readonly #waiting = new Set<Call>();
  readonly #timed = new Set<Call>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param size how many calls run at once */
  constructor(size: number) {
    this.#size = size;
  }

  /**
   * Runs `work` when there is room.
   * @param work is told when its time is up, by `performance.now()`
   * @param late what to reject with when the time is up after `work` began; `work` itself is not stopped
   * @throws {StoreError} Unavailable when the time was up before
   */
  run<T>(timeoutMs: number, work: (deadline: number) => Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      let begun = false;
      const call: Call = {
        deadline: performance.now() + timeoutMs,
        begin: () => {
          begun = true;
          this.#running++;
          work(call.deadline)
            .then(resolve, reject)
            .finally(() => this.#end(call));
        },
        expire: () => {
          this.#waiting.delete(call);
          reject(begun ? late() : errorOf('Unavailable'));
        },
      };
      this.#watch(call);
      if (this.#running < this.#size) call.begin();
      else this.#waiting.add(call);
    });
  }

  #end(call: Call): void {
    this.#running--;
    this.#timed.delete(call);
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    next.begin();
  }

  #watch(call: Call): void {
    if (call.deadline === Number.POSITIVE_INFINITY) return;
    this.#timed.add(call);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const now = performance.now();
    for (const call of this.#timed) {
      if (call.deadline > now) continue;
      this.#timed.delete(call);
      call.expire();
    }
    if (this.#timed.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
