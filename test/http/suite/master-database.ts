import type { Db } from 'mongodb';
import { MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newName } from '../../support/caller.ts';
import type { TestEnv } from './test-env.ts';

/** A plain MongoDB client beside the service. */
export function masterDatabaseSuite({ service, caller }: TestEnv): void {
  describe('a plain MongoDB client', () => {
    let client: MongoClient;
    let database: Db;

    beforeAll(async () => {
      const { store, masterDatabase } = service();
      if (store.kind !== 'mongo') throw new Error('Only on a mongo store.');
      client = await new MongoClient(store.uri).connect();
      database = client.db(masterDatabase);
    });

    afterAll(async () => {
      await client.close();
    });

    const collections = async () =>
      (await database.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);

    test('sees the organization, the admin and the tenant’s collection', async () => {
      const tenant = await caller().tenant();
      expect(await collections()).toEqual(expect.arrayContaining(['organizations', 'admins', tenant.collection]));
      const organization = await database.collection('organizations').findOne({ name: tenant.name });
      expect(organization).toMatchObject({ _id: tenant.organizationId, status: 'active' });
    });

    test('sees bcrypt hashes, and no password and no token', async () => {
      const tenant = await caller().signedInTenant();
      const admin = await database.collection('admins').findOne({ email: tenant.email });
      expect(admin?.['password_hash']).toMatch(/^\$2[aby]\$1\d\$[./A-Za-z0-9]{53}$/);
      const secrets = [tenant.token, ...caller().secrets, ...caller().refreshTokens];
      for (const collection of await collections()) {
        const text = JSON.stringify(await database.collection(collection).find().toArray());
        expect(
          secrets.filter((secret) => text.includes(secret)),
          collection,
        ).toEqual([]);
      }
    });

    test('finds its documents and its indexes in the renamed collection', async () => {
      const tenant = await caller().signedInTenant();
      const documents = Array.from({ length: 50 }, (_, index) => ({ kind: 'invoice', number: index, at: new Date() }));
      const before = database.collection(tenant.collection);
      await before.insertMany(documents);
      await before.createIndex({ number: 1 }, { name: 'by_number', unique: true });
      const indexes = await before.indexes();

      const renamed = await caller().update(tenant.token, { new_organization_name: newName('International') });
      expect(renamed.status, renamed.text).toBe(200);
      expect(await collections()).not.toContain(tenant.collection);
      const after = database.collection(renamed.json.collection_name);
      expect(await after.find({ kind: 'invoice' }).sort({ number: 1 }).toArray()).toEqual(documents);
      const names = (list: { name?: string }[]) => list.map(({ name }) => name).sort();
      expect(names(await after.indexes())).toEqual(names(indexes));
      await expect(after.insertOne({ number: 7 })).rejects.toMatchObject({ code: 11000 });
    });

    test('finds no collection of a deleted organization', async () => {
      const tenant = await caller().signedInTenant();
      await database.collection(tenant.collection).insertOne({ kind: 'invoice' });
      const { json: renamed } = await caller().update(tenant.token, { new_organization_name: newName() });
      expect((await caller().remove(tenant.token, renamed.organization_name)).status).toBe(200);
      const left = await collections();
      expect(left).not.toContain(tenant.collection);
      expect(left).not.toContain(renamed.collection_name);
    });
  });
}
