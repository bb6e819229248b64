import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleFile, markdownTable } from './variables.ts';

/** Writes the table of variables into README.md and .dev.vars.example: run it after a change of config.ts. */
const repository = join(import.meta.dirname, '../..');
writeFileSync(join(repository, '.dev.vars.example'), exampleFile());

const readme = join(repository, 'README.md');
const TABLE = /^\| Variable .*\n(?:\|.*\n)+/m;
writeFileSync(
  readme,
  readFileSync(readme, 'utf8').replace(TABLE, () => markdownTable()),
);
