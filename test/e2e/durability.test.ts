import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, inject, test } from 'vitest';
import type { Answer, Caller, RequestOptions, Tenant } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService, ServiceOptions, StoreChoice } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { countStored } from '../support/stored.ts';
import type { WireServer } from '../support/wire-server.ts';
import { startMongo } from '../support/wire-server.ts';

const mongoUri = inject('secantusUri');

const environments = (['node', 'bun'] as const).flatMap((runtime) => [
  { runtime, storeName: 'the embedded store', store: { kind: 'embedded' } as StoreChoice | undefined },
  {
    runtime,
    storeName: 'MongoDB',
    store: mongoUri === undefined ? undefined : ({ kind: 'mongo', uri: mongoUri } as const),
  },
]);

const CALLERS = 4;
const BATCH = 8;

/** How long requests may wait for the database in the tests that take it away, and what a busy machine adds. */
const TIMEOUT_MS = 3000;
const SLACK_MS = 1000;

/** How soon after the database is back the service serves in full. */
const RETURN_MS = 2000;

describe.each(environments)('$runtime on $storeName', ({ runtime, store }) => {
  const running: { stop(): Promise<void> }[] = [];

  afterEach(async () => {
    for (const part of running.splice(0).reverse()) await part.stop();
  });

  const start = async (options: Partial<ServiceOptions> = {}): Promise<RunningService> => {
    const service = await startService({ runtime, store: store ?? { kind: 'embedded' }, ...options });
    running.push(service);
    return service;
  };

  test.skipIf(store === undefined)('a SIGTERM ends it with code 0, with every request under way answered', async () => {
    const service = await start();
    const caller = createCaller(service.url);
    // Connections that the service has taken, so that what is sent next is under way at once.
    await Promise.all(Array.from({ length: BATCH }, () => caller.request('GET', '/health/ready')));
    const creates = Array.from({ length: BATCH }, () => caller.tenant());
    await Promise.race(creates);
    const exit = service.kill('SIGTERM');
    const tenants = await Promise.all(creates);
    expect(await exit).toEqual({ code: 0, signal: null });

    await service.restart();
    await expectAllThere(caller, tenants);
  });

  test.skipIf(store === undefined)('a SIGKILL under load loses nothing that was acknowledged', async () => {
    const service = await start();
    const caller = createCaller(service.url);
    const acknowledged = await underLoad(caller, () => service.kill('SIGKILL'));
    await service.restart();
    await expectAllThere(caller, acknowledged);
  });

  test.skipIf(store === undefined)(
    '20 creates of one name at once, across two processes on one store, make exactly one organization',
    async () => {
      const one = await start();
      const two = await start({
        env: { DATA_DIR: one.dataDirectory, MASTER_DB: one.masterDatabase, JWT_SECRET: one.jwtSecret },
      });
      const callers = [createCaller(one.url), createCaller(two.url)];
      const name = newName('Only');
      const before = await countStored(one);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (callers[index % 2] as Caller).create(index % 3 === 0 ? name.toUpperCase() : name),
        ),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
      const after = await countStored(two);
      expect(after['organizations']).toBe((before['organizations'] ?? 0) + 1);
      expect(after['admins']).toBe((before['admins'] ?? 0) + 1);
      expect(Object.keys(after).filter((collection) => collection.startsWith('org_'))).toHaveLength(1);
      const seen = await Promise.all(callers.map((caller) => caller.get(name)));
      expect(seen[0]?.json).toEqual(seen[1]?.json);
    },
  );

  if (store?.kind === 'mongo') {
    test('a SIGKILL of the database under load loses nothing that was acknowledged, and it comes back', async () => {
      const database = await ownMongo();
      const service = await start({
        store: { kind: 'mongo', uri: database.uri },
        env: { STORE_TIMEOUT_MS: '3000' },
      });
      const caller = createCaller(service.url);
      const acknowledged = await underLoad(caller, () => database.kill('SIGKILL'));

      const away = await caller.get((acknowledged[0] as Tenant).name);
      expectProblem(away, 503, 'unavailable');
      expect(Number(away.headers.get('Retry-After'))).toBeGreaterThan(0);
      expectProblem(await caller.request('GET', '/health/ready'), 503, 'unavailable');
      expect((await caller.request('GET', '/health/live')).status).toBe(200);

      await database.restart();
      await until('the service to be ready again', async () =>
        (await caller.request('GET', '/health/ready')).status === 200 ? true : undefined,
      );
      await expectAllThere(caller, acknowledged);
      await caller.tenant();
    });
  }

  if (store?.kind === 'mongo') {
    test.each(['killed', 'frozen'] as const)(
      'a database %s amid requests of every endpoint costs each a 503 in time, and nothing once it is back',
      async (how) => {
        const database = await ownMongo();
        const service = await start({
          store: { kind: 'mongo', uri: database.uri },
          env: { STORE_TIMEOUT_MS: String(TIMEOUT_MS) },
        });
        const caller = createCaller(service.url);
        const there = await caller.tenant();
        const requests = await everyRequest(caller);

        const underWay = sendAll(caller, requests);
        if (how === 'killed') await database.kill('SIGKILL');
        else await database.freeze();
        const live = watchLive(service.url);
        const later = await sendAll(caller, requests);
        const lifeSigns = await live();
        for (const { request, answer, ms } of await underWay) {
          // Who was answered before the blow has what was asked for.
          if (answer.status === 503) expectAway(answer);
          else expect(answer.status, `${request.method} ${request.path}: ${answer.text}`).toBeLessThan(500);
          expect(ms, `${request.method} ${request.path}`).toBeLessThan(TIMEOUT_MS + SLACK_MS);
        }
        for (const { request, answer, ms } of later) {
          if (request.stored) expectAway(answer);
          expect(ms, `${request.method} ${request.path}`).toBeLessThan(TIMEOUT_MS + SLACK_MS);
        }
        expect(lifeSigns.length).toBeGreaterThan(5);
        expect(lifeSigns[Math.floor(lifeSigns.length * 0.9)]).toBeLessThan(100);

        if (how === 'killed') await database.restart();
        else database.thaw();
        await until('to be served', async () => (await caller.get(there.name)).status === 200 || undefined, {
          ms: RETURN_MS,
          every: 20,
        });
        // From here on at the first try.
        const tenant = await caller.signedInTenant();
        const renamed = await caller.update(tenant.token, { new_organization_name: newName() });
        expect(renamed.status, renamed.text).toBe(200);
      },
    );

    test('one that was started while the database was away serves once it is there', async () => {
      const database = await ownMongo();
      const service = await start({ store: { kind: 'mongo', uri: database.uri }, env: { STORE_TIMEOUT_MS: '3000' } });
      const caller = createCaller(service.url);
      await service.kill('SIGKILL');
      await database.kill('SIGKILL');
      const ready = service.restart();
      for (const tries of ['first', 'second']) {
        await until(`the ${tries} refusal`, async () =>
          (await caller.request('GET', '/health/ready')).status === 503 ? true : undefined,
        );
      }
      await database.restart();
      await ready;
      await caller.tenant();
    });
  }

  const ownMongo = async (): Promise<WireServer> => {
    const server = await startMongo({ durable: true });
    if (server === undefined) throw new Error('No MongoDB to kill: see the line above.');
    running.push(server);
    return server;
  };
});

type EndpointRequest = {
  readonly method: string;
  readonly path: string;
  readonly options: RequestOptions;
  /** Whether it is known to need the store. */
  readonly stored: boolean;
};

/** A request of every endpoint, as the service describes them. */
async function everyRequest(caller: Caller): Promise<EndpointRequest[]> {
  const changed = await caller.signedInTenant();
  const deleted = await caller.signedInTenant();
  const other = await caller.signedInTenant();
  const { refresh_token } = (await caller.login(other)).json;
  const credentials = { email: newEmail(), password: caller.newPassword() };
  const { token } = other;
  const known: Readonly<Record<string, RequestOptions>> = {
    'POST /org/create': { body: { organization_name: newName(), ...credentials } },
    'GET /org/get': { query: { organization_name: other.name } },
    'PUT /org/update': { token: changed.token, body: { new_organization_name: newName(), email: newEmail() } },
    'DELETE /org/delete': { token: deleted.token, query: { organization_name: deleted.name } },
    'POST /org/restore': { body: { organization_name: other.name, email: other.email, password: other.password } },
    'GET /org/erasure': { query: { organization_id: other.organizationId } },
    'POST /admin/login': { body: { email: other.email, password: other.password } },
    'POST /admin/refresh': { body: { refresh_token } },
    'POST /admin/logout': { body: { refresh_token } },
    'GET /admin/me': { token },
    'GET /health/ready': {},
  };
  const { paths } = (await caller.request('GET', '/openapi.json')).json;
  return Object.entries<object>(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((name) => {
      const method = name.toUpperCase();
      const options = known[`${method} ${path}`];
      return { method, path, options: options ?? { token }, stored: options !== undefined };
    }),
  );
}

/** Sends each of them, all at once. */
function sendAll(caller: Caller, requests: readonly EndpointRequest[]) {
  return Promise.all(
    requests.map(async (request) => {
      const sent = performance.now();
      const answer = await caller.request(request.method, request.path, request.options);
      return { request, answer, ms: performance.now() - sent };
    }),
  );
}

function expectAway(answer: Answer): void {
  expectProblem(answer, 503, 'unavailable');
  expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(0);
}

/** Asks again and again whether the process answers, until told to end; then how long each took, in order of length. */
function watchLive(url: string): () => Promise<number[]> {
  let watching = true;
  const watch = async () => {
    const took: number[] = [];
    while (watching) {
      const sent = performance.now();
      const response = await fetch(`${url}/health/live`);
      await response.arrayBuffer();
      took.push(performance.now() - sent);
      await delay(20);
    }
    return took.sort((a, b) => a - b);
  };
  const watched = watch();
  return () => {
    watching = false;
    return watched;
  };
}

/** Creates from several callers at once until, some being acknowledged, the blow falls; resolves to those that were. */
async function underLoad(caller: Caller, blow: () => Promise<unknown>): Promise<Tenant[]> {
  const acknowledged: Tenant[] = [];
  let fallen = false;
  const createUntilFallen = async () => {
    while (!fallen) {
      const credentials = { email: newEmail(), password: caller.newPassword() };
      const answer = await caller.create(newName(), credentials).catch(() => undefined);
      if (answer?.status === 200) {
        const { organization_id, organization_name, collection_name, admin_id } = answer.json;
        acknowledged.push({
          ...credentials,
          name: organization_name,
          organizationId: organization_id,
          collection: collection_name,
          adminId: admin_id,
        });
      } else await delay(1);
    }
  };
  const load = Promise.all(Array.from({ length: CALLERS }, createUntilFallen));
  await until('enough acknowledged creates', () => (acknowledged.length >= BATCH ? true : undefined), { every: 5 });
  await blow();
  fallen = true;
  await load;
  return acknowledged;
}

async function expectAllThere(caller: Caller, tenants: readonly Tenant[]): Promise<void> {
  for (const tenant of tenants) {
    const { json, text } = await caller.get(tenant.name);
    expect(json, text).toMatchObject({
      organization_id: tenant.organizationId,
      collection_name: tenant.collection,
      status: 'active',
    });
    const login = await caller.login(tenant);
    expect(login.status, login.text).toBe(200);
    expect(login.json.admin_id).toBe(tenant.adminId);
  }
}
