import { parseArgs } from 'node:util';
import type { CampaignOptions } from './campaign.ts';
import { runCampaign } from './campaign.ts';

const HELP = `The SIGKILL campaign: two instances of the service on one store, under load, killed at random moments.

  npm run campaign:kill -- [options]

  --kills N            SIGKILLs of a service (300)
  --database-kills M   SIGKILLs of the database server (30; 0 with the embedded store)
  --seed S             chooses victims and moments (the time)
  --runtime R          node or bun (node)
  --store S            embedded or mongo (mongo)

It ends with code 1 when an acknowledged effect was lost, or anything is out of order.
`;

/** The options of the command line, or undefined when there is nothing to run. */
function readOptions(): CampaignOptions | undefined {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '300' },
      'database-kills': { type: 'string' },
      seed: { type: 'string' },
      runtime: { type: 'string', default: 'node' },
      store: { type: 'string', default: 'mongo' },
      help: { type: 'boolean', default: false },
    },
  });
  const { runtime, store } = values;
  if (values.help) return undefined;
  if (runtime !== 'node' && runtime !== 'bun') throw new RangeError('--runtime is node or bun.');
  if (store !== 'embedded' && store !== 'mongo') throw new RangeError('--store is embedded or mongo.');
  return {
    runtime,
    store,
    kills: wholeNumber('--kills', values.kills),
    databaseKills: store === 'embedded' ? 0 : wholeNumber('--database-kills', values['database-kills'] ?? '30'),
    seed: values.seed === undefined ? Date.now() % 2 ** 32 : wholeNumber('--seed', values.seed),
    progress: (line) => process.stdout.write(`${line}\n`),
  };
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new RangeError(`${option} is a whole number.`);
  return Number(text);
}

const options = readOptions();
if (options === undefined) {
  process.stdout.write(HELP);
} else {
  process.stdout.write(`${options.runtime} on ${options.store}, seed ${options.seed}\n`);
  const report = await runCampaign(options);
  process.stdout.write(`${JSON.stringify({ ...report, violations: report.violations.length })}\n`);
  process.exitCode = report.violations.length === 0 ? 0 : 1;
}
