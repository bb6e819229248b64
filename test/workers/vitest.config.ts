import { builtinModules } from 'node:module';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import type { TestProjectInlineConfiguration } from 'vitest/config';
import { defineConfig } from 'vitest/config';

/** Tests that run inside workerd, over each backend of the gateway. */
const project = (name: string, mongo: boolean): TestProjectInlineConfiguration => ({
  plugins: [
    cloudflareTest(({ inject }) => {
      const uri = mongo ? inject('secantusUri') : undefined;
      const variables: Record<string, string> =
        uri === undefined ? {} : { MONGO_URI: uri, JWT_SECRET: 'for tests only: 32 bytes and more of it' };
      return { wrangler: { configPath: './wrangler.toml' }, miniflare: { bindings: variables } };
    }),
  ],
  test: {
    name,
    include: ['test/workers/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    deps: {
      optimizer: {
        ssr: {
          enabled: true,
          include: ['mongodb'],
          rolldownOptions: { platform: 'node', external: [...builtinModules, /^node:/] },
        },
      },
    },
  },
});

export default defineConfig({
  test: {
    root: '.',
    globalSetup: ['test/support/global-setup.ts'],
    projects: [project('workerd, embedded', false), project('workerd, SecantusDB', true)],
  },
});
