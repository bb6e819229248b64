import { expect, test } from 'vitest';
import { measureUnderAttack } from '../campaign/under-attack.ts';

/** The short form; `npm run campaign:bounds` is the long one, and looks at time and memory too. */
test.each(['node', 'bun'] as const)(
  'strangers who call every route make nothing grow beyond its bound, and an owner signs in: %s',
  { timeout: 240_000 },
  async (runtime) => {
    const report = await measureUnderAttack({
      runtime,
      store: { kind: 'embedded' },
      seconds: 1.5,
      ownerSeconds: 0.5,
      connections: 20,
      addresses: 1000,
      seed: 1,
      progress: () => {},
    });
    expect(report.unexpected).toEqual([]);
    expect(report.measured.filter(({ kind, measured, bound }) => kind === 'count' && measured > bound)).toEqual([]);
    expect(report.owner.signIns).toBeGreaterThanOrEqual(3);
  },
);
