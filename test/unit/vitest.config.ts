import { defineConfig } from 'vitest/config';

/** Tests that need no server. */
export default defineConfig({
  test: {
    root: '.',
    include: ['test/unit/**/*.test.ts'],
    testTimeout: 10_000,
  },
});
