import { inject } from 'vitest';
import type { StoreChoice } from './service.ts';

const uri = inject('secantusUri');

/** The stores that a test runs on. `store` is undefined where this machine has none: the test is skipped. */
export const STORES: readonly { readonly storeName: string; readonly store: StoreChoice | undefined }[] = [
  { storeName: 'the embedded store', store: { kind: 'embedded' } },
  { storeName: 'MongoDB', store: uri === undefined ? undefined : { kind: 'mongo', uri } },
];

/** Stands for a store where the test is skipped, because there is none. */
export const EMBEDDED: StoreChoice = { kind: 'embedded' };
