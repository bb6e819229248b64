import { Long, MongoClient, ObjectId } from 'mongodb';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Command, Executor } from '../../src/store/port.ts';
import { isStoreError } from '../../src/store/port.ts';
import { createRandom } from '../support/random.ts';
import { emailOf, update } from '../support/requests.ts';
import type { World } from '../support/world.ts';
import { createStage } from '../support/world.ts';
import { populate, takeNames, tenants } from './scenarios.ts';
import { openStore } from './stores.ts';

const MS = 600_000;

/** Names whose collections look like those that are left, which others take in between. */
const TAKEN = ['beta!', 'acme!', 'gamma?', 'delta.', 'acme.'];

const mongoUri = inject('secantusUri');

const STORES: Readonly<Record<string, () => Executor>> = {
  SQLite: () => openStore(undefined),
  // Without a server: test/support/global-setup.ts has said so.
  ...(mongoUri !== undefined && { SecantusDB: () => openStore(mongoUri) }),
};

const collectionOf = async (world: World, id: string): Promise<string> =>
  (await world.instance().context.master.organizations.findOne({ _id: id }))?.placement.collection ?? '';

const ALL = { writes: 1000, renames: 50 };

/** SecantusDB takes ten times as long. */
const SOME = process.env['TEST_FAULTS'] === 'full' ? ALL : { writes: 200, renames: 10 };

/** Writes under names that the organization has or had, from before one call of the service to before the next. */
class LateWriter {
  readonly #world: World;
  readonly #id: string;
  readonly #random = createRandom(1);
  #names: readonly string[] = [];
  readonly #writes: number;
  written = 0;

  constructor(world: World, id: string, writes: number) {
    this.#world = world;
    this.#id = id;
    this.#writes = writes;
  }

  /** Learns every name that was claimed for the organization, also one that nothing was moved to yet. */
  async learn(): Promise<void> {
    const { master } = this.#world.instance().context;
    const claims = await master.collections.find({ kind: 'collection', organization_id: this.#id });
    this.#names = claims.map(({ placement }) => placement.collection);
  }

  async write(): Promise<void> {
    if (this.written === this.#writes || this.#names.length === 0) return;
    // A writer that follows is at the newest names most of the time.
    const names = this.#random.chance(0.8) ? this.#names.slice(-3) : this.#names;
    const _id = `late-${this.written}`;
    await this.#world.database.collection(this.#random.pick(names)).insertOne({ _id, tenant: 'Acme', sku: _id });
    this.written++;
  }
}

describe.each(Object.entries(STORES))('on %s', (name, open) => {
  const { writes, renames } = name === 'SQLite' ? ALL : SOME;
  let store: Executor;

  beforeAll(() => {
    store = open();
  });

  afterAll(() => store.close());

  test(
    `${writes} late writes during ${renames} renames: none is lost, none is in another tenant's collection`,
    async () => {
      let writer: LateWriter | undefined;
      let busy = false;
      const stage = await createStage(store, {
        beforeCall: async (command: Command) => {
          if (writer === undefined || busy || command.op === 'ping') return;
          busy = true;
          await writer.learn();
          await writer.write();
          busy = false;
        },
      });
      await stage.use({}, async (world) => {
        const { id, token } = await tenants(world);
        writer = new LateWriter(world, id, writes);
        for (let round = 0; round < renames; round++) {
          const next = ['Beta', 'Gamma', 'Delta', 'Acme'][round % 4];
          await update(world.instance(), token, { new_organization_name: next });
          if (round % 10 === 0) await takeNames(world, TAKEN[round / 10] as string)(world.instance());
          world.advance(10_000);
          await world.clearUp();
        }
        while (writer.written < writes) await writer.write();
        writer = undefined;
        world.advance(31_000);
        await world.clearUp();
        await world.guard.check();
        expect(world.guard.violations()).toEqual([]);
        const collection = world.database.collection(await collectionOf(world, id));
        expect(await collection.count({ tenant: 'Acme' })).toBe(writes + 3);
      });
      await stage.close();
    },
    MS,
  );

  test(
    'a late write is in the renamed collection within 60 s, with its indexes',
    async () => {
      const stage = await createStage(store);
      await stage.use({}, async (world) => {
        const { id, token } = await tenants(world);
        await update(world.instance(), token, { new_organization_name: 'Beta' });
        await world.recover();
        await world.database.collection('org_acme').insertOne({ _id: 'late', tenant: 'Acme', sku: 'late' });
        world.advance(59_000);
        await world.clearUp();
        const collection = world.database.collection(await collectionOf(world, id));
        expect(await collection.findOne({ _id: 'late' })).toEqual({ _id: 'late', tenant: 'Acme', sku: 'late' });
        const clash = collection.insertOne({ _id: 'clash', sku: 'late' });
        await expect(clash).rejects.toSatisfy((error) => isStoreError(error, 'DuplicateKey'));
        expect(await world.database.listCollections(['org_acme'])).toEqual([]);
      });
      await stage.close();
    },
    MS,
  );
});

describe.skipIf(mongoUri === undefined)('what only MongoDB has', () => {
  const client = new MongoClient(mongoUri ?? 'mongodb://127.0.0.1');
  let store: Executor;

  let keepsOptions = false;

  beforeAll(async () => {
    store = openStore(mongoUri);
    const scratch = client.db(`options_${crypto.randomUUID().slice(0, 8)}`);
    await scratch.createCollection('one', { validator: { time: { $gt: 0 } } });
    const other = await scratch.renameCollection('one', 'other');
    keepsOptions = (await other.options())['validator'] !== undefined;
    await scratch.dropDatabase();
  });

  afterAll(async () => {
    await store.close();
    await client.close();
  });

  /** A tenant whose backend made indexes and a validator of its own, and wrote with ids and types of its own. */
  async function nativeTenant(world: World, name: string) {
    const database = client.db(world.database.name);
    const { id, token } = await populate(world, name, { tenant: name, email: emailOf(name) });
    const made = database.collection(await collectionOf(world, id));
    await made.createIndex(
      { place: 1, time: -1 },
      { name: 'place_time', partialFilterExpression: { time: { $gt: 0 } } },
    );
    await database.command({
      collMod: made.collectionName,
      validator: { $jsonSchema: { properties: { time: { bsonType: ['long', 'int'] } } } },
    });
    await made.insertOne({ _id: new ObjectId(), tenant: name, sku: 'native', time: Long.fromNumber(7) });
    return { id, token, database };
  }

  /** Options are compared where the server's own rename keeps them: SecantusDB's does not. */
  async function rulesOf(database: ReturnType<MongoClient['db']>, name: string) {
    const [info] = await database.listCollections({ name }).toArray();
    const indexes = await database.collection(name).listIndexes().toArray();
    return {
      options: keepsOptions && (info as { options?: object } | undefined)?.options,
      indexes: indexes.map(({ key, unique, partialFilterExpression }) => ({ key, unique, partialFilterExpression })),
    };
  }

  test('a late write of the native driver arrives as it was written, and the rules of the collection stay', async () => {
    const stage = await createStage(store);
    await stage.use({}, async (world) => {
      const { id, token, database } = await nativeTenant(world, 'Acme');
      const before = await rulesOf(database, 'org_acme');
      await update(world.instance(), token, { new_organization_name: 'Beta' });
      await world.recover();
      const late = { _id: new ObjectId(), tenant: 'Acme', sku: 'late', time: Long.fromNumber(9) };
      await database.collection('org_acme').insertOne(late);
      world.advance(59_000);
      await world.clearUp();
      const collection = await collectionOf(world, id);
      expect(await database.collection(collection).findOne({ _id: late._id }, { promoteLongs: false })).toEqual(late);
      expect(await rulesOf(database, collection)).toEqual(before);
    });
    await stage.close();
  });

  test('where a client makes the target first, the rules of the real collection and the documents of both stay', async () => {
    let atRename: ((to: string) => Promise<unknown>) | undefined;
    const stage = await createStage(store, {
      beforeCall: async (command) => {
        if (command.op === 'renameCollection') await atRename?.(command.to);
      },
    });
    await stage.use({}, async (world) => {
      const { id, token, database } = await nativeTenant(world, 'Acme');
      const before = await rulesOf(database, 'org_acme');
      const early = { _id: new ObjectId(), tenant: 'Acme', sku: 'early' };
      atRename = async (to) => {
        atRename = undefined;
        await database.collection(to).insertOne(early);
      };
      await update(world.instance(), token, { new_organization_name: 'Beta' });
      world.advance(59_000);
      await world.clearUp();
      const collection = await collectionOf(world, id);
      expect(await rulesOf(database, collection)).toEqual(before);
      expect(await database.collection(collection).findOne({ _id: early._id })).toEqual(early);
      expect(await database.collection(collection).countDocuments()).toBe(4);
    });
    await stage.close();
  });
});
