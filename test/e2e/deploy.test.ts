import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../support/install.ts';
import { runToEnd } from '../support/process.ts';

/** What a Worker's bundle may weigh on the free plan, compressed (Cloudflare, "Workers limits"). */
const LIMIT_KIB = 3 * 1024;

test('wrangler deploy --dry-run is clean, and the bundle is one that the platform takes', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-deploy-'));
  try {
    const output = await runToEnd(
      join(REPOSITORY, 'node_modules/.bin/wrangler'),
      ['deploy', '--dry-run', '--config', join(REPOSITORY, 'wrangler.toml'), '--outdir', directory],
      { cwd: REPOSITORY, env: { ...process.env, WRANGLER_SEND_METRICS: 'false', NO_COLOR: '1' } },
    );
    expect(output).toContain('env.STORE_GATEWAY');
    expect(output).not.toMatch(/\[(WARNING|ERROR)\]/);
    expect(Number(/gzip: ([\d.]+) KiB/.exec(output)?.[1])).toBeLessThan(LIMIT_KIB);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
