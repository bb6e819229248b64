import { expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance } from '../support/instance.ts';

/** What answers beside the routes of the contract, and what it is for. */
const UNDESCRIBED = ['GET /openapi.json'];

test('every route is in /openapi.json, where the security suite finds it', async () => {
  const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')));
  const app = createApp(services, () => ({ remote: { address: '127.0.0.1' } }));
  const document = (await (await app.request('/openapi.json')).json()) as { paths: Record<string, object> };
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  // Middleware is registered for all methods, or for all paths below one.
  const routes = app.routes.filter(({ method, path }) => method !== 'ALL' || !path.endsWith('*'));
  expect(routes.map(({ method }) => method)).not.toContain('ALL');
  const served = new Set(routes.map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`));
  expect([...served].sort()).toEqual([...described, ...UNDESCRIBED].sort());
});

test('/openapi.json is made once, however often it is asked for', async () => {
  const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')));
  const app = createApp(services, () => ({ remote: { address: '127.0.0.1' } }));
  const made = vi.spyOn(app, 'getOpenAPI31Document');
  const documents = new Set<string>();
  for (let asked = 0; asked < 3; asked++) documents.add(await (await app.request('/openapi.json')).text());
  expect([made.mock.calls.length, documents.size]).toEqual([1, 1]);
});
