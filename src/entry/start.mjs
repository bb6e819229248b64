// Plain JavaScript, for it runs on the Node that is there: an older one does not load TypeScript.
import { existsSync } from 'node:fs';

const NEEDED = 24;

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  process.stderr.write(
    `Tenantry needs Node ${NEEDED} or newer; this is Node ${process.versions.node}.\n` +
      `Install Node ${NEEDED}, or run \`npm ci\` without --omit=dev, which brings it along for the npm scripts.\n`,
  );
  process.exitCode = 1;
} else {
  if (existsSync('.dev.vars')) process.loadEnvFile('.dev.vars');
  await import('./node.ts');
}
