import { describe, expect, test } from 'vitest';
import { until } from '../../support/deadline.ts';
import type { Cell } from './cell.ts';

const BCRYPT = /\$2[abxy]\$\d\d\$/;
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/;
const STACK = /\n\s+at \S|\bat \S+ \(?\S+:\d+:\d+|node_modules/;
const DRIVER = /E11000|duplicate key|Mongo\w*Error|MongoDB|UNIQUE constraint|SQLITE_|SqliteError|no such table|bson/i;

/** What is looked at when the rest of the suite has run: all that was answered, and all that was logged. */
export function hindsightPromises({ service, caller }: Cell): void {
  describe('in hindsight', () => {
    test('no answer held a hash, a password, a stack or a driver’s words, and no refusal a token', () => {
      const { calls, passwords } = caller();
      expect(calls.length).toBeGreaterThan(200);
      // Short ones are part of other words.
      const secrets = [...passwords].filter((password) => password.startsWith('Pw-'));
      for (const { method, target, answer } of calls) {
        if (target === '/openapi.json') continue;
        const where = `${method} ${target.slice(0, 100)} -> ${answer.status}: ${answer.text.slice(0, 300)}`;
        expect(BCRYPT.test(answer.text), where).toBe(false);
        expect(STACK.test(answer.text), where).toBe(false);
        expect(DRIVER.test(answer.text), where).toBe(false);
        if (answer.status >= 400) expect(JWT.test(answer.text), where).toBe(false);
        expect(
          secrets.find((password) => answer.text.includes(password)),
          where,
        ).toBeUndefined();
      }
    });

    test('no log line held a hash, a token, a password, a secret, a stack or a driver’s message', () => {
      const { calls, passwords } = caller();
      const logs = service().logs();
      expect(logs).toContain('"event":"request"');
      const refreshTokens = calls.flatMap(({ answer }) => answer.json?.refresh_token ?? []);
      const secrets = [...passwords].filter((password) => password.startsWith('Pw-'));
      for (const secret of [...secrets, ...refreshTokens, service().jwtSecret]) {
        expect(logs.includes(secret), secret).toBe(false);
      }
      for (const line of logs.split('\n')) {
        expect(line).not.toMatch(BCRYPT);
        expect(line).not.toMatch(JWT);
        expect(line).not.toMatch(/^\s+at \S|\\n\s+at \S/);
        expect(line).not.toMatch(/E11000|duplicate key|UNIQUE constraint|no such table/i);
      }
    });

    test('no answer was a 5xx', () => {
      expect(caller().calls.filter(({ answer }) => answer.status >= 500)).toEqual([]);
    });

    test('/openapi.json is 3.1 and describes every status and content type that was sent', async () => {
      // What was looked at above took long, and the connection may have been closed meanwhile.
      const { status, json: document } = await until('/openapi.json', () => caller().request('GET', '/openapi.json'));
      expect(status).toBe(200);
      expect(document.openapi).toMatch(/^3\.1\./);
      const undescribed = new Set<string>();
      for (const { method, target, answer } of caller().calls) {
        const path = target.split('?')[0] ?? '';
        const operation = document.paths[path]?.[method.toLowerCase()];
        if (operation === undefined) {
          if (answer.status !== 404 && answer.status !== 405 && path !== '/openapi.json') {
            undescribed.add(`${method} ${path}`);
          }
          continue;
        }
        const response = operation.responses[answer.status];
        const type = answer.headers.get('Content-Type')?.split(';')[0];
        if (response === undefined) undescribed.add(`${method} ${path} ${answer.status}`);
        else if (answer.text !== '' && response.content?.[type ?? ''] === undefined) {
          undescribed.add(`${method} ${path} ${answer.status} ${type}`);
        }
      }
      expect([...undescribed]).toEqual([]);
    });
  });
}
