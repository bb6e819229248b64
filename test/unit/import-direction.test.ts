import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { REPOSITORY } from '../support/install.ts';

/** A directory with the repository's lint rules and nothing else: a source tree that others look at stays clean. */
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tenantry-lint-'));
  cpSync(join(REPOSITORY, 'biome.json'), join(directory, 'biome.json'));
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** What the linter says to a source at this path that imports this module. */
function lint(path: string, module: string): Promise<{ passed: boolean; output: string }> {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `import * as imported from '${module}';\n\nexport const used = imported;\n`);
  return new Promise((resolve) => {
    const biome = join(REPOSITORY, 'node_modules/.bin/biome');
    execFile(biome, ['lint', path], { cwd: directory }, (error, stdout, stderr) => {
      rmSync(file);
      resolve({ passed: error === null, output: stdout + stderr });
    });
  });
}

test.each([
  ['src/domain/violation.ts', 'hono'],
  ['src/domain/violation.ts', 'hono/jwt'],
  ['src/domain/organization/violation.ts', 'mongodb'],
  ['src/domain/organization/violation.ts', 'node:sqlite'],
  ['src/domain/organization/violation.ts', '../../http/problem.ts'],
  ['src/domain/organization/violation.ts', '../../platform/log.ts'],
  ['src/http/violation.ts', 'mongodb'],
  ['src/http/routes/violation.ts', '../../store/mongo.ts'],
  ['src/store/violation.ts', '../domain/context.ts'],
  ['src/store/violation.ts', 'hono'],
])('the lint fails when %s imports %s', async (path, module) => {
  const { passed, output } = await lint(path, module);
  expect(output).toContain('noRestrictedImports');
  expect(passed).toBe(false);
});

test.each([
  ['src/domain/organization/fine.ts', '../../store/port.ts'],
  ['src/http/fine.ts', '../domain/errors.ts'],
  ['src/http/fine.ts', 'hono'],
  ['src/store/mongo/fine.ts', 'mongodb'],
])('the lint passes when %s imports %s', async (path, module) => {
  const { passed, output } = await lint(path, module);
  expect(passed, output).toBe(true);
});
