/**
 * Bounds calls in number and in time. A call that finds all connections busy waits here and not in the driver, where
 * it could not be taken back: when its time is up before it began, it never begins.
 */
export class CallLimiter {
  #free: number;
  readonly #waiting = new Set<() => void>();

  /** @param size how many calls run at once */
  constructor(size: number) {
    this.#free = size;
  }

  /**
   * Runs `work` when there is room.
   * @param timeoutMs undefined: as long as it takes
   * @param late what to reject with when the time is up; work that has begun is not stopped, and keeps its place
   */
  run<T>(timeoutMs: number | undefined, work: () => Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const begin = () => {
        this.#free--;
        work()
          .then(resolve, reject)
          .finally(() => {
            clearTimeout(timer);
            this.#free++;
            this.#beginNext();
          });
      };
      const expire = () => {
        this.#waiting.delete(begin);
        reject(late());
      };
      const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs);
      this.#waiting.add(begin);
      this.#beginNext();
    });
  }

  #beginNext(): void {
    const [next] = this.#waiting;
    if (next === undefined || this.#free === 0) return;
    this.#waiting.delete(next);
    next();
  }
}
