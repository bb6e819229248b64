import { describe, expect, test } from 'vitest';
import { MAX_BODY_BYTES, nestsDeeper } from '../../src/http/body.ts';

/** One look at 64 KB takes about 1 ms; a look at the rest from each escaped quote takes 2,000 ms. */
const BOUND_MS = 500;

describe('the depth of a JSON body', () => {
  test.each([
    ['{"a":[{"b":[]}]}', 4, false],
    ['{"a":[{"b":[]}]}', 3, true],
    ['"[[[[["', 0, false],
    ['"\\"[[[[["', 0, false],
    ['"\\\\"[[', 1, true],
    ['[][][][]', 1, false],
    ['[[[', 2, true],
    [']]]]', 0, false],
    ['"unclosed [[[', 0, false],
    ['', 0, false],
  ])('of %s over %i: %s', (text, depth, deeper) => {
    expect(nestsDeeper(text, depth)).toBe(deeper);
  });

  test.each([
    ['escaped quotes', '\\"'],
    ['a quote and escaped quotes', '"\\"'],
    ['backslashes', '\\'],
    ['quotes', '"'],
    ['empty strings in a list', '"",'],
    ['opening and closing brackets', '[]'],
  ])('is found in one look at 64 KB of %s', (_, part) => {
    const text = `"${part.repeat(Math.ceil(MAX_BODY_BYTES / part.length))}`;
    const start = performance.now();
    nestsDeeper(text, 32);
    expect(performance.now() - start).toBeLessThan(BOUND_MS);
  });
});
