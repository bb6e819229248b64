import type { Document as MongoDocument } from 'mongodb';
import {
  Binary,
  BSONRegExp,
  Code,
  DBRef,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  MongoClient,
  ObjectId,
  Timestamp,
  UUID,
} from 'mongodb';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Database, Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';

const DATABASE = `types_${crypto.randomUUID().slice(0, 8)}`;

/** Ids of every type that a tenant's own driver may write, but NaN: SecantusDB does not find it by itself. */
const IDS: readonly unknown[] = [
  ...['', 'a', 'é', '"quoted"'],
  ...[new Int32(1), new Double(2.5), Long.fromString('9007199254740993'), new Int32(-7)],
  ...[{ a: 1 }, { a: 2 }],
  ...[new Binary(Buffer.from('x')), new UUID('ffffffff-ffff-4fff-bfff-ffffffffffff')],
  ...[new ObjectId(), new ObjectId()],
  ...[false, true],
  ...[new Date(-5), new Date(5)],
  ...[Decimal128.fromString('7.5'), new Double(Number.NEGATIVE_INFINITY)],
  ...[new MinKey(), new MaxKey(), new Timestamp({ t: 1, i: 2 }), new Code('x'), null],
];

/** A field of each type, in an order that is not that of their names. */
const FIELDS: MongoDocument = {
  wholeDouble: new Double(1),
  negativeZero: new Double(-0),
  int: new Int32(1),
  long: new Long(1),
  largeLong: Long.fromString('9223372036854775807'),
  nested: { list: [new Double(1), { id: new ObjectId(), at: new Date(3) }], empty: {} },
  binary: new Binary(Buffer.from([0, 255]), 128),
  nothing: null,
  dotted: { inner: 1 },
  // A driver that makes an object of it puts the numbers first.
  years: new Map<string, unknown>([
    ['total', new Int32(3)],
    ['2026', new Double(2)],
    ['2025', [new Map([['b', 1] as const, ['1', 2] as const])]],
  ]),
  pattern: new BSONRegExp('a/b', 'imx'),
  decimal: Decimal128.fromString('1.10'),
  timestamp: new Timestamp({ t: 1, i: 2 }),
  code: new Code('x', { y: new Double(1) }),
  reference: new DBRef('c', new ObjectId()),
  min: new MinKey(),
  max: new MaxKey(),
  prices: [Decimal128.fromString('0.00'), Long.MIN_VALUE],
};

const uri = inject('secantusUri');

// A server that could not be had was named, loudly, by test/support/global-setup.ts.
describe.skipIf(uri === undefined)("a merge of what a tenant's own driver wrote, on SecantusDB", () => {
  const client = new MongoClient(uri ?? 'mongodb://localhost');
  const native = client.db(DATABASE);
  let store: Store;
  let database: Database;

  beforeAll(() => {
    store = createStore(createMongoExecutor({ uri: uri ?? '', timeoutMs: 10_000 }));
    database = store.database(DATABASE);
  });

  afterAll(async () => {
    await native.dropDatabase();
    await client.close();
    await store.close();
  });

  const insert = (collection: string, documents: readonly MongoDocument[]) =>
    native.collection(collection).insertMany([...documents], { forceServerObjectId: true });

  const bytesOf = async (collection: string) => {
    const raw = (await native.collection(collection).find({}, { raw: true }).toArray()) as unknown as Buffer[];
    return raw.map((bytes) => bytes.toString('hex')).sort();
  };

  const indexesOf = async (collection: string) => {
    const raw = await native
      .collection(collection)
      .listIndexes({ raw: true } as object)
      .toArray();
    return raw.map((bytes) => Buffer.from(bytes as unknown as Uint8Array).toString('latin1'));
  };

  const validatorOf = async (collection: string) => {
    const [info] = await native.listCollections({ name: collection }, { nameOnly: false }).toArray();
    const { validator, validationLevel, validationAction } = info?.options ?? {};
    return { validator, validationLevel, validationAction };
  };

  test('brings ids and fields of every type, byte for byte', async () => {
    await insert(
      'from_types',
      IDS.map((_id) => ({ _id, ...FIELDS })),
    );
    await insert('to_types', [{ _id: 'there', z: 1, a: 2 }]);
    expect(await database.mergeCollection('from_types', 'to_types')).toEqual({ left: 0 });
    await native.collection<{ _id: string }>('to_types').deleteOne({ _id: 'there' });
    expect(await bytesOf('to_types')).toEqual(await bytesOf('from_types'));
  });

  test('counts a document that differs in a type or in the order of fields', async () => {
    await insert('from_equal', [
      { _id: 1, v: new Double(1) },
      { _id: 2, x: 1, y: 1 },
      { _id: 3, v: new Int32(1) },
    ]);
    await insert('to_equal', [
      { _id: 1, v: new Int32(1) },
      { _id: 2, y: 1, x: 1 },
      { _id: 3, v: new Int32(1) },
    ]);
    const before = await bytesOf('to_equal');
    expect(await database.mergeCollection('from_equal', 'to_equal')).toEqual({ left: 2 });
    expect(await bytesOf('to_equal')).toEqual(before);
  });

  test('brings indexes of every kind, with the order of their fields', async () => {
    const source = native.collection('from_indexes');
    const fields = new Map<string, 1 | -1>([
      ['b', 1],
      ['1', -1],
      ['a', 1],
    ]);
    await source.createIndex(fields, { unique: true });
    await source.createIndex({ at: 1 }, { expireAfterSeconds: 3600 });
    await source.createIndex({ p: 1 }, { partialFilterExpression: { q: { $gt: new Double(1) } }, name: 'partial' });
    await source.createIndex({ s: 1 }, { sparse: true });
    await insert('to_indexes', [{ _id: 1 }]);
    expect(await database.mergeCollection('from_indexes', 'to_indexes')).toEqual({ left: 0 });
    expect(await indexesOf('to_indexes')).toEqual(await indexesOf('from_indexes'));
  });

  test('brings the validator where there is none', async () => {
    const rules = { validator: { v: { $type: 'int' } }, validationLevel: 'moderate', validationAction: 'error' };
    await native.createCollection('from_rules', rules);
    await native.createCollection('to_rules');
    expect(await database.mergeCollection('from_rules', 'to_rules')).toEqual({ left: 0 });
    expect(await validatorOf('to_rules')).toEqual(rules);
    const others = { ...rules, validator: { w: { $exists: true } } };
    await native.createCollection('to_own_rules', others);
    await database.mergeCollection('from_rules', 'to_own_rules');
    expect(await validatorOf('to_own_rules')).toEqual(others);
  });

  test('makes a missing collection as the other one was made', async () => {
    const rules = { validator: { v: { $type: 'int' } }, validationLevel: 'strict', validationAction: 'error' };
    await native.createCollection('from_made', rules);
    await insert('from_made', [{ _id: 1, v: new Int32(1) }]);
    expect(await database.mergeCollection('from_made', 'to_made')).toEqual({ left: 0 });
    expect(await validatorOf('to_made')).toEqual(rules);
    expect(await bytesOf('to_made')).toEqual(await bytesOf('from_made'));
  });

  test('puts in every document that can go in, among those that a unique index keeps out', async () => {
    await native.collection('to_clashes').createIndex({ v: 1 }, { unique: true });
    await insert(
      'to_clashes',
      [3, 50, 199, 200].map((v) => ({ _id: `there ${v}`, v })),
    );
    await insert(
      'from_clashes',
      Array.from({ length: 300 }, (_, v) => ({ _id: v, v })),
    );
    expect(await database.mergeCollection('from_clashes', 'to_clashes')).toEqual({ left: 4 });
    expect(await native.collection('to_clashes').countDocuments()).toBe(300);
  });
});
