import type { Db } from 'mongodb';
import { MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Cell } from './cell.ts';

/** What a plain MongoDB client sees beside the service. */
export function masterDatabasePromises({ service, caller }: Cell): void {
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

    test('sees organizations and admins with bcrypt hashes only, and the tenant’s collection through a rename', async () => {
      const tenant = await caller().signedInTenant('TestCo');
      expect(await collections()).toEqual(expect.arrayContaining(['organizations', 'admins', 'org_testco']));

      const organization = await database.collection('organizations').findOne({ name: 'TestCo' });
      expect(organization).toMatchObject({ _id: tenant.organizationId, status: 'active' });
      const admin = await database.collection('admins').findOne({ email: tenant.email });
      expect(admin?.['password_hash']).toMatch(/^\$2[aby]\$1\d\$[./A-Za-z0-9]{53}$/);
      for (const collection of await collections()) {
        const everything = JSON.stringify(await database.collection(collection).find().toArray());
        for (const password of caller().passwords) {
          if (password.startsWith('Pw-')) expect(everything.includes(password), collection).toBe(false);
        }
        expect(everything.includes(tenant.token)).toBe(false);
      }

      const documents = Array.from({ length: 50 }, (_, index) => ({ kind: 'invoice', number: index, at: new Date() }));
      await database.collection('org_testco').insertMany(documents);
      await database.collection('org_testco').createIndex({ number: 1 }, { name: 'by_number', unique: true });
      const indexes = await database.collection('org_testco').indexes();

      const renamed = await caller().update(tenant.token, { new_organization_name: 'TestCo International' });
      expect(renamed.status, renamed.text).toBe(200);
      expect(renamed.json.collection_name).toBe('org_testco_international');
      expect(await collections()).not.toContain('org_testco');
      const moved = database.collection('org_testco_international');
      expect(await moved.find({ kind: 'invoice' }).sort({ number: 1 }).toArray()).toEqual(documents);
      const names = (list: { name?: string }[]) => list.map(({ name }) => name).sort();
      expect(names(await moved.indexes())).toEqual(names(indexes));
      await expect(moved.insertOne({ number: 7 })).rejects.toMatchObject({ code: 11000 });

      const { access_token } = renamed.json;
      expect((await caller().remove(access_token, 'TestCo International')).status).toBe(200);
      expect((await collections()).filter((name) => name.startsWith('org_testco'))).toEqual([]);
    });
  });
}
