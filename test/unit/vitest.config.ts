import { defineConfig } from 'vitest/config';

/** Tests that need no server. */
export default defineConfig({
  test: {
    root: '.',
    include: ['test/unit/**/*.test.ts'],
    // No test changes what another file sees: a worker for all files starts faster.
    isolate: false,
    maxWorkers: 2,
    testTimeout: 10_000,
  },
});
