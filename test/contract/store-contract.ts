import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type {
  CollectionEntry,
  Document,
  Executor,
  Filter,
  Index,
  StoreErrorCode,
  Update,
} from '../../src/store/port.ts';
import { isStoreError } from '../../src/store/port.ts';
import type { Collection, Database, Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';

const fresh = (prefix: string): string => `${prefix}_${crypto.randomUUID().replaceAll('-', '').slice(0, 12)}`;

/** The code of the StoreError that a promise is refused with; undefined when it is not. */
async function refusal(work: () => Promise<unknown>): Promise<StoreErrorCode | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
}

const names = (entries: readonly CollectionEntry[]): string[] => entries.map(({ name }) => name);

const ids = (documents: readonly Document[]): string[] => documents.map(({ _id }) => _id);

/** How many documents are inserted at once: hundreds wait for a connection longer than the time of a call. */
const AT_ONCE = 32;

async function insertAll(collection: Collection, documents: readonly Document[]): Promise<void> {
  for (let from = 0; from < documents.length; from += AT_ONCE) {
    await Promise.all(documents.slice(from, from + AT_ONCE).map((document) => collection.insertOne(document)));
  }
}

/** Where a server is known to differ from MongoDB, in ways that the service does not depend on. */
export type Difference = 'a renamed collection has another id';

/**
 * What every adapter promises, the same on each. Runs under vitest on Node and in workerd, and under `bun test`.
 * @param open makes an executor; it is closed at the end
 * @param differences of the server below: what they rule out is not asked of it
 */
export function storeContract(
  name: string,
  open: () => Promise<Executor>,
  differences: readonly Difference[] = [],
): void {
  describe(name, () => {
    let executor: Executor;
    let store: Store;
    let database: Database;

    beforeAll(async () => {
      executor = await open();
      store = createStore(executor);
      database = store.database(fresh('contract'));
    });

    afterAll(async () => {
      await database.drop();
      await store.close();
    });

    const collectionWith = async (documents: readonly Document[], indexes: readonly Index[] = []) => {
      const collection = database.collection(fresh('c'));
      await database.createCollection(collection.name, indexes);
      await insertAll(collection, documents);
      return collection;
    };

    describe('documents', () => {
      it('come back as they went in: nested, lists, Dates, numbers, every kind of text', async () => {
        const document = {
          _id: 'a',
          nothing: null,
          yes: true,
          no: false,
          zero: 0,
          negative: -1.5,
          huge: 1e300,
          safe: Number.MAX_SAFE_INTEGER,
          date: new Date('2026-11-24T05:00:00.123Z'),
          before1970: new Date(-1),
          nfc: 'caf\u00e9',
          nfd: 'cafe\u0301',
          emoji: '👩🏽‍🚀',
          quotes: `"'\\ \n\t $date {"$date":1}`,
          empty: '',
          list: [1, 'two', { four: null, five: [new Date(3)] }, {}],
          nested: { deeper: { deepest: [new Date(5)] } },
        };
        const collection = await collectionWith([document]);
        expect(await collection.findOne({ _id: 'a' })).toEqual(document);
      });

      it('may have lists in lists', async () => {
        const document = { _id: 'a', list: [[], [new Date(3), [{ four: null }]]] };
        const collection = await collectionWith([document]);
        expect(await collection.findOne({ _id: 'a' })).toEqual(document);
      });

      it('may have fields that are named like parts of the language', async () => {
        const names = ['constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', 'valueOf', 'id', '0'];
        const document = { _id: 'a', ...Object.fromEntries(names.map((field) => [field, `of ${field}`])) };
        const collection = await collectionWith([document, { _id: 'b' }]);
        expect(await collection.findOne({ _id: 'a' })).toEqual(document);
        for (const field of names) {
          expect(ids(await collection.find({ [field]: `of ${field}` }))).toEqual(['a']);
          expect(ids(await collection.find({ [field]: null }))).toEqual(['b']);
        }
      });

      it('are found by texts that hold a NUL', async () => {
        const texts = ['\0', 'a', 'a\0', 'a\0b', 'a\0c', 'ab'];
        const documents = texts.map((text) => ({ _id: text, indexed: text, other: text }));
        const collection = await collectionWith(documents, [{ name: 'indexed', key: { indexed: 1 } }]);
        for (const field of ['_id', 'indexed', 'other']) {
          for (const text of texts) {
            expect(ids(await collection.find({ [field]: text }))).toEqual([text]);
            expect(ids(await collection.find({ [field]: { $in: [text, 'x\0'] } }))).toEqual([text]);
            const greater = texts.slice(texts.indexOf(text) + 1);
            expect(ids(await collection.find({ [field]: { $gt: text } }, { sort: { _id: 1 } }))).toEqual(greater);
          }
        }
      });

      it('may not have fields that are named like operators or prototypes, or hold what not every store keeps', async () => {
        const collection = await collectionWith([]);
        const hostile: unknown[] = [
          JSON.parse('{"_id":"a","__proto__":{"admin":true}}'),
          { _id: 'a', $set: 1 },
          { _id: 'a', 'dotted.path': 1 },
          { _id: 'a', '': 1 },
          { _id: 'a', 'nul\0': 1 },
          { _id: 'a', nested: [{ $gt: '' }] },
          { _id: 'a', value: undefined },
          { _id: 'a', value: Number.NaN },
          { _id: 'a', value: Number.POSITIVE_INFINITY },
          { _id: 'a', value: new Date(Number.NaN) },
          { _id: 'a', value: '\ud800' },
          { _id: 'a', value: () => 1 },
          { _id: 'a', value: new Map() },
          { _id: '' },
          { _id: 1 },
          {},
        ];
        for (const document of hostile) {
          expect(await refusal(() => collection.insertOne(document as Document))).toBe('InvalidArgument');
        }
        expect(await collection.count({})).toBe(0);
      });

      it('take exactly the stated bytes, and not one more, by insert, replace and update', async () => {
        const collection = await collectionWith([]);
        const { documentBytes, measure } = executor.limits;
        const base = { _id: 'large', text: '', tail: '' };
        const room = documentBytes - measure(base);
        const full = { ...base, text: 'x'.repeat(room) };
        expect(measure(full)).toBe(documentBytes);
        await collection.insertOne(full);
        const over = { ...full, text: `${full.text}x` };
        expect(await refusal(() => collection.insertOne({ ...over, _id: 'LARGE' }))).toBe('DocumentTooLarge');
        expect(await refusal(() => collection.replaceOne({ _id: 'large' }, over))).toBe('DocumentTooLarge');
        expect(await refusal(() => collection.updateOne({ _id: 'large' }, { $set: { tail: 'x' } }))).toBe(
          'DocumentTooLarge',
        );
        expect((await collection.findOne({ _id: 'large' }, { projection: { tail: 1 } }))?.['tail']).toBe('');
        expect(await collection.count({})).toBe(1);
      }, 60_000);
    });

    describe('names', () => {
      it('that another store would bend or refuse are refused by all', async () => {
        for (const collection of [
          '',
          '$x',
          'a$b',
          'nul\0',
          '..',
          'a.b',
          'system.users',
          'Upper',
          'ünï',
          '-a',
          'x'.repeat(191),
        ]) {
          expect(await refusal(() => database.createCollection(collection))).toBe('InvalidArgument');
          expect(await refusal(async () => database.collection(collection))).toBe('InvalidArgument');
          expect(await refusal(() => database.renameCollection('a', collection))).toBe('InvalidArgument');
        }
        for (const bad of ['', 'a.b', 'a b', '$x', 'nul\0', 'x'.repeat(64), 'a/b']) {
          expect(await refusal(async () => store.database(bad))).toBe('InvalidArgument');
        }
      });
    });

    describe('unique keys', () => {
      const unique: Index[] = [{ name: 'by_email', key: { organization: 1, email: 1 }, unique: true }];

      it('of twenty inserts of one _id at once, one goes in', async () => {
        const collection = await collectionWith([]);
        const tries = await Promise.all(
          Array.from({ length: 20 }, (_, n) => refusal(() => collection.insertOne({ _id: 'one', n }))),
        );
        expect(tries.filter((code) => code === undefined)).toHaveLength(1);
        expect(tries.filter((code) => code === 'DuplicateKey')).toHaveLength(19);
      });

      it('of twenty inserts of one unique key at once, one goes in, and the others name the index', async () => {
        const collection = await collectionWith([], unique);
        const clashes: (string | undefined)[] = [];
        await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            collection.insertOne({ _id: `${n}`, organization: 'o', email: 'e' }).catch((error: unknown) => {
              expect(isStoreError(error, 'DuplicateKey')).toBe(true);
              clashes.push((error as { index?: string }).index);
            }),
          ),
        );
        expect(clashes).toEqual(Array.from({ length: 19 }, () => 'by_email'));
        expect(await collection.count({})).toBe(1);
      });

      it('a clash of the _id names _id_', async () => {
        const collection = await collectionWith([{ _id: 'a' }]);
        await expect(collection.insertOne({ _id: 'a' })).rejects.toMatchObject({ code: 'DuplicateKey', index: '_id_' });
      });

      it('a missing field counts as null', async () => {
        const collection = await collectionWith([{ _id: 'a', organization: 'o' }], unique);
        expect(await refusal(() => collection.insertOne({ _id: 'b', organization: 'o', email: null }))).toBe(
          'DuplicateKey',
        );
        expect(await refusal(() => collection.insertOne({ _id: 'c', organization: 'o', email: '' }))).toBeUndefined();
      });

      it('values of different types do not clash', async () => {
        const collection = await collectionWith([], [{ name: 'by_v', key: { v: 1 }, unique: true }]);
        for (const [n, v] of [1, '1', true, null, new Date(1), 0, false, '', '{"$date":1}'].entries()) {
          expect(await refusal(() => collection.insertOne({ _id: `${n}`, v }))).toBeUndefined();
        }
        expect(await refusal(() => collection.insertOne({ _id: 'again', v: new Date(1) }))).toBe('DuplicateKey');
      });

      it('hold for updates too, which then change nothing', async () => {
        const collection = await collectionWith(
          [
            { _id: 'a', organization: 'o', email: 'a' },
            { _id: 'b', organization: 'o', email: 'b' },
          ],
          unique,
        );
        expect(await refusal(() => collection.updateOne({ _id: 'b' }, { $set: { email: 'a' } }))).toBe('DuplicateKey');
        expect((await collection.findOne({ _id: 'b' }))?.['email']).toBe('b');
      });

      it('an index is ensured once; another definition under its name is refused', async () => {
        const collection = await collectionWith([], unique);
        await database.createCollection(collection.name, unique);
        const other: Index = { name: 'by_email', key: { other: 1 }, unique: true };
        expect(await refusal(() => database.createCollection(collection.name, [other]))).toBe('InvalidArgument');
      });

      it('an expiring index does no harm where it does nothing', async () => {
        const collection = await collectionWith(
          [],
          [{ name: 'expires_at', key: { expires_at: 1 }, expireAfterSeconds: 0 }],
        );
        await collection.insertOne({ _id: 'a', expires_at: new Date(Date.now() + 3_600_000) });
        expect(await collection.count({ expires_at: { $gt: new Date() } })).toBe(1);
      });
    });

    describe('filters', () => {
      const documents: Document[] = [
        { _id: 'number', v: 5 },
        { _id: 'larger', v: 10 },
        { _id: 'fraction', v: 5.5 },
        { _id: 'text', v: '5' },
        { _id: 'null', v: null },
        { _id: 'missing' },
        { _id: 'true', v: true },
        { _id: 'false', v: false },
        { _id: 'date', v: new Date(5) },
        { _id: 'empty', v: '' },
        { _id: 'astral', v: '😀' },
        { _id: 'bmp', v: 'Ａ' },
      ];
      const cases: [string, Filter, string[]][] = [
        ['equality', { v: 5 }, ['number']],
        ['$eq', { v: { $eq: '5' } }, ['text']],
        ['equality of booleans', { v: false }, ['false']],
        ['equality of Dates', { v: new Date(5) }, ['date']],
        ['null finds the missing', { v: null }, ['null', 'missing']],
        ['$ne', { v: { $ne: 5 } }, documents.map(({ _id }) => _id).filter((_id) => _id !== 'number')],
        [
          '$ne null',
          { v: { $ne: null } },
          documents.map(({ _id }) => _id).filter((_id) => !['null', 'missing'].includes(_id)),
        ],
        ['$gt stays within numbers', { v: { $gt: 5 } }, ['larger', 'fraction']],
        ['$gte', { v: { $gte: 5 } }, ['number', 'larger', 'fraction']],
        ['$lt', { v: { $lt: 5.5 } }, ['number']],
        ['$lte', { v: { $lte: 5.5 } }, ['number', 'fraction']],
        ['ranges of text stay within text', { v: { $gte: '' } }, ['text', 'empty', 'astral', 'bmp']],
        ['text goes by code point', { v: { $gt: 'Ａ' } }, ['astral']],
        ['ranges of Dates', { v: { $lt: new Date(6) } }, ['date']],
        ['a range from both sides', { v: { $gt: 5, $lt: 10 } }, ['fraction']],
        ['$in', { v: { $in: [5, '5', null] } }, ['number', 'text', 'null', 'missing']],
        ['$in of nothing', { v: { $in: [] } }, []],
        ['$and', { $and: [{ v: { $gte: 5 } }, { v: { $ne: 5 } }] }, ['larger', 'fraction']],
        ['_id', { _id: 'date' }, ['date']],
        ['_id by $in and a range', { _id: { $in: ['date', 'text', 'none'] }, v: { $gt: '' } }, ['text']],
        ['_id by a range', { _id: { $gt: 'null', $lt: 'true' } }, ['number', 'text']],
        ['nothing at all', {}, documents.map(({ _id }) => _id)],
      ];

      for (const indexes of [[], [{ name: 'by_v', key: { v: 1 } }]] satisfies Index[][]) {
        it(`find, count and delete alike ${indexes.length === 0 ? 'without' : 'with'} an index`, async () => {
          const collection = await collectionWith(documents, indexes);
          for (const [what, filter, expected] of cases) {
            expect([what, ids(await collection.find(filter, { sort: { _id: 1 } }))]).toEqual([
              what,
              [...expected].sort(),
            ]);
            expect([what, await collection.count(filter)]).toEqual([what, expected.length]);
          }
          expect(await collection.count({ v: { $gte: 5 } }, { limit: 2 })).toBe(2);
          for (const [what, filter, expected] of cases) {
            const copy = await collectionWith(documents, indexes);
            expect([what, await copy.deleteMany(filter)]).toEqual([what, expected.length]);
            expect([what, (await copy.find({})).length]).toEqual([what, documents.length - expected.length]);
            await database.dropCollection(copy.name);
          }
        }, 60_000);
      }

      it('reach into nested documents and the elements of lists', async () => {
        const collection = await collectionWith([
          { _id: 'nested', a: { b: { c: 1 } } },
          { _id: 'list', tags: ['x', 'y'] },
          { _id: 'documents', a: [{ b: 1 }, { b: 2 }] },
          { _id: 'none' },
        ]);
        expect(ids(await collection.find({ 'a.b.c': 1 }))).toEqual(['nested']);
        expect(ids(await collection.find({ tags: 'y' }))).toEqual(['list']);
        expect(ids(await collection.find({ 'a.b': 2 }))).toEqual(['documents']);
        expect(ids(await collection.find({ 'a.b': { $gt: 1 } }))).toEqual(['documents']);
        expect(ids(await collection.find({ 'a.b.c': { $ne: null } }))).toEqual(['nested']);
      });

      it('outside the subset are refused', async () => {
        const collection = await collectionWith([]);
        const outside: unknown[] = [
          { $where: 'true' },
          { v: { $regex: 'x' } },
          { v: { $not: { $eq: 1 } } },
          { v: {} },
          { v: { nested: 1 } },
          { v: [1] },
          { v: { $gt: null } },
          { v: { $in: [{ a: 1 }] } },
          { v: { $exists: true } },
          { $or: [{ v: 1 }] },
          { $and: [] },
          { 'a..b': 1 },
          { 'a.$x': 1 },
          { v: undefined },
        ];
        for (const filter of outside) {
          expect(await refusal(() => collection.find(filter as Filter))).toBe('InvalidArgument');
          expect(await refusal(() => collection.deleteMany(filter as Filter))).toBe('InvalidArgument');
        }
      });
    });

    describe('sort, limit, projection', () => {
      it('sort by type, then value, as BSON does, missing as null', async () => {
        const inOrder: Document[] = [
          { _id: '1' },
          { _id: '2', v: -1 },
          { _id: '3', v: 2.5 },
          { _id: '4', v: 10 },
          { _id: '5', v: '' },
          { _id: '6', v: 'B' },
          { _id: '7', v: 'a' },
          { _id: '8', v: 'Ａ' },
          { _id: '9', v: '😀' },
          { _id: 'a', v: false },
          { _id: 'b', v: true },
          { _id: 'c', v: new Date(-5) },
          { _id: 'd', v: new Date(5) },
        ];
        for (const indexes of [[], [{ name: 'by_v', key: { v: 1 } }]] satisfies Index[][]) {
          const collection = await collectionWith([...inOrder].reverse(), indexes);
          expect(ids(await collection.find({}, { sort: { v: 1 } }))).toEqual(ids(inOrder));
          expect(ids(await collection.find({}, { sort: { v: -1 }, limit: 3 }))).toEqual(['d', 'c', 'b']);
        }
      });

      it('sort by a flag and the id, with an index in that order: true comes first', async () => {
        const documents = Array.from({ length: 12 }, (_, n) => ({ _id: `${n + 10}`, of: n % 2, flag: n % 3 === 0 }));
        const index = { name: 'of_flag', key: { of: 1, flag: -1, _id: 1 } } as const;
        const collection = await collectionWith(documents, [index]);
        const page = await collection.find({ of: 0 }, { sort: { flag: -1, _id: 1 }, limit: 4 });
        expect(ids(page)).toEqual(['10', '16', '12', '14']);
      });

      it('sort by several fields, and page by the last one seen', async () => {
        const documents = Array.from({ length: 25 }, (_, n) => ({ _id: `${n}`.padStart(2, '0'), group: n % 3 }));
        const collection = await collectionWith(documents, [{ name: 'by_group', key: { group: 1 } }]);
        const all = await collection.find({}, { sort: { group: -1, _id: 1 } });
        expect(all.map(({ group, _id }) => [group, _id])).toEqual(
          documents
            .map(({ group, _id }) => [group, _id])
            .sort(([a, b], [c, d]) => Number(c) - Number(a) || (String(b) < String(d) ? -1 : 1)),
        );
        const paged: string[] = [];
        for (let after = ''; ; ) {
          const page = await collection.find({ _id: { $gt: after } }, { sort: { _id: 1 }, limit: 7 });
          paged.push(...ids(page));
          if (page.length < 7) break;
          after = page.at(-1)?._id ?? '';
        }
        expect(paged).toEqual(ids(documents));
      });

      it('project to the named fields and the _id', async () => {
        const collection = await collectionWith([{ _id: 'a', x: 1, y: { z: 2 }, w: 3 }]);
        expect(await collection.findOne({}, { projection: { y: 1, none: 1 } })).toEqual({ _id: 'a', y: { z: 2 } });
      });

      it('a batch is one to a thousand', async () => {
        const collection = await collectionWith([]);
        for (const limit of [0, -1, 1.5, 1001])
          expect(await refusal(() => collection.find({}, { limit }))).toBe('InvalidArgument');
      });
    });

    describe('updates', () => {
      it('$set, $unset and $inc, also of nested fields, which $set makes', async () => {
        const collection = await collectionWith([{ _id: 'a', n: 1, keep: 'k', gone: 1, deep: { x: 1, y: 2 } }]);
        const update: Update = {
          $set: { 'deep.x': 2, 'made.on.the.way': new Date(1) },
          $unset: { gone: true, 'deep.y': true, 'not.there': true },
          $inc: { n: 2, fresh: -3 },
        };
        expect(await collection.updateOne({ _id: 'a' }, update)).toEqual({ matched: 1, upserted: false });
        expect(await collection.findOne({ _id: 'a' })).toEqual({
          _id: 'a',
          n: 3,
          keep: 'k',
          deep: { x: 2 },
          made: { on: { the: { way: new Date(1) } } },
          fresh: -3,
        });
      });

      it('that match nothing change nothing', async () => {
        const collection = await collectionWith([{ _id: 'a', n: 1 }]);
        expect(await collection.updateOne({ _id: 'a', n: 2 }, { $set: { n: 3 } })).toEqual({
          matched: 0,
          upserted: false,
        });
        expect(await collection.findOneAndUpdate({ n: 2 }, { $set: { n: 3 } })).toBeUndefined();
        expect(await collection.replaceOne({ n: 2 }, { _id: 'a', n: 3 })).toEqual({ matched: 0, upserted: false });
        expect(await collection.deleteOne({ n: 2 })).toBe(0);
        expect(await collection.findOne({})).toEqual({ _id: 'a', n: 1 });
      });

      it('upsert makes what the filter and the update say, once', async () => {
        const collection = database.collection(fresh('c'));
        const upsert = () =>
          collection.updateOne(
            { _id: 'a', kind: 'k' },
            { $inc: { n: 1 }, $setOnInsert: { made: true } },
            { upsert: true },
          );
        expect(await upsert()).toEqual({ matched: 0, upserted: true });
        expect(await upsert()).toEqual({ matched: 1, upserted: false });
        expect(await collection.findOne({ _id: 'a' })).toEqual({ _id: 'a', kind: 'k', n: 2, made: true });
        const conflicting = { _id: 'a', kind: 'other' };
        expect(await refusal(() => collection.updateOne(conflicting, { $inc: { n: 1 } }, { upsert: true }))).toBe(
          'DuplicateKey',
        );
        expect(await refusal(() => collection.updateOne({ kind: 'k' }, { $inc: { n: 1 } }, { upsert: true }))).toBe(
          'InvalidArgument',
        );
      });

      it('findOneAndUpdate gives the document as the update left it', async () => {
        const collection = await collectionWith([{ _id: 'a', n: 1 }]);
        expect(await collection.findOneAndUpdate({ n: 1 }, { $inc: { n: 1 } })).toEqual({ _id: 'a', n: 2 });
        const upsert = collection.findOneAndUpdate({ _id: 'b' }, { $inc: { n: 1 } }, { upsert: true });
        expect(await upsert).toEqual({ _id: 'b', n: 1 });
      });

      it('replaceOne leaves nothing of what was there', async () => {
        const collection = await collectionWith([{ _id: 'a', old: 1 }]);
        expect(await collection.replaceOne({ _id: 'a' }, { _id: 'a', fresh: 2 })).toEqual({
          matched: 1,
          upserted: false,
        });
        expect(await collection.findOne({ _id: 'a' })).toEqual({ _id: 'a', fresh: 2 });
        expect(await refusal(() => collection.replaceOne({ _id: 'a' }, { _id: 'b' }))).toBe('InvalidArgument');
      });

      it('outside the subset, or that do not fit, are refused and change nothing', async () => {
        const document = { _id: 'a', text: 't', list: [1], nested: { x: 1 } };
        const collection = await collectionWith([document]);
        const refused: unknown[] = [
          {},
          { $push: { list: 1 } },
          { $rename: { text: 'x' } },
          { text: 'replacement' },
          { $set: { _id: 'b' } },
          { $set: { nested: {}, 'nested.x': 1 } },
          { $set: { text: 1 }, $unset: { text: true } },
          { $inc: { text: 1 } },
          { $inc: { n: 0.5 } },
          { $set: { 'text.inner': 1 } },
          { $set: { 'list.0': 1 } },
          { $set: { 'list.x': 1 } },
          { $set: { $x: 1 } },
          { $set: { text: undefined } },
        ];
        for (const update of refused) {
          expect([update, await refusal(() => collection.updateOne({ _id: 'a' }, update as Update))]).toEqual([
            update,
            'InvalidArgument',
          ]);
        }
        expect(await collection.findOne({ _id: 'a' })).toEqual(document);
      });

      it('of twenty compare-and-sets of one version at once, one matches', async () => {
        const collection = await collectionWith([{ _id: 'a', version: 1 }]);
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, by) =>
            collection.updateOne({ _id: 'a', version: 1 }, { $set: { by }, $inc: { version: 1 } }),
          ),
        );
        expect(results.filter(({ matched }) => matched === 1)).toHaveLength(1);
        expect((await collection.findOne({ _id: 'a' }))?.['version']).toBe(2);
      });

      it('twenty increments at once add up', async () => {
        const collection = await collectionWith([{ _id: 'a', n: 0 }]);
        await Promise.all(Array.from({ length: 20 }, () => collection.updateOne({ _id: 'a' }, { $inc: { n: 1 } })));
        expect((await collection.findOne({ _id: 'a' }))?.['n']).toBe(20);
      });
    });

    describe('collections', () => {
      it('one that is not there reads as an empty one', async () => {
        const collection: Collection = database.collection(fresh('c'));
        expect(await collection.find({})).toEqual([]);
        expect(await collection.count({})).toBe(0);
        expect(await database.listCollections([collection.name])).toEqual([]);
        expect(await collection.updateOne({ _id: 'a' }, { $set: { n: 1 } })).toEqual({ matched: 0, upserted: false });
        expect(await collection.deleteMany({})).toBe(0);
        await database.dropCollection(collection.name);
      });

      it('are made once, also by ten at once', async () => {
        const collection = fresh('c');
        const index: Index = { name: 'by_v', key: { v: 1 }, unique: true };
        const made = await Promise.all(
          Array.from({ length: 10 }, () => database.createCollection(collection, [index])),
        );
        expect(made).toContain(true);
        expect(await database.createCollection(collection, [index])).toBe(false);
        expect(names(await database.listCollections([collection]))).toEqual([collection]);
      });

      it('are listed by name, all or those that are asked for, each with an id of its own', async () => {
        const stem = fresh('p');
        const made = ['b', 'a', 'c'].map((name) => `${stem}_${name}`);
        for (const name of made) await database.createCollection(name);
        const asked = await database.listCollections([`${stem}_c`, `${stem}_a`, `${stem}_none`]);
        expect(names(asked)).toEqual([`${stem}_a`, `${stem}_c`]);
        expect(await database.listCollections([`${stem}_a`])).toEqual(asked.slice(0, 1));
        const all = (await database.listCollections()).filter(({ name }) => name.startsWith(stem));
        expect(names(all)).toEqual([...made].sort());
        expect(new Set(all.map(({ id }) => id)).size).toBe(3);
        const other = store.database(fresh('other'));
        expect(await other.listCollections([`${stem}_a`])).toEqual([]);
      });

      it('have another id when they are made again', async () => {
        const name = fresh('c');
        await database.createCollection(name);
        const [before] = await database.listCollections([name]);
        await database.dropCollection(name);
        await database.createCollection(name);
        const [after] = await database.listCollections([name]);
        expect([before?.name, after?.name]).toEqual([name, name]);
        expect(after?.id).not.toBe(before?.id);
      });

      if (!differences.includes('a renamed collection has another id')) {
        it('keep their id when they are renamed', async () => {
          for (const indexes of [[], [{ name: 'by_v', key: { v: 1 } }]] satisfies Index[][]) {
            const { name } = await collectionWith([{ _id: 'a' }], indexes);
            const [before] = await database.listCollections([name]);
            const to = fresh('c');
            await database.renameCollection(name, to);
            expect(await database.listCollections([name, to])).toEqual([{ name: to, id: before?.id }]);
          }
        });
      }

      it('have nothing of what was there before they were dropped', async () => {
        for (const indexes of [[], [{ name: 'by_v', key: { v: 1 } }]] satisfies Index[][]) {
          const collection = await collectionWith(
            Array.from({ length: 1000 }, (_, n) => ({ _id: `${n}`, v: n })),
            indexes,
          );
          await database.dropCollection(collection.name);
          expect(await collection.find({})).toEqual([]);
          await collection.insertOne({ _id: '1', v: 'new' });
          expect(await collection.find({})).toEqual([{ _id: '1', v: 'new' }]);
        }
      });

      it('with documents may get indexes later', async () => {
        const collection = await collectionWith([
          { _id: 'a', v: 1 },
          { _id: 'b', v: 2 },
        ]);
        const index: Index = { name: 'by_v', key: { v: 1 }, unique: true };
        expect(await database.createCollection(collection.name, [index])).toBe(false);
        expect(await collection.find({ v: 2 })).toEqual([{ _id: 'b', v: 2 }]);
        expect(await refusal(() => collection.insertOne({ _id: 'c', v: 1 }))).toBe('DuplicateKey');
        const clashing = await collectionWith([
          { _id: 'a', v: 1 },
          { _id: 'b', v: 1 },
        ]);
        expect(await refusal(() => database.createCollection(clashing.name, [index]))).toBe('DuplicateKey');
        expect(await clashing.count({ v: 1 })).toBe(2);
      });

      it('a rename keeps documents and indexes, and frees the old name', async () => {
        const index: Index = { name: 'by_v', key: { v: 1 }, unique: true };
        const from = await collectionWith([{ _id: 'a', v: 1 }], [index]);
        const to = database.collection(fresh('c'));
        await database.renameCollection(from.name, to.name);
        expect(await to.find({})).toEqual([{ _id: 'a', v: 1 }]);
        expect(await refusal(() => to.insertOne({ _id: 'b', v: 1 }))).toBe('DuplicateKey');
        expect(await database.listCollections([from.name])).toEqual([]);
        await database.createCollection(from.name, [index]);
        await from.insertOne({ _id: 'b', v: 1 });
        expect(await refusal(() => from.insertOne({ _id: 'c', v: 1 }))).toBe('DuplicateKey');
      });

      it('a rename is refused from what is not there, onto what is, and onto itself', async () => {
        const [here, other] = [await collectionWith([{ _id: 'a' }]), await collectionWith([{ _id: 'b' }])];
        expect(await refusal(() => database.renameCollection(fresh('c'), fresh('c')))).toBe('NamespaceNotFound');
        expect(await refusal(() => database.renameCollection(here.name, other.name))).toBe('NamespaceExists');
        expect(await refusal(() => database.renameCollection(here.name, here.name))).toBe('InvalidArgument');
        expect([await here.count({}), await other.count({})]).toEqual([1, 1]);
      });

      it('of ten renames of one collection at once, one is done', async () => {
        const from = await collectionWith([{ _id: 'a' }]);
        const targets = Array.from({ length: 10 }, () => fresh('c'));
        const results = await Promise.all(targets.map((to) => refusal(() => database.renameCollection(from.name, to))));
        expect(results.filter((code) => code === undefined)).toHaveLength(1);
        expect(await database.listCollections(targets)).toHaveLength(1);
      });

      it('a writer that holds the old name brings it back, and does not touch the renamed one', async () => {
        const writer = await collectionWith([{ _id: 'before' }]);
        const to = database.collection(fresh('c'));
        await database.renameCollection(writer.name, to.name);
        expect(await writer.updateOne({ _id: 'before' }, { $set: { late: true } })).toEqual({
          matched: 0,
          upserted: false,
        });
        await writer.insertOne({ _id: 'late' });
        expect(ids(await writer.find({}))).toEqual(['late']);
        expect(await to.find({})).toEqual([{ _id: 'before' }]);
      });

      it('are dropped with their database', async () => {
        const other = store.database(fresh('other'));
        await other.createCollection('one');
        await other.collection('two').insertOne({ _id: 'a' });
        await other.drop();
        expect(await other.listCollections()).toEqual([]);
      });
    });

    describe('a merge', () => {
      const index: Index = { name: 'by_v', key: { v: 1 }, unique: true };

      it('puts in what is absent, keeps what is there, and counts what is not there equal', async () => {
        const from = await collectionWith([
          { _id: 'absent', v: [1, { at: new Date(1) }], a: 1 },
          { _id: 'equal', v: 1 },
          { _id: 'other', v: 1 },
          { _id: 'reordered', x: 1, y: 2 },
        ]);
        const there = [
          { _id: 'equal', v: 1 },
          { _id: 'more', v: 3 },
          { _id: 'other', v: 2 },
          { _id: 'reordered', y: 2, x: 1 },
        ];
        const to = await collectionWith(there);
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 2 });
        expect(await to.find({}, { sort: { _id: 1 } })).toEqual([
          { _id: 'absent', v: [1, { at: new Date(1) }], a: 1 },
          ...there,
        ]);
        expect(await from.count({ _id: { $gt: '' } })).toBe(4);
      });

      it('may be repeated, and then finds everything there', async () => {
        const from = await collectionWith([{ _id: 'a', v: 1 }, { _id: 'b' }]);
        const to = await collectionWith([]);
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 0 });
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 0 });
        expect(ids(await to.find({}, { sort: { _id: 1 } }))).toEqual(['a', 'b']);
      });

      it('makes the collection where it is missing', async () => {
        const from = await collectionWith([{ _id: 'a', v: 1 }]);
        const to = database.collection(fresh('c'));
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 0 });
        expect(await to.find({})).toEqual([{ _id: 'a', v: 1 }]);
      });

      it('of a collection that does not exist leaves nothing and makes nothing', async () => {
        const to = fresh('c');
        expect(await database.mergeCollection(fresh('c'), to)).toEqual({ left: 0 });
        expect(await database.listCollections([to])).toEqual([]);
      });

      it('goes through more documents than one step takes', async () => {
        const documents = Array.from({ length: 1000 }, (_, n) => ({ _id: `${n}`, n }));
        const from = await collectionWith(documents);
        const to = await collectionWith(documents.slice(300, 500));
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 0 });
        expect(await to.count({ n: { $gte: 0 } })).toBe(1000);
      });

      it('brings indexes over, by which a clash leaves one document and stops no other', async () => {
        const from = await collectionWith(
          Array.from({ length: 9 }, (_, n) => ({ _id: `from${n}`, v: n })),
          [index],
        );
        const to = await collectionWith([
          { _id: 'x', v: 3 },
          { _id: 'y', v: 20 },
        ]);
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 1 });
        expect(await to.count({ _id: { $gt: '' } })).toBe(10);
        expect(await refusal(() => to.insertOne({ _id: 'z', v: 20 }))).toBe('DuplicateKey');
      });

      it('goes on without an index that cannot be built', async () => {
        const from = await collectionWith([{ _id: 'a', v: 1 }], [index, { name: 'by_w', key: { w: 1 }, unique: true }]);
        const to = await collectionWith([
          { _id: 'x', v: 7, w: 1 },
          { _id: 'y', v: 7, w: 2 },
        ]);
        expect(await database.mergeCollection(from.name, to.name)).toEqual({ left: 0 });
        expect(ids(await to.find({}, { sort: { _id: 1 } }))).toEqual(['a', 'x', 'y']);
        expect(await refusal(() => to.insertOne({ _id: 'z', v: 7, w: 2 }))).toBe('DuplicateKey');
        expect(await refusal(() => to.insertOne({ _id: 'z', v: 7, w: 3 }))).toBeUndefined();
      });

      it('takes a collection with indexes into one without, and the other way round', async () => {
        const [indexed, plain] = [
          await collectionWith([{ _id: 'indexed', v: 1 }], [index]),
          await collectionWith([{ _id: 'plain', v: 2 }]),
        ];
        expect(await database.mergeCollection(plain.name, indexed.name)).toEqual({ left: 0 });
        expect(await database.mergeCollection(indexed.name, plain.name)).toEqual({ left: 0 });
        for (const collection of [indexed, plain]) {
          expect(ids(await collection.find({ v: { $gte: 1 } }, { sort: { v: 1 } }))).toEqual(['indexed', 'plain']);
        }
      });
    });

    it('answers a ping', async () => {
      await store.ping();
    });

    it('does nothing when the time for it is up', async () => {
      const collection = await collectionWith([]);
      const late = store.within(() => 0).database(database.name);
      expect(await refusal(() => late.collection(collection.name).insertOne({ _id: 'a' }))).toBe('Unavailable');
      expect(await refusal(() => late.dropCollection(collection.name))).toBe('Unavailable');
      expect(await collection.find({})).toEqual([]);
      const inTime = store.within(() => 5000).database(database.name);
      await inTime.collection(collection.name).insertOne({ _id: 'a' });
      expect(await inTime.collection(collection.name).find({})).toEqual([{ _id: 'a' }]);
    });
  });
}
