import { Binary, Decimal128, Double, Long, MongoClient, ObjectId } from 'mongodb';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { getErasure } from '../../src/domain/organization/erasure.ts';
import { getOrganization } from '../../src/domain/organization/get.ts';
import { reconcile } from '../../src/domain/organization/reconcile.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import type { Principal } from '../../src/domain/session/authenticate.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Services } from '../../src/services.ts';
import { createMongoExecutor } from '../../src/store/mongo.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { createStore } from '../../src/store/store.ts';
import { until } from '../support/deadline.ts';
import { createInstance, goneAt, ownerOf, principalOf } from '../support/instance.ts';
import type { Backend, RefusingExecutor } from '../support/native-tenant.ts';
import { refusingRenames, startWriter } from '../support/native-tenant.ts';

const MASTER = `copy_${crypto.randomUUID().slice(0, 8)}`;
/** A machine that others load may be slow to copy: no request gives up waiting for that here. */
const ENV = { MASTER_DB: MASTER, QUARANTINE_MS: '2000', STORE_TIMEOUT_MS: '60000', COPY_WAIT_MS: '36000' };

type Backing = { readonly executor: Executor; readonly backend: Backend; close(): Promise<void> };

/** A tenant's backend on the embedded store writes by the port, which is all that there is. */
function onSqlite(): Backing {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  const tenants = createStore(executor).database(MASTER);
  return {
    executor,
    backend: {
      put: async (collection, key, version) => {
        await tenants
          .collection(collection)
          .updateOne({ _id: `k${key}` }, { $set: { key, version } }, { upsert: true });
      },
      remove: async (collection, key) => {
        await tenants.collection(collection).deleteOne({ _id: `k${key}` });
      },
      all: async (collection) => {
        const found = await tenants.collection(collection).find({});
        return new Map(found.map(({ key, version }) => [Number(key), Number(version)]));
      },
    },
    close: () => executor.close(),
  };
}

/** With a driver of its own, ids that are ObjectIds and fields that JSON does not have. */
function onMongo(uri: string): Backing {
  const executor = createMongoExecutor({ uri, timeoutMs: 10_000 });
  const client = new MongoClient(uri, { maxPoolSize: 4 });
  const tenants = client.db(MASTER);
  const idOf = (key: number) => new ObjectId(key.toString(16).padStart(24, '0'));
  return {
    executor,
    backend: {
      put: async (collection, key, version) => {
        const document = {
          key,
          version: Long.fromNumber(version),
          whole: new Double(1),
          price: Decimal128.fromString('1.10'),
          bytes: new Binary(Buffer.from([key % 256])),
          nested: { list: [new Double(2), { id: idOf(key) }] },
        };
        await tenants.collection(collection).replaceOne({ _id: idOf(key) }, document, { upsert: true });
      },
      remove: async (collection, key) => {
        await tenants.collection(collection).deleteOne({ _id: idOf(key) });
      },
      all: async (collection) => {
        const found = await tenants.collection(collection).find({}, { promoteValues: false }).toArray();
        return new Map(
          found.map((document) => {
            expect(document).toMatchObject({
              whole: new Double(1),
              price: Decimal128.fromString('1.10'),
              nested: { list: [new Double(2), { id: document._id }] },
            });
            expect(document['version']).toBeInstanceOf(Long);
            return [Number(document['key']), Number(document['version'])];
          }),
        );
      },
    },
    close: async () => {
      await client.db(MASTER).dropDatabase();
      await client.close();
      await executor.close();
    },
  };
}

const uri = inject('secantusUri');
const backings: Record<string, () => Backing> = {
  'the embedded store': onSqlite,
  ...(uri !== undefined && { SecantusDB: () => onMongo(uri) }),
};

describe.each(Object.entries(backings))('where renameCollection is refused, on %s', (name, open) => {
  let backing: Backing;
  let refusing: RefusingExecutor;
  let services: Services;
  let context: Context;

  beforeAll(async () => {
    backing = open();
    refusing = refusingRenames(backing.executor);
    services = createInstance(refusing, ENV);
    context = services.context;
    await services.prepare();
  });

  afterAll(() => backing.close());

  const names = () => createStore(backing.executor).database(MASTER).listCollections();
  const collectionOf = async (principal: Principal) =>
    (await context.master.organizations.findOne({ _id: principal.organization._id }))?.placement.collection ?? '';
  const fill = async (principal: Principal, keys: number) => {
    const collection = await collectionOf(principal);
    for (let key = 0; key < keys; key++) await backing.backend.put(collection, key, key);
    return collection;
  };
  const reconciledUntil = (what: string, holds: () => Promise<boolean>) =>
    until(what, async () => {
      await services.reconcile({ thorough: true });
      return (await holds()) ? true : undefined;
    });

  test('a rename copies everything, with indexes, and drops the old collection after the quarantine', async () => {
    const principal = await ownerOf(context, `Copied ${context.newId()}`);
    const old = await fill(principal, 30);
    const tenants = createStore(backing.executor).database(MASTER);
    await tenants.collection(old).ensureIndexes([{ name: 'by_key', key: { key: 1 }, unique: true }]);
    const before = await backing.backend.all(old);

    const renamed = await updateOrganization(context, principal, { new_organization_name: `Moved ${context.newId()}` });
    expect(renamed).toMatchObject({ status: 'active', access_token: expect.any(String) });
    const current = renamed.collection_name;
    expect(current).not.toBe(old);
    expect(await backing.backend.all(current)).toEqual(before);
    await expect(tenants.collection(current).ensureIndexes([{ name: 'by_key', key: { other: 1 } }])).rejects.toThrow();

    await reconciledUntil('the old collection to be gone, and its name free', async () => {
      const claims = await context.master.claims.count({ organization_id: principal.organization._id });
      return claims === 2 && !(await names()).includes(old);
    });
    expect((await names()).filter((name) => name.includes(principal.organization._id))).toEqual([]);
    expect(await backing.backend.all(current)).toEqual(before);
  });

  test('no acknowledged write is lost that was made through the copy, the switch and after it', async () => {
    const principal = await ownerOf(context, `Busy ${context.newId()}`);
    const old = await fill(principal, 100);
    const keys = Array.from({ length: 30 }, (_, n) => 1000 + n);
    const writer = startWriter(backing.backend, () => old, keys);
    const renamed = await updateOrganization(context, principal, { new_organization_name: `Free ${context.newId()}` });
    const current = renamed.collection_name;
    expect(renamed.status).toBe('active');
    // Who has the new name by now writes other documents there, some of which were copied.
    for (let key = 0; key < 20; key++) await backing.backend.put(current, key, 5000 + key);
    for (let key = 20; key < 30; key++) await backing.backend.remove(current, key);
    const atSwitch = writer.writes();
    await until('some late writes', () => (writer.writes() > atSwitch + 40 ? true : undefined));
    await services.reconcile({ thorough: false });
    await until('more late writes', () => (writer.writes() > atSwitch + 80 ? true : undefined));
    await writer.stop();
    expect(writer.writes()).toBeGreaterThan(100);

    const expected = new Map(Array.from({ length: 70 }, (_, n) => [30 + n, 30 + n]));
    for (let key = 0; key < 20; key++) expected.set(key, 5000 + key);
    for (const [key, version] of writer.acknowledged) expected.set(key, version);
    const sorted = (all: Map<number, number>) => [...all].sort(([a], [b]) => a - b);
    await services.reconcile({ thorough: false });
    expect(sorted(await backing.backend.all(current))).toEqual(sorted(expected));
    await reconciledUntil('the old collection to be gone', async () => !(await names()).includes(old));
    expect(sorted(await backing.backend.all(current))).toEqual(sorted(expected));
  });

  test('the progress is seen, the caller is not kept waiting, and the same request ends in fresh tokens', async () => {
    const slow: Context = { ...context, settings: { ...context.settings, copyWaitMs: 0 } };
    const principal = await ownerOf(slow, `Large ${slow.newId()}`);
    await fill(principal, 30);
    const next = `Later ${slow.newId()}`;
    const pending = await updateOrganization(slow, principal, { new_organization_name: next });
    expect(pending).toMatchObject({
      organization_name: principal.organization.name,
      status: 'renaming',
      progress: { copied: 0, total: 30 },
    });
    expect(pending.access_token).toBeUndefined();
    expect(await getOrganization(slow, { organization_name: principal.organization.name })).toMatchObject({
      status: 'renaming',
      progress: { total: 30 },
    });
    const now = await principalOf(slow, principal.organization._id, principal.admin._id);
    const asked = { ...now, claims: principal.claims };
    const again = await updateOrganization(context, asked, { new_organization_name: next });
    expect(again).toMatchObject({ organization_name: next, status: 'active', access_token: expect.any(String) });
    expect(again.progress).toBeUndefined();
  });

  test('a copy that dies before or after any call of the store goes on from there', async () => {
    // On a real server one in so many: the fault harness has them all.
    const stride = name === 'the embedded store' ? 1 : 9;
    let ahead = 0;
    const later = { ...context, clock: () => new Date(Date.now() + ahead) };
    const rename = async (call: number, when: 'before' | 'after') => {
      const principal = await ownerOf(later, `Dying ${context.newId()}`);
      const old = await fill(principal, 3);
      const dying = createInstance(goneAt(refusing, call, when), ENV);
      const changed = updateOrganization({ ...dying.context, clock: later.clock }, principal, {
        new_organization_name: `To ${context.newId()}`,
      });
      const done = await changed.then(
        () => true,
        () => false,
      );
      await backing.backend.put(old, 1, 77);
      await backing.backend.remove(old, 2);
      await backing.backend.put(old, 3, 3);
      ahead += 200;
      await reconcile(later, { thorough: false });
      await reconcile(later, { thorough: false });
      const { operation } = (await context.master.organizations.findOne({ _id: principal.organization._id })) ?? {};
      const all = await backing.backend.all(await collectionOf(principal));
      expect([call, when, operation, [...all].sort()]).toEqual([
        call,
        when,
        null,
        [
          [0, 0],
          [1, 77],
          [3, 3],
        ],
      ]);
      return done;
    };
    let call = 1;
    for (; !(await rename(call, 'before')); call += stride) await rename(call, 'after');
    expect(call).toBeGreaterThan(20);
  }, 120_000);

  test('a deleted organization stays where it is while it is kept, comes back whole, and is erased to the last trace', async () => {
    const keeping = createInstance(refusing, { ...ENV, DELETE_RETENTION_DAYS: '1' });
    const principal = await ownerOf(keeping.context, `Kept ${context.newId()}`);
    const email = principal.admin.email;
    const { name: kept } = principal.organization;
    const collection = await fill(principal, 5);
    const before = await backing.backend.all(collection);
    await deleteOrganization(keeping.context, principal, { organization_name: kept });
    await keeping.reconcile({ thorough: true });
    await restoreOrganization(keeping.context, { organization_name: kept, email, password: 'TestPass123' });
    expect(await backing.backend.all(collection)).toEqual(before);

    const back = await principalOf(context, principal.organization._id, principal.admin._id);
    const pending = { ...context, settings: { ...context.settings, copyWaitMs: 0 } };
    const renamed = await updateOrganization(pending, back, { new_organization_name: `Gone ${context.newId()}` });
    expect(renamed.status).toBe('renaming');
    await reconciledUntil('the copy to end', async () => (await collectionOf(back)) !== collection);
    const last = await principalOf(context, back.organization._id, back.admin._id);
    await deleteOrganization(context, last, { organization_name: last.organization.name });
    expect((await names()).filter((one) => one.includes(back.organization._id))).toEqual([]);
    await reconciledUntil('the claims to be released', async () => {
      const { removed, remaining } = await getErasure(context, { organization_id: back.organization._id });
      expect(removed).toMatchObject({ admins: 1 });
      return Object.values(remaining).every((count) => count === 0);
    });
    expect((await names()).includes(collection)).toBe(false);
  });
});

describe.each(Object.entries(backings))('where renameCollection is allowed, on %s', (_, open) => {
  test('what a late writer wrote under the old name is moved as it is', async () => {
    const backing = open();
    const services = createInstance(backing.executor, ENV);
    const { context } = services;
    await services.prepare();
    const principal = await ownerOf(context, `Late ${context.newId()}`);
    const old = principal.organization.placement.collection;
    for (let key = 0; key < 3; key++) await backing.backend.put(old, key, key);
    const renamed = await updateOrganization(context, principal, { new_organization_name: `New ${context.newId()}` });
    // The first is there already under the new name, and stays; the others are new.
    for (const key of [0, 10, 11]) await backing.backend.put(old, key, 9);
    await until('the late documents to be moved', async () => {
      await services.reconcile({ thorough: false });
      return (await backing.backend.all(renamed.collection_name)).size === 5 ? true : undefined;
    });
    expect([...(await backing.backend.all(renamed.collection_name))].sort(([a], [b]) => a - b)).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
      [10, 9],
      [11, 9],
    ]);
    const left = await createStore(backing.executor).database(MASTER).listCollections();
    expect(left.filter((name) => name.startsWith('late_') || name === old)).toEqual([]);
    await backing.close();
  });
});
