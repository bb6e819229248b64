import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/{unit,contract,lifecycle,linearizability,http,e2e}/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Most files run services and database servers of their own.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
