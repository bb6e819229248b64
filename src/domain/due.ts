const HOUR_MS = 60 * 60 * 1000;

/** While something is fresh, it is looked at this often. */
const OFTEN_MS = 30 * 1000;
const FRESH_MS = HOUR_MS;
const SELDOM_MS = 7 * 24 * HOUR_MS;

/**
 * When to look again at what was quiet since then: every 30 s for an hour, then at intervals that double, up to seven
 * days. It never ends: MongoDB makes a collection by the first insert, and a writer may hold a name for any time.
 */
export function nextLook(now: Date, since: Date): Date {
  const quietMs = now.getTime() - since.getTime();
  const interval = quietMs < FRESH_MS ? OFTEN_MS : Math.min(quietMs, SELDOM_MS);
  return new Date(now.getTime() + interval);
}
