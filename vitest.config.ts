import { defineConfig } from 'vitest/config';
import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

/** Starts the files that take longest first, so that no worker is left with one of them at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => LONG.findIndex((pattern) => pattern.test(moduleId)) >>> 0;
    return files.toSorted((a, b) => rank(a) - rank(b));
  }
}

const LONG = [/\/lifecycle\//, /\/http\/workerd-/, /\/http\//, /\/e2e\//];

/** Tests that run services and databases. The tests without a server have test/unit/vitest.config.ts. */
export default defineConfig({
  test: {
    include: ['test/{contract,lifecycle,linearizability,http,e2e}/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    sequence: { sequencer: LongestFirst },
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
