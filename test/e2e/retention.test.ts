import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import type { Caller, SignedInTenant } from '../support/caller.ts';
import { createCaller } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { countStored } from '../support/stored.ts';
import { EMBEDDED, STORES } from '../support/stores.ts';
import { openDatabase, readDatabase } from '../support/tenant-store.ts';

const TIMES = { LEASE_MS: '1000', RECONCILE_MS: '200' };
const RETENTION = { DELETE_RETENTION_DAYS: '30' };

/** Collections that may name an organization that is gone: the stub, the audit log and the claims of its collections. */
const TELLING = ['organizations', 'claims', 'collections', 'audit', 'audit_checkpoints'];

const restore = (caller: Caller, { name, email, password }: SignedInTenant) =>
  caller.request('POST', '/org/restore', { body: { organization_name: name, email, password } });

const deletedTenant = async (caller: Caller) => {
  const tenant = await caller.signedInTenant();
  const answer = await caller.remove(tenant.token, tenant.name);
  expect(answer.status, answer.text).toBe(200);
  return { tenant, requestId: answer.headers.get('X-Request-Id') };
};

const actionsOf = async (caller: Caller, tenant: SignedInTenant, requestId: string | null) => {
  const { json } = await caller.request('GET', '/org/audit', { token: await caller.tokenFor(tenant) });
  return json.items
    .filter((item: { request_id: string }) => item.request_id === requestId)
    .map(({ action }: { action: string }) => action);
};

describe.each(STORES)('node on $storeName', ({ store }) => {
  describe.skipIf(store === undefined)('a deleted organization, with DELETE_RETENTION_DAYS', () => {
    let service: RunningService;
    let caller: Caller;
    let opened: ReturnType<typeof openDatabase>;

    beforeAll(async () => {
      service = await startService({ runtime: 'node', store: store ?? EMBEDDED, env: { ...TIMES, ...RETENTION } });
      caller = createCaller(service.url);
      opened = openDatabase(service);
    });

    afterAll(async () => {
      await opened?.close();
      await service?.stop();
    });

    test('is gone for everybody', async () => {
      const { tenant } = await deletedTenant(caller);
      expectProblem(await caller.get(tenant.name), 404, 'organization_not_found');
      expectProblem(await caller.login(tenant), 401, 'invalid_credentials');
      expectProblem(await caller.request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
    });

    test('keeps its name', async () => {
      const { tenant } = await deletedTenant(caller);
      expectProblem(await caller.create(tenant.name), 409, 'organization_name_taken');
    });

    test('comes back with its documents and indexes', async () => {
      const tenant = await caller.signedInTenant();
      const documents = Array.from({ length: 25 }, (_, n) => ({ _id: `document-${n}`, owner: tenant.email }));
      const collection = opened.database.collection(tenant.collection);
      await opened.database.createCollection(collection.name, [{ name: 'owner', key: { owner: 1 } }]);
      for (const document of documents) await collection.insertOne(document);
      expect((await caller.remove(tenant.token, tenant.name)).status).toBe(200);

      const restored = await restore(caller, tenant);
      expect(restored.status, restored.text).toBe(200);
      expect(restored.json).toMatchObject({
        organization_id: tenant.organizationId,
        organization_name: tenant.name,
        collection_name: tenant.collection,
        status: 'active',
      });
      expect(await collection.count({})).toBe(documents.length);
      expect((await caller.login(tenant)).status).toBe(200);
    });

    test('comes back without the tokens of before', async () => {
      const { tenant } = await deletedTenant(caller);
      expect((await restore(caller, tenant)).status).toBe(200);
      expectProblem(await caller.request('GET', '/admin/me', { token: tenant.token }), 401, 'invalid_token');
    });

    test('is restored by its admin’s password only', async () => {
      const { tenant } = await deletedTenant(caller);
      const wrong = { ...tenant, password: caller.newPassword() };
      expectProblem(await restore(caller, wrong), 401, 'invalid_credentials');
    });

    test('that is active is not restored', async () => {
      const tenant = await caller.signedInTenant();
      expectProblem(await restore(caller, tenant), 401, 'invalid_credentials');
    });

    test('has its deletion and its restoration in the audit log', async () => {
      const { tenant, requestId } = await deletedTenant(caller);
      const restored = await restore(caller, tenant);
      expect(await actionsOf(caller, tenant, requestId)).toEqual(['organization.deleted']);
      expect(await actionsOf(caller, tenant, restored.headers.get('X-Request-Id'))).toEqual(['organization.restored']);
    });

    test('is announced by a dry run', async () => {
      const tenant = await caller.signedInTenant();
      const query = { organization_name: tenant.name, dry_run: 'true' };
      const { json } = await caller.request('DELETE', '/org/delete', { token: tenant.token, query });
      const days = (Date.parse(json.restorable_until) - Date.now()) / (24 * 60 * 60 * 1000);
      expect(days).toBeGreaterThan(29);
      expect(days).toBeLessThanOrEqual(30);
    });

    test('leaves no trace once it is purged, and its name is free', async () => {
      const { tenant } = await deletedTenant(caller);
      const organizations = opened.database.collection<OrganizationDocument>('organizations');
      await until('the delete to end', () => organizations.findOne({ _id: tenant.organizationId, status: 'deleted' }));
      const over = { purge_at: new Date(0), due_at: new Date(0) };
      await organizations.updateOne({ _id: tenant.organizationId }, { $set: over });
      const receipt = await until('the purge to leave nothing', async () => {
        const query = { organization_id: tenant.organizationId };
        const { status, json } = await caller.request('GET', '/org/erasure', { query });
        const counts: number[] = status === 200 ? Object.values(json.remaining) : [];
        return counts.length > 0 && counts.every((count) => count === 0) ? json : undefined;
      });
      expect(Object.keys(receipt).sort()).toEqual(['erased_at', 'organization_id', 'remaining']);
      expectProblem(await restore(caller, tenant), 401, 'invalid_credentials');

      const { organizationId, adminId, email, name, collection } = tenant;
      for (const [kept, found] of await readDatabase(opened.database)) {
        const text = JSON.stringify(found);
        const traces = TELLING.includes(kept)
          ? [email, name]
          : [organizationId, adminId, email, name, name.toLowerCase(), collection];
        expect(
          traces.filter((trace) => text.includes(trace)),
          kept,
        ).toEqual([]);
      }
      expect((await caller.create(name)).status).toBe(200);
    });
  });
});

test('workerd restores a deleted organization with its collection', async () => {
  const service = await startService({ runtime: 'workerd', store: EMBEDDED, env: RETENTION });
  try {
    const caller = createCaller(service.url);
    const { tenant } = await deletedTenant(caller);
    expectProblem(await caller.get(tenant.name), 404, 'organization_not_found');
    expect((await restore(caller, tenant)).status).toBe(200);
    expect((await caller.get(tenant.name)).json.organization_id).toBe(tenant.organizationId);
    expect((await countStored(service))[tenant.collection]).toBe(0);
    expect((await caller.login(tenant)).status).toBe(200);
  } finally {
    await service.stop();
  }
});
