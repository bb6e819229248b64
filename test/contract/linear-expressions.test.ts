import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import type * as Recheck from 'recheck';
import type { Node } from 'typescript/unstable/ast';
import { SyntaxKind } from 'typescript/unstable/ast';
import { API } from 'typescript/unstable/sync';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';

const REPOSITORY = join(import.meta.dirname, '../..');

/** The checker without its worker and its native programs. */
const { checkSync } = createRequire(import.meta.url)('recheck/lib/browser.js') as typeof Recheck;

/**
 * Longer ones take the exact checker seconds, and it knows no back-references: a fuzzer looks for an attack on those.
 * It begins with the same seed each time.
 */
const LONGEST_EXACT = 250;

/** Every regular expression of the source, with the file that it is in. */
function expressionsOfSource(): [file: string, expression: string][] {
  const api = new API({ cwd: REPOSITORY });
  try {
    const config = join(REPOSITORY, 'tsconfig.json');
    const program = api.updateSnapshot({ openProjects: [config] }).getProject(config)?.program;
    const files = program?.getSourceFileNames().filter((name) => name.startsWith(join(REPOSITORY, 'src/'))) ?? [];
    return files.flatMap((file) => {
      const found: [string, string][] = [];
      const visit = (node: Node): void => {
        if (node.kind === SyntaxKind.RegularExpressionLiteral) found.push([relative(REPOSITORY, file), node.getText()]);
        node.forEachChild(visit);
      };
      program?.getSourceFile(file)?.forEachChild(visit);
      return found;
    });
  } finally {
    api.close();
  }
}

/** Those that zod makes of the schemas that callers' texts meet. */
const ZOD = [z.email(), z.uuid(), z.iso.datetime({ offset: true })].map((schema): [string, string] => [
  'zod',
  String(schema._zod.def.pattern),
]);

const check = (expression: string): string => {
  const end = expression.lastIndexOf('/');
  const source = expression.slice(1, end);
  const by = (checker: 'automaton' | 'fuzz') =>
    checkSync(source, expression.slice(end + 1), { checker, timeout: 20_000 }).status;
  const exact = source.length > LONGEST_EXACT ? 'unknown' : by('automaton');
  return exact === 'unknown' ? by('fuzz') : exact;
};

describe('the regular expressions of the service', () => {
  test('take time in proportion to the text, whatever it is', () => {
    const expressions = [...expressionsOfSource(), ...ZOD];
    expect(expressions.length).toBeGreaterThan(40);
    expect(expressions.filter(([, expression]) => check(expression) !== 'safe')).toEqual([]);
  }, 60_000);

  test.each([String(/"(?:[^"\\]|\\.)*"/), String(/(a|a)*$/), String(/\s+$/)])(
    'are checked by a tool that finds %s',
    (expression) => {
      expect(check(expression)).toBe('vulnerable');
    },
  );
});
