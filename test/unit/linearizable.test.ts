import { expect, test } from 'vitest';
import type { Interval, Specification } from '../support/linearizable.ts';
import { checkLinearizable, DONE } from '../support/linearizable.ts';

type RegisterCall = Interval & ({ readonly write: number } | { readonly read: number });

/** A number that is written and read. */
const register: Specification<number, RegisterCall> = {
  initial: 0,
  step: (state, call) => {
    if ('write' in call) return [{ state: call.write, progress: DONE }];
    return call.unknown || call.read === state ? [{ state, progress: DONE }] : [];
  },
  mayStop: () => true,
};

const write = (value: number, invoked: number, returned: number, unknown = false): RegisterCall => ({
  write: value,
  invoked,
  returned,
  unknown,
});
const read = (value: number, invoked: number, returned: number): RegisterCall => ({
  read: value,
  invoked,
  returned,
  unknown: false,
});

test.each<[string, RegisterCall[]]>([
  ['nothing', []],
  ['a read during a write sees the old value', [write(1, 1, 4), read(0, 2, 3)]],
  ['a read during a write sees the new value', [write(1, 1, 4), read(1, 2, 3)]],
  ['concurrent writes in either order', [write(1, 1, 4), write(2, 2, 3), read(1, 5, 6)]],
  ['a write of unknown outcome is seen late', [write(1, 1, 9, true), read(0, 2, 3), read(1, 4, 5)]],
  ['a write of unknown outcome is never seen', [write(1, 1, 9, true), read(0, 2, 3), read(0, 10, 11)]],
])('can have come of one object: %s', (_, calls) => {
  expect(checkLinearizable(calls, register).linearizable).toBe(true);
});

test.each<[string, RegisterCall[]]>([
  ['a read after a write sees the old value', [write(1, 1, 2), read(0, 3, 4)]],
  ['a value is seen and then not any more', [write(1, 1, 8), read(1, 2, 3), read(0, 4, 5)]],
  ['a value comes of nowhere', [write(1, 1, 2), read(2, 3, 4)]],
  ['two readers see two orders', [write(1, 1, 2), write(2, 3, 8), read(2, 4, 5), read(1, 6, 7)]],
  [
    'a write of unknown outcome is seen after it could no longer happen',
    [write(1, 1, 4, true), read(0, 5, 6), read(1, 7, 8)],
  ],
])('cannot have come of one object: %s', (_, calls) => {
  expect(checkLinearizable(calls, register).linearizable).toBe(false);
});
