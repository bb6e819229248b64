import { describe, expect, test } from 'vitest';
import { shapeOf } from '../../src/http/body.ts';

describe('the shape of a JSON body', () => {
  test.each([
    ['{"a":[{"b":[]}]}', 4, 2],
    ['"[[[[["', 0, 0],
    ['"\\"[[[[["', 0, 0],
    ['"\\\\"[[', 2, 0],
    ['[][][][]', 1, 0],
    ['[[[', 3, 0],
    [']]]]', 0, 0],
    ['"unclosed [[[ : ', 0, 0],
    ['', 0, 0],
    ['{"a":":","b\\":":{":":1}}', 2, 3],
  ])('of %s: %i levels, %i members', (text, depth, members) => {
    expect(shapeOf(text)).toEqual({ depth, members });
  });
});
