import type { Document as MongoDocument } from 'mongodb';
import {
  Binary,
  BSON,
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
import { createMongoExecutor } from '../../src/store/mongo.ts';
import type { Database, Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';

const DATABASE = `types_${crypto.randomUUID().slice(0, 8)}`;

/** Ids of every type that a tenant's own driver may write, and FerretDB's fewer. */
const FERRET_IDS = [
  ...['', 'a', 'b', 'é', '"quoted"'],
  ...[new Int32(1), new Double(2.5), Long.fromString('9007199254740993'), new Int32(-7)],
  ...[{ a: 1 }, { a: 2 }],
  // SecantusDB compares binaries in a range by their bytes alone: this UUID is the greatest either way.
  ...[new Binary(Buffer.from('x')), new Binary(Buffer.from('y')), new UUID('ffffffff-ffff-4fff-bfff-ffffffffffff')],
  ...[new ObjectId(), new ObjectId(), new ObjectId()],
  ...[false, true],
  ...[new Date(-5), new Date(5)],
];

/** SecantusDB does not find what is compared with this one, because it does not equal itself. */
const NOT_A_NUMBER = '{"$numberDouble":"NaN"}';

const IDS = [
  ...FERRET_IDS,
  ...[new Double(Number.NaN), Decimal128.fromString('7.5'), new Double(Number.NEGATIVE_INFINITY)],
  ...[new MinKey(), new MaxKey(), new Timestamp({ t: 1, i: 2 }), new Code('x'), null],
];

const FERRET_FIELDS: MongoDocument = {
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
    [
      '2025',
      [
        new Map([
          ['b', 1],
          ['1', 2],
        ]),
      ],
    ],
  ]),
};
const FIELDS: MongoDocument = {
  ...FERRET_FIELDS,
  pattern: new BSONRegExp('a/b', 'imx'),
  decimal: Decimal128.fromString('1.10'),
  timestamp: new Timestamp({ t: 1, i: 2 }),
  code: new Code('x', { y: new Double(1) }),
  reference: new DBRef('c', new ObjectId()),
  min: new MinKey(),
  prices: [Decimal128.fromString('0.00'), Long.MIN_VALUE],
};

for (const [name, uri, wantedIds, fields] of [
  ['SecantusDB', inject('secantusUri'), IDS, FIELDS],
  ['FerretDB', inject('ferretUri'), FERRET_IDS, FERRET_FIELDS],
] as const) {
  if (uri === undefined) continue;
  describe(`what a tenant's own driver wrote, on ${name}`, () => {
    const client = new MongoClient(uri);
    const native = client.db(DATABASE);
    let store: Store;
    let database: Database;

    beforeAll(async () => {
      store = createStore(createMongoExecutor({ uri, timeoutMs: 10_000 }));
      database = store.database(DATABASE);
      await native
        .collection('from')
        .insertMany(wantedIds.map((_id) => ({ _id, ...fields })) as MongoDocument[], { forceServerObjectId: true });
    });

    afterAll(async () => {
      await native.dropDatabase();
      await client.close();
      await store.close();
    });

    const bytesOf = async (collection: string) => {
      const raw = (await native.collection(collection).find({}, { raw: true }).toArray()) as unknown as Buffer[];
      return raw.map((bytes) => bytes.toString('hex')).sort();
    };

    const everyDigest = async (collection: string, limit: number) => {
      const found: { id: string; digest: string }[] = [];
      let after: string | null = null;
      do {
        const page = await database.collection(collection).digests({ after, limit });
        found.push(...page.documents);
        after = page.next;
      } while (after !== null && found.length <= wantedIds.length);
      return found;
    };

    test('is found with ids of every type, each once, whatever the page ends on', async () => {
      const all = await everyDigest('from', 1000);
      expect(all.map(({ id }) => id).sort()).toEqual(
        wantedIds.map((id) => BSON.EJSON.stringify(id, { relaxed: false })).sort(),
      );
      for (const limit of [1, 2, 3, 7]) expect(await everyDigest('from', limit)).toEqual(all);
    });

    test('is copied byte for byte, and then replaced and removed by what it was', async () => {
      const from = database.collection('from');
      const to = database.collection('to');
      const all = await everyDigest('from', 1000);
      const { copied, ...others } = await from.copyTo(
        'to',
        all.map((one) => ({ ...one, over: null })),
      );
      expect(others).toEqual({ kept: [], refused: [], gone: [] });
      expect(copied).toHaveLength(all.length);
      expect(await bytesOf('to')).toEqual(await bytesOf('from'));

      const olds = all.filter(({ id }) => id !== NOT_A_NUMBER);
      for (const { id } of olds) {
        const _id = BSON.EJSON.parse(id, { relaxed: false });
        await native.collection('from').updateOne({ _id }, { $set: { int: new Double(1.5) } });
      }
      const again = await from.copyTo(
        'to',
        olds.map(({ id, digest }) => ({ id, digest: null, over: digest })),
      );
      expect(again.copied).toHaveLength(olds.length);
      const changed = new Map(again.copied.map(({ id, digest }) => [id, digest]));
      expect(olds.filter(({ id, digest }) => changed.get(id) === digest)).toEqual([]);
      expect(await bytesOf('to')).toEqual(await bytesOf('from'));

      expect(await to.deleteDigested(olds)).toBe(0);
      expect(await to.deleteDigested(again.copied)).toBe(olds.length);
      expect(await to.count({})).toBe(all.length - olds.length);
    });

    test('has every kind of index copied', async () => {
      const source = native.collection('indexed');
      await source.createIndex(
        new Map<string, 1 | -1>([
          ['b', 1],
          ['1', -1],
          ['a', 1],
        ]),
        { unique: true },
      );
      if (name === 'SecantusDB') {
        await source.createIndex({ at: 1 }, { expireAfterSeconds: 3600 });
        await source.createIndex({ p: 1 }, { partialFilterExpression: { q: { $gt: new Double(1) } }, name: 'partial' });
        await source.createIndex({ s: 1 }, { sparse: true });
      }
      await database.copyIndexes('indexed', 'indexed_too');
      const listed = async (collection: string) =>
        (
          await native
            .collection(collection)
            .listIndexes({ raw: true } as object)
            .toArray()
        ).map((bytes) => Buffer.from(bytes as unknown as Uint8Array).toString('latin1'));
      expect(await listed('indexed_too')).toEqual(await listed('indexed'));
    });
  });
}
