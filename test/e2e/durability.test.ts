import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, inject, test } from 'vitest';
import type { Caller, Tenant } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService, ServiceOptions, StoreChoice } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { countStored } from '../support/stored.ts';
import type { WireServer } from '../support/wire-server.ts';
import { startMongo } from '../support/wire-server.ts';

const mongoUri = inject('secantusUri');

const cells = (['node', 'bun'] as const).flatMap((runtime) => [
  { runtime, storeName: 'the embedded store', store: { kind: 'embedded' } as StoreChoice | undefined },
  {
    runtime,
    storeName: 'MongoDB',
    store: mongoUri === undefined ? undefined : ({ kind: 'mongo', uri: mongoUri } as const),
  },
]);

const CALLERS = 4;
const BATCH = 8;

describe.each(cells)('$runtime on $storeName', ({ runtime, store }) => {
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
        env: { STORE_TIMEOUT_MS: '2000' },
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

  const ownMongo = async (): Promise<WireServer> => {
    const server = await startMongo();
    if (server === undefined) throw new Error('No MongoDB to kill: see the line above.');
    running.push(server);
    return server;
  };
});

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
