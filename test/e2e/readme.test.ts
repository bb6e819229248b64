import { globSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REPOSITORY } from '../support/install.ts';
import { startProcess } from '../support/process.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

/** Where the README's service is. */
const ADDRESS = 'http://127.0.0.1:8000';

/** `<!-- not run: reason -->` on the line before a block keeps the block out of the walk. */
const NOT_RUN = /^<!-- not run: \S.* -->$/;

type Block = { readonly place: string; readonly text: string; readonly runs: boolean };

/** The blocks between ```sh and ``` of a document, in their order. */
function shellBlocks(document: string): Block[] {
  const lines = readFileSync(join(REPOSITORY, document), 'utf8').split('\n');
  return lines.flatMap((line, index) => {
    if (line !== '```sh') return [];
    const before = lines.slice(0, index).findLast((earlier) => earlier.trim() !== '') ?? '';
    const end = lines.indexOf('```', index);
    const place = `${document}:${index + 1}`;
    return [{ place, text: lines.slice(index + 1, end).join('\n'), runs: !NOT_RUN.test(before) }];
  });
}

/**
 * One script of all blocks, so that a variable of one block is there in the next. It ends at the first command that
 * fails, curl included: a refusal (4xx) is a failure.
 */
const scriptOf = (blocks: readonly Block[], url: string): string =>
  [
    'set -euo pipefail',
    'curl() { command curl --silent --show-error --fail-with-body "$@"; }',
    ...blocks.map(({ place, text }) => `echo "--- ${place}"\n${text.replaceAll(ADDRESS, url)}\necho`),
  ].join('\n');

describe('the README, and docs after it,', () => {
  const documents = ['README.md', ...globSync('docs/*.md', { cwd: REPOSITORY }).sort()];
  const blocks = documents.flatMap(shellBlocks);
  let service: RunningService;
  let directory: string;

  beforeAll(async () => {
    service = await startService({ runtime: 'node', store: { kind: 'embedded' } });
    // As a clone in which the service runs: `data` is the service's own.
    directory = dirname(service.dataDirectory);
    for (const name of ['package.json', 'node_modules', 'src'])
      symlinkSync(join(REPOSITORY, name), join(directory, name));
  });

  afterAll(async () => {
    await service?.stop();
  });

  test('have shell blocks that run, and the others say why they do not', () => {
    expect(blocks.filter(({ runs }) => runs).length).toBeGreaterThan(0);
    const calls = blocks.filter(({ text }) => text.includes(ADDRESS));
    expect(calls.filter(({ runs }) => !runs).map(({ place }) => place)).toEqual([]);
  });

  test('have shell blocks that work in the printed order on a fresh service', { timeout: 120_000 }, async () => {
    const script = scriptOf(
      blocks.filter(({ runs }) => runs),
      service.url,
    );
    const { PATH, HOME } = process.env;
    const walk = startProcess('bash', ['-c', script], { cwd: directory, env: { PATH, HOME } });
    const { code } = await walk.exited;
    expect(code, `The last block that was begun failed:\n${walk.output().slice(-3000)}`).toBe(0);
  });
});
