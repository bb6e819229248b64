import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../support/install.ts';
import { startService } from '../support/service.ts';

const ADDRESS = 'http://127.0.0.1:8000';

/** The README's first curl calls: create, login, delete. */
function readmeCalls(): string[] {
  const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```sh\n([^`]*)```/g)].map((match) => match[1] ?? '');
  const block = blocks.find((text) => text.includes('/org/create') && text.includes('/org/delete'));
  return (block ?? '').split(/\n\s*\n/).map((call) => call.trim());
}

test.each(['node', 'bun', 'workerd'] as const)('the README’s curl calls work word for word on %s', async (runtime) => {
  const service = await startService({ runtime, store: { kind: 'embedded' } });
  const run = async (call: string, token = ''): Promise<Record<string, unknown>> => {
    expect(call).toContain(ADDRESS);
    const { stdout } = await promisify(execFile)('bash', ['-c', call.replace(ADDRESS, service.url)], {
      env: { ...process.env, TOKEN: token },
    });
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  try {
    const [create = '', login = '', remove = ''] = readmeCalls();
    expect(create).toContain('{"organization_name":"TestCo","email":"admin@testco.com","password":"TestPass123"}');
    expect(await run(create)).toMatchObject({
      organization_name: 'TestCo',
      collection_name: 'org_testco',
      admin_email: 'admin@testco.com',
    });
    const signedIn = await run(login);
    expect(signedIn).toMatchObject({ token_type: 'bearer', organization: 'TestCo' });
    expect(await run(remove, String(signedIn['access_token']))).toEqual({ deleted: true, organization_name: 'TestCo' });
  } finally {
    await service.stop();
  }
});
