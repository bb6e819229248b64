import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { serve } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { describe, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { createLog } from '../../src/platform/log.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { REPOSITORY } from '../support/install.ts';
import { createInstance, ownerOf } from '../support/instance.ts';

const DOCUMENT = 'docs/asvs.md';

/** The items of levels 1 and 2 of ASVS 5.0.0, by section, each with its level. Items of level 3 are left out. */
const SECTIONS: Readonly<Record<string, string>> = {
  '2.1': '1:1 2:2 3:2',
  '2.2': '1:1 2:1 3:2',
  '2.3': '1:1 2:2 3:2 4:2',
  '2.4': '1:2',
  '3.2': '1:1 2:1',
  '3.3': '1:1 2:2 3:2 4:2',
  '3.4': '1:1 2:1 3:2 4:2 5:2 6:2',
  '3.5': '1:1 2:1 3:1 4:2 5:2',
  '3.7': '1:2 2:2',
  '4.1': '1:1 2:2 3:2',
  '4.2': '1:2',
  '4.3': '1:2 2:2',
  '4.4': '1:1 2:2 3:2 4:2',
  '6.1': '1:1 2:2 3:2',
  '6.2': '1:1 2:1 3:1 4:1 5:1 6:1 7:1 8:1 9:2 10:2 11:2 12:2',
  '6.3': '1:1 2:1 3:2 4:2',
  '6.4': '1:1 2:1 3:2 4:2',
  '6.5': '1:2 2:2 3:2 4:2 5:2',
  '6.6': '1:2 2:2 3:2',
  '6.8': '1:2 2:2 3:2 4:2',
  '7.1': '1:2 2:2 3:2',
  '7.2': '1:1 2:1 3:1 4:1',
  '7.3': '1:2 2:2',
  '7.4': '1:1 2:1 3:2 4:2 5:2',
  '7.5': '1:2 2:2',
  '7.6': '1:2 2:2',
  '9.1': '1:1 2:1 3:1',
  '9.2': '1:1 2:2 3:2 4:2',
  '11.1': '1:2 2:2',
  '11.2': '1:2 2:2 3:2',
  '11.3': '1:1 2:1 3:2',
  '11.4': '1:1 2:2 3:2 4:2',
  '11.5': '1:2',
  '11.6': '1:2',
  '13.1': '1:2',
  '13.2': '1:2 2:2 3:2 4:2 5:2',
  '13.3': '1:2 2:2',
  '13.4': '1:1 2:2 3:2 4:2 5:2',
  '14.1': '1:2 2:2',
  '14.2': '1:1 2:2 3:2 4:2',
  '14.3': '1:1 2:2 3:2',
  '15.1': '1:1 2:2 3:2',
  '15.2': '1:1 2:2 3:2',
  '15.3': '1:1 2:2 3:2 4:2 5:2 6:2 7:2',
  '16.1': '1:2',
  '16.2': '1:2 2:2 3:2 4:2 5:2',
  '16.3': '1:2 2:2 3:2 4:2',
  '16.4': '1:2 2:2 3:2',
  '16.5': '1:2 2:2 3:2',
};

const ITEMS = Object.entries(SECTIONS).flatMap(([section, items]) =>
  items.split(' ').map((each) => {
    const [number, level] = each.split(':');
    return { item: `${section}.${number}`, level };
  }),
);

const STATES = ['met', 'not applicable', 'left'];

const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');

const cells = read(DOCUMENT)
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) => line.split('|').map((cell) => cell.trim()));

/** The rows of the tables of items. */
const rows = cells
  .filter(([, item]) => /^\d+\.\d+\.\d+$/.test(item ?? ''))
  .map(([, item = '', level = '', about = '', state = '', shown = '']) => ({ item, level, about, state, shown }));

/** What a row names in its last cell: tests as "`file`: title", with semicolons between them, links and files. */
const named = rows.map(({ item, state, shown }) => {
  const parts = shown.split(/; (?=[`[])/);
  const tests = parts.flatMap((part) => {
    const [, file = '', title = ''] = /^`(test\/[\w/.-]+\.ts)`: (.+)$/.exec(part) ?? [];
    return file === '' ? [] : [{ file, title: title.replace(/^`(.*)`$/, '$1') }];
  });
  const links = [...shown.matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target);
  const files = [...shown.matchAll(/`((?:src|test|docs)\/[\w/.-]+|package-lock\.json|wrangler\.toml)`/g)].map(
    ([, path = '']) => path,
  );
  return { item, state, tests, links, files };
});

/** The addresses of a document's headings within it. */
const headingsOf = (path: string): string[] =>
  [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-'),
  );

describe('the table of ASVS items', () => {
  test('has each item of levels 1 and 2 once, in order, with its level', () => {
    expect(ITEMS).toHaveLength(165);
    const those = rows.filter(({ level }) => level !== '3').map(({ item, level }) => ({ item, level }));
    expect(those).toEqual(ITEMS);
    expect(new Set(rows.map(({ item }) => item)).size).toBe(rows.length);
  });

  test('says of each item that it is met, not applicable or left, and what shows it or why', () => {
    for (const { item, about, state, shown } of rows) {
      expect(STATES, item).toContain(state);
      expect(about, item).not.toBe('');
      expect(shown, item).not.toBe('');
    }
  });

  test('names a test, or a file, for each item that is met', () => {
    for (const { item, state, tests, links, files } of named) {
      if (state === 'met') expect(tests.length + links.length + files.length, item).toBeGreaterThan(0);
    }
  });

  test('names tests, files and headings that are there', () => {
    expect(named.flatMap(({ tests }) => tests).length).toBeGreaterThan(100);
    for (const { item, tests, links, files } of named) {
      for (const { file, title } of tests) {
        const source = read(file);
        const isThere = ["'", '"', '`'].some((quote) => source.includes(`${quote}${title}${quote}`));
        expect(isThere, `${item}: ${file}: ${title}`).toBe(true);
      }
      for (const path of files) expect(existsSync(join(REPOSITORY, path)), `${item}: ${path}`).toBe(true);
      for (const link of links) {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? DOCUMENT : join(dirname(DOCUMENT), path);
        expect(existsSync(join(REPOSITORY, target)), `${item}: ${link}`).toBe(true);
        if (anchor !== undefined) expect(headingsOf(target), `${item}: ${link}`).toContain(anchor);
      }
    }
  });

  test('is counted by chapter and state', () => {
    const counted = cells
      .filter(([, chapter]) => /^(V\d+ |all)/.test(chapter ?? ''))
      .map(([, chapter = '', ...counts]) => [/^V(\d+)/.exec(chapter)?.[1] ?? 'all', counts.slice(0, 3).map(Number)]);
    const count = (chapter: string) =>
      STATES.map(
        (state) =>
          rows.filter(
            (row) =>
              row.state === state && row.level !== '3' && (chapter === 'all' || row.item.startsWith(`${chapter}.`)),
          ).length,
      );
    const chapters = [...new Set(ITEMS.map(({ item }) => item.split('.')[0] ?? '')), 'all'];
    expect(counted).toEqual(chapters.map((chapter) => [chapter, count(chapter)]));
  });
});

/** The service over an empty store in memory, or over the store that is given. */
function appOver(executor: Executor = createSqliteExecutor(openSqliteFile(':memory:')), lines: string[] = []) {
  const services = createInstance(executor, {}, { log: createLog((line) => lines.push(line)) });
  return createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
}

const json = (text: string): RequestInit => ({
  method: 'POST',
  body: text,
  headers: { 'Content-Type': 'application/json', Origin: 'https://elsewhere.example' },
});

const CAUSE = 'E11000 SELECT password_hash FROM admins';

/** A store that fails as no store should. */
const failing: Executor = {
  limits: { documentBytes: 1, measure: () => 1 },
  close: async () => {},
  execute: async () => {
    throw new Error(CAUSE);
  },
};

describe('an answer', () => {
  const ANSWERS: readonly (readonly [status: number, path: string, init: RequestInit])[] = [
    [200, '/health/live', {}],
    [200, '/openapi.json', {}],
    [200, '/.well-known/jwks.json', {}],
    [400, '/org/create', json('{')],
    [401, '/admin/me', {}],
    [401, '/admin/login', json('{"email":"nobody@example.com","password":"wrong"}')],
    [404, '/.git/config', {}],
    [404, '/org/get?organization_name=Nobody', { headers: { Origin: 'https://elsewhere.example' } }],
    [405, '/admin/login', { method: 'OPTIONS', headers: { Origin: 'https://elsewhere.example' } }],
    [413, '/org/create', json('x'.repeat(70_000))],
    [415, '/admin/login', { method: 'POST', body: '{}' }],
    [422, '/org/create', json('{}')],
    [500, '/org/get?organization_name=TestCo', {}],
  ];

  test.each(ANSWERS)(
    'of status %i has the headers that tell a browser to do nothing with it: %s',
    async (...expected) => {
      const [status, path, init] = expected;
      const response = await appOver(status === 500 ? failing : undefined).request(path, init);
      const { headers } = response;
      expect(response.status).toBe(status);
      expect(headers.get('Content-Type')).toBe(status === 200 ? 'application/json' : 'application/problem+json');
      await expect(response.json()).resolves.toBeTypeOf('object');
      expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
      expect(headers.get('Referrer-Policy')).toBe('no-referrer');
      expect(headers.get('Strict-Transport-Security')).toBe('max-age=63072000; includeSubDomains');
      expect(headers.get('Content-Security-Policy')).toBe(
        "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox",
      );
      expect(headers.get('Cross-Origin-Resource-Policy')).toBe('same-origin');
      expect([...headers.keys()].filter((name) => /^(access-control-|set-cookie)/.test(name))).toEqual([]);
      const isPublic = ['/openapi.json', '/.well-known/jwks.json'].includes(path);
      if (!isPublic) expect(headers.get('Cache-Control')).toBe('no-store');
    },
  );

  test('to a failure that nobody foresaw tells nothing of its cause, and the log tells its name and place', async () => {
    const lines: string[] = [];
    const response = await appOver(failing, lines).request('/org/get?organization_name=TestCo');
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(JSON.parse(text)).toMatchObject({
      code: 'internal_error',
      request_id: response.headers.get('X-Request-Id'),
    });
    expect(`${text}${lines.join('')}`).not.toContain(CAUSE);
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({
        level: 'error',
        event: 'request.failed',
        error: expect.objectContaining({ name: 'Error', place: expect.stringContaining('asvs.test.ts') }),
      }),
    );
  });
});

test('a redirect leads to a path of the service, whatever host was asked', async () => {
  const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), { NAME_LEASE_DAYS: '1' });
  await services.prepare();
  const owner = await ownerOf(services.context, 'Former');
  await updateOrganization(services.context, {
    principal: owner,
    new_organization_name: 'x//elsewhere.example/?a=b&c#d',
  });
  const app = createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
  const headers = { Host: 'elsewhere.example', 'X-Forwarded-Host': 'elsewhere.example' };
  const { status, headers: answered } = await app.request('/org/get?organization_name=Former', { headers });
  expect(status).toBe(308);
  expect(answered.get('Location')).toMatch(/^\/org\/get\?organization_name=[^/]*$/);
});

test('a request that came to a proxy without TLS is not redirected', async () => {
  for (const path of ['/health/live', '/admin/me', '/org/get?organization_name=Nobody']) {
    const { status, headers } = await appOver().request(path, { headers: { 'X-Forwarded-Proto': 'http' } });
    expect([200, 401, 404]).toContain(status);
    expect(headers.has('Location')).toBe(false);
  }
});

test('a new service has no account', async () => {
  const { context, prepare } = createInstance(createSqliteExecutor(openSqliteFile(':memory:')));
  await prepare();
  const { admins, organizations, sessions } = context.master;
  for (const collection of [admins, organizations, sessions]) expect(await collection.count({})).toBe(0);
});

test('a password is compared as it came: case, spaces and normal form count', async () => {
  const { context, prepare } = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), {
    LIMIT_LOGIN_ACCOUNT: 'off',
  });
  await prepare();
  const account = { organization_name: 'Exact', email: 'owner@example.com', password: ' Größe im Büro ' };
  await createOrganization(context, account);
  const { password } = account;
  for (const other of [password.trim(), password.toLowerCase(), password.normalize('NFD'), `${password} `]) {
    expect(other).not.toBe(password);
    await expect(logIn(context, { ...account, password: other })).rejects.toMatchObject({
      code: 'invalid_credentials',
    });
  }
  await expect(logIn(context, account)).resolves.toMatchObject({ admin_email: account.email });
});

/** What a query may hold: names and ids, and nothing that grants anything. */
const QUERY = [
  ...['action', 'admin_id', 'cursor', 'dry_run', 'from', 'invitation_id', 'limit', 'organization_id'],
  ...['organization_name', 'session_id', 'to'],
];

test('no route takes a password, a token or an email in its query', async () => {
  type Operation = { readonly parameters?: readonly { readonly in: string; readonly name: string }[] };
  const response = await appOver().request('/openapi.json');
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, Operation>> };
  const parameters = Object.values(paths).flatMap((methods) =>
    Object.values(methods).flatMap((operation) => operation.parameters ?? []),
  );
  const names = new Set(parameters.filter((parameter) => parameter.in !== 'header').map(({ name }) => name));
  expect([...names].sort()).toEqual(QUERY);
});

test('a line of the log is one line of JSON, whatever is in it', () => {
  const lines: string[] = [];
  const hostile = '\n{"level":"info","event":"forged"}\r\u2028\u001b[2J"';
  createLog((line) => lines.push(line))('info', 'request', { device: hostile });
  expect(lines).toHaveLength(1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  expect(lines[0]).not.toMatch(/[\u0000-\u001f]/);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ event: 'request', device: hostile });
});

describe('the source', () => {
  /** The list of passwords is data. */
  const DATA = 'src/domain/admin/common-passwords-list.ts';
  const sources = readdirSync(join(REPOSITORY, 'src'), { recursive: true, encoding: 'utf8' })
    .map((path) => `src/${path.replaceAll('\\', '/')}`)
    .filter((path) => /\.m?[jt]s$/.test(path) && path !== DATA)
    .map((path) => ({ path, text: read(path) }));
  const filesWith = (pattern: RegExp) => sources.flatMap(({ path, text }) => (pattern.test(text) ? [path] : [])).sort();
  const all = (pattern: RegExp) =>
    new Set(sources.flatMap(({ text }) => [...text.matchAll(pattern)].map(([, found = '']) => found)));

  test('uses no hash but SHA-256, no cipher but AES-GCM, and chance only to wait and to choose an object', () => {
    expect(sources.length).toBeGreaterThan(100);
    expect([...all(/create(?:Hash|Hmac)\(\s*'([^']*)'/g)]).toEqual(['sha256']);
    // SHA-1 is the index of the breach service, and protects nothing.
    expect([...all(/subtle\.digest\(\s*'([^']*)'/g)].sort()).toEqual(['SHA-1', 'SHA-256']);
    expect(filesWith(/'SHA-1'/)).toEqual(['src/platform/breached-passwords.ts']);
    expect([...all(/subtle\.(?:en|de)crypt\(\s*\{ name: '([^']*)'/g)]).toEqual(['AES-GCM']);
    expect(filesWith(/createCipher|createDecipher|\bMD5\b|\bRC4\b|\bECB\b/i)).toEqual([]);
    expect(filesWith(/Math\.random/)).toEqual([
      'src/domain/audit/record.ts',
      'src/domain/retry.ts',
      'src/store/gateway/executor.ts',
    ]);
  });

  test('runs no text and no program', () => {
    expect(filesWith(/\beval\(|new Function\(|node:vm|node:child_process/)).toEqual([]);
  });

  test('asks other hosts by HTTP in known places, and follows no redirect', () => {
    const asking = filesWith(/(?:await|return|=) fetch\(/);
    expect(asking).toEqual([
      'src/platform/breached-passwords.ts',
      'src/platform/captcha.ts',
      'src/platform/mail/http-api.ts',
    ]);
    for (const path of asking) expect(read(path).match(/fetch\(/g)?.length).toBe(1);
    for (const path of asking) expect(read(path)).toMatch(/fetch\([^)]*redirect: 'manual'/);
  });

  test('writes to standard output and standard error alone', () => {
    expect(filesWith(/console\.|process\.std(?:out|err)/)).toEqual([
      'src/entry/make-key.ts',
      'src/entry/process.ts',
      'src/entry/start.mjs',
      'src/entry/worker.ts',
    ]);
  });
});

describe('on Node', () => {
  /** All that the service answers to these bytes on one connection. */
  async function answerTo(bytes: string): Promise<string> {
    const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')));
    const server = serve({ fetch: createApp(services, getConnInfo).fetch, hostname: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let answer = '';
    for await (const data of socket) answer += data;
    server.close();
    return answer;
  }
  const statusesOf = (answer: string) => [...answer.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status);

  const NEXT = 'GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

  test.each([
    ['a length beside chunks', `Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${NEXT}`],
    ['two lengths', `Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}  ${NEXT}`],
    ['an unknown encoding beside a length', `Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}${NEXT}`],
    ['a space after the name', `Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}${NEXT}`],
  ])('a request of ambiguous length is refused, and nothing after it is read: %s', async (_, rest) => {
    const head = 'POST /admin/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';
    expect(statusesOf(await answerTo(`${head}${rest}`))).toEqual(['400']);
  });

  test('TRACE is refused, and tells nothing of the request', async () => {
    const lines = ['TRACE /health/live HTTP/1.1', 'Host: x', 'Cookie: a-secret', 'Connection: close', '', ''];
    const answer = await answerTo(lines.join('\r\n'));
    expect(statusesOf(answer)).toEqual(['405']);
    expect(answer).not.toContain('a-secret');
  });
});
