import { MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import { isStoreError } from '../../src/store/port.ts';
import type { Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';
import type { WireServer } from '../support/wire-server.ts';
import { startMongo } from '../support/wire-server.ts';
import { tapWire } from './wire-tap.ts';

const TIMEOUT_MS = 2000;

// A server of its own, because these tests stop it, and make its commands fail.
const server = await startMongo({ durable: false });

describe.skipIf(server === undefined)('the MongoDB store, with a server that fails', () => {
  const { uri, ...control } = server as WireServer;
  const open = (address = uri) => createStore(createMongoExecutor({ uri: address, timeoutMs: TIMEOUT_MS }));
  const native = new MongoClient(uri);

  afterAll(async () => {
    await native.close();
    await control.stop();
  });

  /** The code that a call is refused with, and how long that took. */
  const refusal = async (call: Promise<unknown>) => {
    const start = performance.now();
    const code = await call.then(
      () => 'none',
      (error: unknown) => (isStoreError(error) ? error.code : String(error)),
    );
    return { code, ms: performance.now() - start };
  };

  const calls = (store: Store, name = 'frozen'): Record<string, () => Promise<unknown>> => {
    const database = store.database(name);
    const collection = database.collection('c');
    return {
      ping: () => store.ping(),
      listCollections: () => database.listCollections(['c']),
      createCollection: () => database.createCollection('d', [{ name: 'v', key: { v: 1 } }]),
      renameCollection: () => database.renameCollection('c', 'e'),
      dropCollection: () => database.dropCollection('none'),
      drop: () => store.database(`${name}_none`).drop(),
      insertOne: () => collection.insertOne({ _id: 'b' }),
      find: () => collection.find({ _id: 'a' }),
      count: () => collection.count({}),
      countOfSome: () => collection.count({ v: 1 }),
      updateOne: () => collection.updateOne({ _id: 'a' }, { $set: { v: 1 } }),
      findOneAndUpdate: () => collection.findOneAndUpdate({ _id: 'a' }, { $set: { v: 1 } }),
      replaceOne: () => collection.replaceOne({ _id: 'a' }, { _id: 'a' }),
      deleteOne: () => collection.deleteOne({ _id: 'none' }),
      deleteMany: () => collection.deleteMany({ _id: 'none' }),
      mergeCollection: () => database.mergeCollection('c', 'e'),
    };
  };

  const READS = ['ping', 'find', 'count', 'countOfSome', 'listCollections'];
  const OWN_TIME = ['mergeCollection'];

  describe('that does not run at the first command', () => {
    test('says that nothing happened, keeps to that, and works when the server is there', async () => {
      await control.kill('SIGKILL');
      const store = open();
      const insert = (_id: string, within = TIMEOUT_MS) =>
        store
          .within(() => within)
          .database('outage')
          .collection('c')
          .insertOne({ _id });
      expect((await refusal(insert('a'))).code).toBe('Unavailable');
      const several = await Promise.all([insert('a', 300), insert('a', 500), store.ping()].map(refusal));
      expect(several.map(({ code }) => code)).toEqual(['Unavailable', 'Unavailable', 'Unavailable']);
      // The server comes while the driver looks for it on behalf of a call that is over.
      const { code } = await refusal(insert('a', 300));
      expect(code).toBe('Unavailable');
      await control.restart();
      // The driver's search is shared, and may have begun too early to find the server: it is over after this call.
      await refusal(store.ping());
      await insert('b', 10_000);
      expect(await store.database('outage').collection('c').find({})).toEqual([{ _id: 'b' }]);
      await store.close();
      expect((await refusal(store.ping())).code).toBe('Unavailable');
    });
  });

  describe('that is frozen', () => {
    let store: Store;

    beforeAll(async () => {
      store = open();
      await store.database('frozen').collection('c').insertOne({ _id: 'a' });
      await control.freeze();
    });
    afterAll(async () => {
      control.thaw();
      await store.close();
    });

    for (const name of Object.keys(calls(open()))) {
      if (OWN_TIME.includes(name)) continue;
      test(`ends ${name} when its time is up`, async () => {
        const { code, ms } = await refusal(calls(store.within(() => 300))[name]?.() ?? Promise.resolve());
        // Once the driver has noticed, nothing is sent any more.
        expect(READS.includes(name) ? ['Unavailable'] : ['Unavailable', 'OutcomeUnknown']).toContain(code);
        expect(ms).toBeLessThan(TIMEOUT_MS);
      });
    }

    test('ends a merge by the time of each of its calls', async () => {
      const { code, ms } = await refusal(store.database('frozen').mergeCollection('c', 'e'));
      expect(['Unavailable', 'OutcomeUnknown']).toContain(code);
      expect(ms).toBeLessThan(6 * TIMEOUT_MS);
    });
  });

  describe('and what is sent to it', () => {
    const nameOf = (command: Record<string, unknown>) => Object.keys(command)[0] ?? '';
    /** The commands by which the calls are done, over a URI that asks for less than the service needs. */
    const sentBy = async (database: string, names: readonly string[]) => {
      const tap = await tapWire(uri);
      const store = open(`${tap.uri}&w=1&journal=false`);
      await store.database(database).collection('c').insertOne({ _id: '1' });
      const limited = calls(
        store.within(() => 1500),
        database,
      );
      for (const name of names) await limited[name]?.();
      await store.close();
      await tap.close();
      return tap.commands.filter((command) => nameOf(command) !== 'killCursors');
    };
    const WRITES = [
      'create',
      'delete',
      'drop',
      'dropDatabase',
      'findAndModify',
      'insert',
      'renameCollection',
      'update',
    ];

    test('tells the server with every command when to stop, but for the making of indexes', async () => {
      const commands = await sentBy(
        'sent',
        Object.keys(calls(open())).filter((name) => !OWN_TIME.includes(name)),
      );
      expect(new Set(commands.map(nameOf))).toEqual(
        new Set([...WRITES, 'ping', 'find', 'count', 'aggregate', 'listCollections', 'createIndexes']),
      );
      const unlimited = commands.filter(({ maxTimeMS }) => !(Number(maxTimeMS) <= TIMEOUT_MS)).map(nameOf);
      expect(new Set(unlimited)).toEqual(new Set(['createIndexes']));
      expect(commands.filter(({ maxTimeMS }) => Number(maxTimeMS) > 1500).map(nameOf)).toEqual(['insert']);
    });

    test('waits with every write for a majority and the journal, and reads from the primary', async () => {
      const commands = await sentBy('sent_with_merge', Object.keys(calls(open())));
      const isWrite = (command: Record<string, unknown>) =>
        WRITES.includes(nameOf(command)) || JSON.stringify(command).includes('$merge');
      for (const { writeConcern } of commands.filter(isWrite)) expect(writeConcern).toEqual({ w: 'majority', j: true });
      expect(JSON.stringify(commands)).not.toContain('secondary');
    });
  });

  describe('whose replies are lost', () => {
    const failCommand = (mode: unknown, data: object) =>
      native.db('admin').command({ configureFailPoint: 'failCommand', mode, data });

    test('does not say that a write did not happen', async () => {
      const store = open();
      const collection = store.database('lost').collection('c');
      await collection.insertOne({ _id: 'a' });
      await failCommand({ times: 2 }, { failCommands: ['insert'], closeConnection: true });
      expect((await refusal(collection.insertOne({ _id: 'b' }))).code).toBe('OutcomeUnknown');
      await failCommand('off', {});
      await store.close();
    });

    test('a merge does without the privilege to bypass the validator', async () => {
      const tap = await tapWire(uri);
      const store = open(tap.uri);
      await native.db('privileges').collection<{ _id: number }>('from').insertOne({ _id: 1 });
      await failCommand({ times: 1 }, { failCommands: ['aggregate'], errorCode: 13 });
      expect(await store.database('privileges').mergeCollection('from', 'to')).toEqual({ left: 0 });
      const merges = tap.commands.filter((command) => 'aggregate' in command);
      expect(merges.map((command) => command['bypassDocumentValidation'])).toEqual([true, undefined]);
      // MongoDB upserts by 'keepExisting', which changes the order of fields, and SecantusDB inserts.
      for (const { pipeline } of merges) expect(JSON.stringify(pipeline)).toContain('"whenMatched":"fail"');
      await store.close();
      await tap.close();
    });

    test('a merge leaves only the document that the validator refuses', async () => {
      const database = native.db('validators');
      await database.collection<{ _id: number }>('from').insertMany(Array.from({ length: 20 }, (_, n) => ({ _id: n })));
      const store = open();
      // As a validator that refuses the first document does: with 20, 10, 5, 3, 2 documents, and with it alone.
      await failCommand({ times: 6 }, { failCommands: ['aggregate'], errorCode: 121 });
      expect(await store.database('validators').mergeCollection('from', 'to')).toEqual({ left: 1 });
      expect(await database.collection('to').countDocuments()).toBe(19);
      expect(await store.database('validators').mergeCollection('from', 'to')).toEqual({ left: 0 });
      await store.close();
    });
  });
});
