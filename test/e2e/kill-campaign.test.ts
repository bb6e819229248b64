import { expect, inject, test } from 'vitest';
import { runCampaign } from '../campaign/campaign.ts';

/** The short form; `npm run campaign:kill` is the long one. */
const campaigns = [
  { runtime: 'node', store: 'mongo', kills: 14, databaseKills: 2, seed: 1, there: inject('secantusUri') !== undefined },
  { runtime: 'bun', store: 'embedded', kills: 8, databaseKills: 0, seed: 2, there: true },
] as const;

for (const { there, ...campaign } of campaigns) {
  test.skipIf(!there)(
    `SIGKILLs at random moments lose nothing that was acknowledged: ${campaign.runtime}, ${campaign.store}`,
    { timeout: 240_000 },
    async () => {
      const report = await runCampaign({ ...campaign, progress: () => {} });
      expect(report.violations).toEqual([]);
      expect(report.kills).toBeGreaterThanOrEqual(campaign.kills);
      expect(report.databaseKills).toBe(campaign.databaseKills);
      expect(report.acknowledged).toBeGreaterThan(10);
    },
  );
}
