import { describe, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { shapeOf } from '../../src/http/body.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance } from '../support/instance.ts';

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

describe('a body that breaks off', () => {
  test.each([{}, { 'Content-Length': '100' }])('is 400 at level info: %j', async (length) => {
    const logged: string[] = [];
    const log = (level: string, event: string) => void logged.push(`${level} ${event}`);
    const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), {}, { log });
    const app = createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
    let sent = 0;
    const body = new ReadableStream({
      pull: (controller) => {
        if (sent++ === 0) controller.enqueue(new TextEncoder().encode('{"email":'));
        else controller.error(new Error('The caller has left.'));
      },
    });
    const headers = { 'Content-Type': 'application/json', ...length };
    const response = await app.request('/admin/login', {
      method: 'POST',
      headers,
      body,
      duplex: 'half',
    } as RequestInit);
    expect([response.status, logged]).toEqual([400, ['info request']]);
  });
});
