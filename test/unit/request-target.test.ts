import { expect, test } from 'vitest';
import { pathOf } from '../../src/http/request-target.ts';

test.each([
  ['/org/get?organization_name=a', '/org/get'],
  ['/org/get', '/org/get'],
  ['https://example.com/org/get?x=/y', '/org/get'],
])('the path of %s is %s', (target, path) => {
  expect(pathOf(target)).toBe(path);
});

test.each(['/org/get#', '/org/get#.png', '/org/get#?x', '/org/get?x#y', 'https://example.com/org/get#x'])(
  'the path of %s is no route’s',
  (target) => {
    expect(pathOf(target)).toContain('#');
  },
);
