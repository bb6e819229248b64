import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { REPOSITORY } from '../support/install.ts';

const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');

const document = read('docs/asvs.md');

/** Text on one line, as it may be broken in a document, or written with another quote in a source. */
const plain = (text: string) => text.replaceAll(/\s+/g, ' ');

/** Rows of the tables of items, as [item, state, shown by]. */
const rows = document
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter(([, item]) => /^\d+\.\d+\.\d+$/.test(item ?? ''))
  .map(([, item = '', , state = '', shown = '']) => ({ item, state, shown }));

/** The tests that a text names: a file in backticks, a colon, and titles. */
const namedTests = [...plain(document).matchAll(/`(test\/[\w/.-]+\.ts)`: ([^|`]+?)(?=[;|.)]| \(| `)/g)].map(
  ([, file = '', title = '']) => ({ file, title: title.trim() }),
);

describe('the table of ASVS items', () => {
  test('has each item once, in order, with its state and what shows it', () => {
    const items = rows.map(({ item }) => item);
    expect(new Set(items).size).toBe(items.length);
    expect(items.length).toBeGreaterThan(60);
    for (const { item, state, shown } of rows) {
      expect(['met', 'n/a', 'left'], item).toContain(state);
      expect(shown, item).not.toBe('');
    }
  });

  test('names tests that are there', () => {
    expect(namedTests.length).toBeGreaterThan(40);
    for (const { file, title } of namedTests) {
      expect(plain(read(file)).includes(title), `${file}: ${title}`).toBe(true);
    }
  });
});
