import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { OrganizationDocument } from '../../src/domain/organization/organization.ts';
import type { Database } from '../../src/store/store.ts';
import type { Caller } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService, ServiceOptions, StoreChoice } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { countStored } from '../support/stored.ts';
import { openDatabase, readDatabase } from '../support/tenant-store.ts';
import { givenUri } from '../support/wire-server.ts';

const mongoUri = inject('secantusUri');

const RENAMING = givenUri() ?? inject('ferretUri');

const EMBEDDED: StoreChoice = { kind: 'embedded' };
const MONGO: StoreChoice | undefined = mongoUri === undefined ? undefined : { kind: 'mongo', uri: mongoUri };

/** Short, so that a test sees how it ends. */
const TIMES = { LEASE_MS: '1000', QUARANTINE_MS: '3000', RECONCILE_MS: '200' };

/** How soon a late write is where it belongs, and what it brought back is gone. */
const SWEEP_MS = 60_000;

describe.each([
  { storeName: 'the embedded store', store: EMBEDDED as StoreChoice | undefined },
  { storeName: 'MongoDB', store: MONGO },
])('node on $storeName', ({ store }) => {
  describe.skipIf(store === undefined)('as it comes', () => {
    let service: RunningService;
    let caller: Caller;
    let opened: ReturnType<typeof openDatabase>;
    let database: Database;

    beforeAll(async () => {
      service = await startService({ runtime: 'node', store: store ?? EMBEDDED, env: TIMES });
      caller = createCaller(service.url);
      opened = openDatabase(service);
      database = opened.database;
    });

    afterAll(async () => {
      await opened?.close();
      await service?.stop();
    });

    const create = (key: string, body: Readonly<Record<string, string>>) =>
      caller.request('POST', '/org/create', { headers: { 'Idempotency-Key': key }, body });

    const newBody = () => ({ organization_name: newName(), email: newEmail(), password: caller.newPassword() });

    const activeOf = (name: string) =>
      database.collection<OrganizationDocument>('organizations').find({ name, status: 'active' });

    test('a dry run of an update says what would change, and changes nothing', async () => {
      const tenant = await caller.signedInTenant();
      await database.collection(tenant.collection).insertMany([{ _id: 'one' }, { _id: 'two' }, { _id: 'three' }]);
      const before = await readDatabase(database);
      const name = newName('Would Be');
      const preview = await caller.request('PUT', '/org/update', {
        token: tenant.token,
        query: { dry_run: 'true' },
        body: { new_organization_name: name, email: newEmail() },
      });
      expect(preview.status, preview.text).toBe(200);
      expect(preview.json).toEqual({
        dry_run: true,
        organization_name: { from: tenant.name, to: name },
        collection_name: { from: tenant.collection, to: `org_${name.toLowerCase().replaceAll(' ', '_')}` },
        documents: 3,
        admins: 1,
      });
      const other = await caller.tenant();
      expectProblem(
        await caller.request('PUT', '/org/update', {
          token: tenant.token,
          query: { dry_run: 'true' },
          body: { new_organization_name: other.name },
        }),
        409,
        'organization_name_taken',
      );
      const after = await readDatabase(database);
      for (const collection of ['claims', 'admins', 'organizations', tenant.collection]) {
        expect(after.get(collection)).toEqual(expect.arrayContaining([...(before.get(collection) ?? [])]));
      }
      expect((await caller.request('GET', '/admin/me', { token: tenant.token })).status).toBe(200);
    });

    test('a dry run of a delete says what would go, and nothing goes', async () => {
      const tenant = await caller.signedInTenant();
      await database.collection(tenant.collection).insertMany([{ _id: 'one' }, { _id: 'two' }]);
      const dryRun = (organization_name: string) =>
        caller.request('DELETE', '/org/delete', { token: tenant.token, query: { organization_name, dry_run: 'true' } });
      const preview = await dryRun(tenant.name);
      expect(preview.status, preview.text).toBe(200);
      expect(preview.json).toEqual({
        dry_run: true,
        organization_name: tenant.name,
        collection_name: tenant.collection,
        documents: 2,
        admins: 1,
        restorable_until: null,
      });
      expectProblem(await dryRun((await caller.tenant()).name), 403, 'forbidden');
      expect((await caller.get(tenant.name)).json.organization_id).toBe(tenant.organizationId);
      expect((await countStored(service))[tenant.collection]).toBe(2);
      expect((await caller.request('GET', '/admin/me', { token: tenant.token })).status).toBe(200);
    });

    test('an Idempotency-Key gives the first answer again, to the same request only', async () => {
      const body = newBody();
      const first = await create(body.email, body);
      expect(first.status, first.text).toBe(200);
      const again = await create(body.email, body);
      expect([again.status, again.json]).toEqual([200, first.json]);
      for (const changed of [
        { organization_name: newName() },
        { email: newEmail() },
        { password: caller.newPassword() },
      ]) {
        expectProblem(await create(body.email, { ...body, ...changed }), 422, 'idempotency_key_reused');
      }
      expectProblem(await create(newEmail(), body), 409, 'organization_name_taken');
      expect(await activeOf(body.organization_name)).toHaveLength(1);
      expect(JSON.stringify([...(await readDatabase(database))])).not.toContain(`key-${body.email}`);
    });

    test('an Idempotency-Key whose request was refused is good for another try', async () => {
      const holder = await caller.signedInTenant();
      const body = { ...newBody(), organization_name: holder.name };
      expectProblem(await create(body.email, body), 409, 'organization_name_taken');
      expect((await caller.remove(holder.token, holder.name)).status).toBe(200);
      expect((await create(body.email, body)).status).toBe(200);
    });

    test('an Idempotency-Key used by ten at once makes one organization, and nobody is told of another', async () => {
      const body = newBody();
      const answers = await Promise.all(Array.from({ length: 10 }, () => create(body.email, body)));
      const [made, ...others] = answers.filter(({ status }) => status === 200);
      expect(made).toBeDefined();
      for (const other of others) expect(other.json).toEqual(made?.json);
      for (const answer of answers) {
        if (answer.status !== 200) expectProblem(answer, 409, 'idempotency_key_in_use');
      }
      expect(await activeOf(body.organization_name)).toHaveLength(1);
      expect((await create(body.email, body)).json).toEqual(made?.json);
    });

    test('a create whose connection was cut, asked for again, gives the first answer and one organization', async () => {
      for (const waitMs of [0, 5, 30, 100, 300]) {
        const body = newBody();
        await cut(service.url, 'POST /org/create', { 'Idempotency-Key': body.email }, body, waitMs);
        const answer = await until('an answer', async () => {
          const again = await create(body.email, body);
          if (again.status === 409) expectProblem(again, 409, 'idempotency_key_in_use');
          return again.status === 200 ? again : undefined;
        });
        const [organization, ...others] = await activeOf(body.organization_name);
        expect(others).toEqual([]);
        expect(answer.json.organization_id).toBe(organization?._id);
        expect((await caller.login(body)).json.admin_id).toBe(answer.json.admin_id);
      }
    });

    test('a create whose service was killed, asked for again, gives one organization', async () => {
      for (const waitMs of [20, 80, 140]) {
        const body = newBody();
        const sent = create(body.email, body).catch(() => undefined);
        await delay(waitMs);
        await service.kill('SIGKILL');
        const first = await sent;
        await service.restart();
        const answer = await until('an answer', async () => {
          const again = await create(body.email, body);
          if (again.status === 409) expectProblem(again, 409, 'idempotency_key_in_use');
          return again.status === 200 ? again : undefined;
        });
        if (first?.status === 200) expect(answer.json).toEqual(first.json);
        const [organization, ...others] = await activeOf(body.organization_name);
        expect(others).toEqual([]);
        expect(answer.json.organization_id).toBe(organization?._id);
        expect((await caller.login(body)).status).toBe(200);
      }
    });

    test('a rename and a delete whose replies were lost give their answers to whoever asks again', async () => {
      const tenant = await caller.signedInTenant();
      const name = newName('Renamed');
      const headers = { Authorization: `Bearer ${tenant.token}` };
      await cut(service.url, 'PUT /org/update', headers, { new_organization_name: name }, 5);
      const renamed = await until('the rename', async () => {
        const again = await caller.update(tenant.token, { new_organization_name: name });
        if (again.status === 409) expectProblem(again, 409, 'conflict');
        return again.status === 200 ? again : undefined;
      });
      expect(renamed.json).toMatchObject({ organization_id: tenant.organizationId, organization_name: name });
      expectProblem(await caller.update(tenant.token, { new_organization_name: newName() }), 401, 'invalid_token');

      const token: string = renamed.json.access_token;
      const target = `DELETE /org/delete?${new URLSearchParams({ organization_name: name })}`;
      await cut(service.url, target, { Authorization: `Bearer ${token}` }, undefined, 5);
      for (const _ of ['once', 'again']) {
        const gone = await until('the delete', async () => {
          const again = await caller.remove(token, name);
          if (again.status === 409) expectProblem(again, 409, 'conflict');
          return again.status === 200 ? again : undefined;
        });
        expect(gone.json).toEqual({ deleted: true, organization_name: name });
      }
      expectProblem(await caller.get(name), 404, 'organization_not_found');
    });
  });

  describe.skipIf(store === undefined)('with names remembered', () => {
    const running = ended();

    test('a name that was left leads to the new one, is nobody else’s, and can be taken back', async () => {
      const service = await running({ store: store ?? EMBEDDED, env: { ...TIMES, NAME_LEASE_DAYS: '1' } });
      const caller = createCaller(service.url);
      const tenant = await caller.signedInTenant();
      const name = newName('Moved On');
      const renamed = await caller.update(tenant.token, { new_organization_name: name });
      expect(renamed.status, renamed.text).toBe(200);

      const path = `/org/get?${new URLSearchParams({ organization_name: tenant.name.toUpperCase() })}`;
      const answer = await caller.raw('GET', path, []);
      expectProblem(answer, 308, 'organization_renamed');
      const location = new URL(answer.headers.get('Location') ?? '', service.url);
      expect([location.pathname, location.searchParams.get('organization_name')]).toEqual(['/org/get', name]);
      expect((await caller.get(tenant.name)).json.organization_id).toBe(tenant.organizationId);

      expectProblem(await caller.create(tenant.name), 409, 'organization_name_taken');
      const other = await caller.signedInTenant();
      expectProblem(
        await caller.update(other.token, { new_organization_name: tenant.name }),
        409,
        'organization_name_taken',
      );
      const back = await caller.update(renamed.json.access_token, { new_organization_name: tenant.name });
      expect(back.status, back.text).toBe(200);
      expect((await caller.get(name)).json.organization_name).toBe(tenant.name);

      // With the organization, the names that it left go too.
      expect((await caller.remove(back.json.access_token, tenant.name)).status).toBe(200);
      for (const free of [tenant.name, name]) {
        expectProblem(await caller.get(free), 404, 'organization_not_found');
        expect((await caller.create(free)).status).toBe(200);
      }
    });
  });

  describe.skipIf(store === undefined)('with deleted organizations kept', () => {
    const running = ended();

    test('one is gone for everybody, comes back whole, and leaves no trace once it is purged', async () => {
      const service = await running({ store: store ?? EMBEDDED, env: { ...TIMES, DELETE_RETENTION_DAYS: '30' } });
      const caller = createCaller(service.url);
      const { database, close } = openDatabase(service);
      const tenant = await caller.signedInTenant();
      const documents = Array.from({ length: 25 }, (_, n) => ({ _id: `document-${n}`, owner: tenant.email }));
      await database.collection(tenant.collection).insertMany(documents);
      await database.collection(tenant.collection).ensureIndexes([{ name: 'owner', key: { owner: 1 } }]);

      const restore = (password: string) =>
        caller.request('POST', '/org/restore', {
          body: { organization_name: tenant.name, email: tenant.email, password },
        });
      expectProblem(await restore(tenant.password), 401, 'invalid_credentials');
      expect((await caller.remove(tenant.token, tenant.name)).status).toBe(200);
      expectProblem(await caller.get(tenant.name), 404, 'organization_not_found');
      expectProblem(await caller.login(tenant), 401, 'invalid_credentials');
      expectProblem(await caller.request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
      expectProblem(await caller.create(tenant.name), 409, 'organization_name_taken');
      expect(await database.listCollections(tenant.collection)).toEqual([]);
      expectProblem(await restore(caller.newPassword()), 401, 'invalid_credentials');

      const restored = await restore(tenant.password);
      expect(restored.status, restored.text).toBe(200);
      expect(restored.json).toMatchObject({
        organization_id: tenant.organizationId,
        organization_name: tenant.name,
        collection_name: tenant.collection,
        status: 'active',
      });
      expect(await database.collection(tenant.collection).count({})).toBe(documents.length);
      const login = await caller.login(tenant);
      expect(login.status, login.text).toBe(200);
      expectProblem(await caller.request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');

      expect((await caller.remove(login.json.access_token, tenant.name)).status).toBe(200);
      const organizations = database.collection<OrganizationDocument>('organizations');
      await until('the delete to end', () => organizations.findOne({ _id: tenant.organizationId, status: 'deleted' }));
      await organizations.updateOne({ _id: tenant.organizationId }, { $set: { purge_at: new Date(0) } });
      const erasure = () =>
        caller.request('GET', '/org/erasure', { query: { organization_id: tenant.organizationId } });
      const receipt = await until('the purge to leave nothing', async () => {
        const { status, json } = await erasure();
        const counts: number[] = status === 200 ? Object.values(json.remaining) : [];
        return counts.length > 0 && counts.every((count) => count === 0) ? json : undefined;
      });
      expect(receipt.removed).toMatchObject({ documents: documents.length, admins: 1 });
      expectProblem(await restore(tenant.password), 401, 'invalid_credentials');

      const { organizationId, adminId, email, name, collection } = tenant;
      for (const [kept, found] of await readDatabase(database)) {
        if (TELLING.includes(kept)) continue;
        const text = JSON.stringify(found);
        for (const trace of [organizationId, adminId, email, name, name.toLowerCase(), collection]) {
          expect(text.includes(trace), `${trace} in ${kept}`).toBe(false);
        }
      }
      expect((await caller.create(tenant.name)).status).toBe(200);
      await close();
    });
  });
});

test('workerd brings a deleted organization back, documents and all', async () => {
  const env = { DELETE_RETENTION_DAYS: '30' };
  const service = await startService({ runtime: 'workerd', store: EMBEDDED, env });
  try {
    const caller = createCaller(service.url);
    const tenant = await caller.signedInTenant();
    expect((await caller.remove(tenant.token, tenant.name)).status).toBe(200);
    expectProblem(await caller.get(tenant.name), 404);
    expect((await countStored(service))[tenant.collection]).toBeUndefined();
    const { organization_name, email, password } = { organization_name: tenant.name, ...tenant };
    const restored = await caller.request('POST', '/org/restore', { body: { organization_name, email, password } });
    expect(restored.status, restored.text).toBe(200);
    expect((await caller.get(tenant.name)).json.organization_id).toBe(tenant.organizationId);
    expect((await countStored(service))[tenant.collection]).toBe(0);
    expect((await caller.login(tenant)).status).toBe(200);
  } finally {
    await service.stop();
  }
});

/**
 * A server whose renames are one step, as MongoDB's are: SecantusDB's leave halves of documents where an insert comes in
 * between. On FerretDB, one instance of the service is what there may be.
 */
describe.skipIf(RENAMING === undefined)('writers that hold an old collection name', () => {
  const running = ended();

  test('find their documents in the renamed collection, and never in another tenant’s', {
    timeout: 120_000,
  }, async () => {
    const service = await running({
      store: { kind: 'mongo', uri: RENAMING ?? '' },
      env: { ...TIMES, QUARANTINE_MS: '30000' },
    });
    const caller = createCaller(service.url);
    const client = new MongoClient(RENAMING ?? '');
    const tenants = client.db(service.masterDatabase);

    const renamed = await caller.signedInTenant();
    const deleted = await caller.signedInTenant();
    const kept = startWriter(client, service.masterDatabase, renamed.collection, 'kept');
    const lost = startWriter(client, service.masterDatabase, deleted.collection, 'lost');
    await until('writes', () => (kept.written() > 5 && lost.written() > 5 ? true : undefined));

    const name = newName('Renamed Under Writers');
    const [update, remove] = await Promise.all([
      caller.update(renamed.token, { new_organization_name: name }),
      caller.remove(deleted.token, deleted.name),
    ]);
    expect(update.status, update.text).toBe(200);
    expect(remove.status, remove.text).toBe(200);
    const collection: string = update.json.collection_name;
    // Somebody else takes each of the names at once, while the writers go on.
    const successors = [await caller.tenant(renamed.name), await caller.tenant(deleted.name)];
    const [keptAtChange, lostAtChange] = [kept.written(), lost.written()];
    await until('late writes', () =>
      kept.written() > keptAtChange + 5 && lost.written() > lostAtChange + 5 ? true : undefined,
    );
    const [written] = await Promise.all([kept.stop(), lost.stop()]);

    await until(
      'every late write to be where it belongs',
      async () => {
        const names = (await tenants.listCollections({}, { nameOnly: true }).toArray()).map((found) => found.name);
        const stray = names.filter((found) => /^(org|late|trash)_/.test(found)).filter((found) => found !== collection);
        const successorsOnly = successors.map((successor) => successor.collection);
        return stray.every((found) => successorsOnly.includes(found)) ? true : undefined;
      },
      { ms: SWEEP_MS, every: 200 },
    );
    const found = await tenants.collection<{ _id: string }>(collection).find().toArray();
    expect(found.map(({ _id }) => _id).sort()).toEqual([...written].sort());
    for (const successor of successors) {
      expect(await tenants.collection(successor.collection).countDocuments()).toBe(0);
    }
    await client.close();
  });
});

/** Collections that are there to tell of an organization that is gone. */
const TELLING = ['erasures', 'audit', 'audit_heads'];

/** Starts services that end with the test. */
function ended(): (options: Pick<ServiceOptions, 'store' | 'env'>) => Promise<RunningService> {
  const running: RunningService[] = [];
  afterEach(async () => {
    for (const service of running.splice(0)) await service.stop();
  });
  return async (options) => {
    const service = await startService({ runtime: 'node', ...options });
    running.push(service);
    return service;
  };
}

/** A plain client that goes on inserting into the collection whose name it has. */
function startWriter(client: MongoClient, database: string, collection: string, stem: string) {
  const target = client.db(database).collection<{ _id: string }>(collection);
  const acknowledged: string[] = [];
  let writing = true;
  const write = async () => {
    for (let n = 0; writing; n++) {
      await target.insertOne({ _id: `${stem}-${n}` });
      acknowledged.push(`${stem}-${n}`);
    }
    return acknowledged;
  };
  const written = write();
  return {
    written: () => acknowledged.length,
    stop: () => {
      writing = false;
      return written;
    },
  };
}

/** Sends a request, waits so long, and cuts the connection without looking at the answer. */
async function cut(
  url: string,
  line: string,
  headers: Readonly<Record<string, string>>,
  body: unknown,
  waitMs: number,
): Promise<void> {
  const { hostname, port, host } = new URL(url);
  const text = body === undefined ? '' : JSON.stringify(body);
  const fields = { Host: host, 'Content-Type': 'application/json', 'Content-Length': String(text.length), ...headers };
  const head = [`${line} HTTP/1.1`, ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`)];
  const socket = connect(Number(port), hostname);
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.write(`${head.join('\r\n')}\r\n\r\n${text}`, () => resolve());
  });
  await delay(waitMs);
  socket.destroy();
}
