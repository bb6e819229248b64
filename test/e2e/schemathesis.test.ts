import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCaller } from '../support/caller.ts';
import { installApiCheckers } from '../support/install.ts';
import { runToEnd } from '../support/process.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

const RUN_MS = 480_000;
/** What schemathesis may try at most with each operation and phase; bcrypt sets the pace. */
const EXAMPLES = 25;

let service: RunningService;
let programs: string;
let directory: string;

beforeAll(async () => {
  programs = await installApiCheckers();
  directory = mkdtempSync(join(tmpdir(), 'tenantry-schemathesis-'));
  service = await startService({ runtime: 'node', store: { kind: 'embedded' } });
}, RUN_MS);

afterAll(async () => {
  await service?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

test('/openapi.json is a valid OpenAPI 3.1 document', async () => {
  const validator = join(programs, 'openapi-spec-validator');
  const document = join(directory, 'openapi.json');
  writeFileSync(document, (await createCaller(service.url).request('GET', '/openapi.json')).text);
  const output = await runToEnd(validator, ['--schema', '3.1', document]);
  expect(output).toContain('OK');
});

test.each(['a stranger', 'an admin'])(
  'schemathesis finds nothing as %s',
  async (who) => {
    const { token } = await createCaller(service.url).signedInTenant();
    const output = await runToEnd(
      join(programs, 'schemathesis'),
      [
        ...['--config-file', join(import.meta.dirname, 'schemathesis.toml')],
        'run',
        `${service.url}/openapi.json`,
        ...['--checks', 'all', '--max-examples', String(EXAMPLES), '--seed', '4', '--no-color'],
        // After an end of all the admin's sessions the rest of the run would be a stranger's.
        ...(who === 'an admin'
          ? [
              ...['--exclude-path', '/admin/logout-all', '--exclude-name', 'DELETE /org/sessions'],
              ...['--header', `Authorization: Bearer ${token}`],
            ]
          : []),
      ],
      { cwd: directory },
    );
    expect(output).toMatch(/\d+ generated, \d+ passed/);
    expect(output).not.toContain('❌ ST');
  },
  RUN_MS,
);
