/** Documents of whatever types, digested, copied and removed by their ids: what the copy path and the sweep do. */
import type { Collection, Db, Filter, Document as MongoDocument } from 'mongodb';
import { BSON } from 'mongodb';
import type { CopyRequest, CopyResult, DigestPage, DigestSelection, DocumentDigest } from '../port.ts';
import { StoreError } from '../port.ts';
import { clashesIn, isCode, MONGO_CODE, storeError } from './errors.ts';
import { decode, parseId, RawDocument } from './faithful.ts';

type Documents = Collection<MongoDocument>;

/** The most bytes of documents that are held at once, but for the last one. */
const BATCH_BYTES = 8 * 1024 * 1024;

/** The most bytes one page of digests reads, but for its last document. */
const PAGE_BYTES = 16 * 1024 * 1024;

/** Larger documents do not fit twice into one statement: they are compared before they are replaced, not by it. */
const COMPARED_BYTES = 4 * 1024 * 1024;

const NUMBERS: readonly number[] = [1, 16, 18, 19];

/**
 * Types of ids, by BSON's number, in the order in which they sort; those of one line compare with one another. A range
 * holds within a line only (MongoDB manual, "Comparison/Sort Order"). Arrays, regular expressions and undefined are
 * no ids.
 */
const BRACKETS: readonly (readonly number[])[] = [
  [-1],
  [10],
  NUMBERS,
  [2],
  [14],
  [3],
  [5],
  [7],
  [8],
  [9],
  [17],
  [12],
  [13],
  [15],
  [127],
];

export async function digestDocuments(collection: Documents, which: DigestSelection): Promise<DigestPage> {
  const documents: DocumentDigest[] = [];
  if ('ids' in which) {
    for await (const { id, digest } of byIds(collection, which.ids)) documents.push({ id, digest });
    return { documents, next: null };
  }
  const { after, limit } = which;
  let bytes = 0;
  for (const { types, from } of bracketsAfter(after === null ? undefined : parseId(after))) {
    for await (const raw of inBracket(collection, types, from, limit - documents.length)) {
      documents.push({ id: raw.id, digest: raw.digest });
      bytes += raw.bytes.byteLength;
      if (documents.length === limit || bytes >= PAGE_BYTES) return { documents, next: raw.id };
    }
  }
  return { documents, next: null };
}

/** @param atomic whether the server compares and writes in one step, and knows `$expr` */
export async function copyDocuments(
  source: Documents,
  target: Documents,
  requests: readonly CopyRequest[],
  atomic: boolean,
): Promise<CopyResult> {
  const result: CopyResult = { copied: [], kept: [], refused: [], gone: [] };
  const wanted = new Map(requests.map((request) => [request.id, request]));
  for await (const batch of batches(byIds(source, [...wanted.keys()]))) {
    const additions: RawDocument[] = [];
    const replacements: RawDocument[] = [];
    for (const raw of batch) {
      const request = wanted.get(raw.id);
      if (request === undefined || (request.digest !== null && request.digest !== raw.digest)) continue;
      wanted.delete(raw.id);
      (request.over === null ? additions : replacements).push(raw);
    }
    await add(target, additions, result);
    const overs = new Map(requests.map(({ id, over }) => [id, over]));
    await replace(target, replacements, { overs, atomic }, result);
  }
  result.gone.push(...wanted.keys());
  return result;
}

export async function deleteDocuments(
  collection: Documents,
  documents: readonly DocumentDigest[],
  atomic: boolean,
): Promise<number> {
  const expected = new Map(documents.map(({ id, digest }) => [id, digest]));
  let removed = 0;
  for await (const batch of batches(byIds(collection, [...expected.keys()]))) {
    const known = batch.filter(({ id, digest }) => expected.get(id) === digest);
    if (known.length === 0) continue;
    const result = await collection.bulkWrite(
      known.map((raw) => ({ deleteOne: { filter: unchanged(raw, atomic) } })),
      { ordered: false },
    );
    removed += result.deletedCount;
  }
  return removed;
}

/** @throws {StoreError} NamespaceNotFound when there is no `from` */
export async function copyIndexes(database: Db, from: string, to: string): Promise<void> {
  const [there] = await database.listCollections({ name: from }, { nameOnly: true }).toArray();
  if (there === undefined) throw new StoreError('NamespaceNotFound', 'The collection is not there.');
  try {
    await database.createCollection(to);
  } catch (error) {
    if (!isCode(error, MONGO_CODE.namespaceExists)) throw error;
  }
  const listed = await database
    .collection(from)
    .listIndexes({ raw: true } as object)
    .toArray();
  const indexes = listed.map((bytes) => withoutOrigin(decode(bytes as unknown as Uint8Array)));
  for (const index of indexes) {
    // One at a time: FerretDB 1 hangs up on several that are there already.
    if (index.get('name') !== '_id_') await database.command({ createIndexes: to, indexes: [index] });
  }
}

/** The definition of an index without what says where it was, and in which version. */
const withoutOrigin = (definition: Map<string, unknown>): Map<string, unknown> =>
  new Map([...definition].filter(([field]) => field !== 'v' && field !== 'ns'));

/** Puts in what is not there. What clashed is looked at: it may be there already, by an earlier try. */
async function add(target: Documents, additions: readonly RawDocument[], result: CopyResult): Promise<void> {
  const documents = withWritten(additions, result);
  const clashing = new Set<RawDocument>();
  if (documents.length > 0) {
    try {
      await target.insertMany(
        documents.map(({ written }) => written),
        // An id of null is an id: the driver is not to make one.
        { ordered: false, forceServerObjectId: true },
      );
    } catch (error) {
      for (const { index } of clashesIn(error)) {
        const clash = documents[index];
        if (clash !== undefined) clashing.add(clash.raw);
      }
    }
  }
  const there = await digestsById(target, [...clashing]);
  for (const { raw } of documents) {
    if (!clashing.has(raw) || there.get(raw.id)?.digest === raw.digest) {
      result.copied.push({ id: raw.id, digest: raw.digest });
    } else {
      (there.has(raw.id) ? result.kept : result.refused).push(raw.id);
    }
  }
}

/** Replaces what is there, each on condition that it is still what it was said to be. */
async function replace(
  target: Documents,
  replacements: readonly RawDocument[],
  { overs, atomic }: { overs: ReadonlyMap<string, string | null>; atomic: boolean },
  result: CopyResult,
): Promise<void> {
  const there = await digestsById(target, replacements);
  for (const { raw, written } of withWritten(replacements, result)) {
    const current = there.get(raw.id);
    if (current?.digest === raw.digest) {
      result.copied.push({ id: raw.id, digest: raw.digest });
    } else if (current === undefined || current.digest !== overs.get(raw.id)) {
      result.kept.push(raw.id);
    } else {
      try {
        const { matchedCount } = await target.replaceOne(unchanged(current, atomic), written);
        if (matchedCount === 1) result.copied.push({ id: raw.id, digest: raw.digest });
        else result.kept.push(raw.id);
      } catch (error) {
        if (storeError(error, 'copyDocuments').code !== 'DuplicateKey') throw error;
        result.refused.push(raw.id);
      }
    }
  }
}

function withWritten(
  raws: readonly RawDocument[],
  result: CopyResult,
): { readonly raw: RawDocument; readonly written: MongoDocument }[] {
  return raws.flatMap((raw) => {
    const written = raw.toBeWritten();
    if (written !== undefined) return [{ raw, written }];
    result.refused.push(raw.id);
    return [];
  });
}

/** A filter for a document while it is as it was read, whole; where that cannot be asked, for its id. */
function unchanged(raw: RawDocument, atomic: boolean): Filter<MongoDocument> {
  const id = { _id: parseId(raw.id) } as Filter<MongoDocument>;
  const document = atomic && raw.bytes.byteLength <= COMPARED_BYTES ? raw.toBeWritten() : undefined;
  return document === undefined ? id : { ...id, $expr: { $eq: ['$$ROOT', { $literal: document }] } };
}

async function digestsById(collection: Documents, raws: readonly RawDocument[]): Promise<Map<string, RawDocument>> {
  const found = new Map<string, RawDocument>();
  if (raws.length === 0) return found;
  const ids = raws.map(({ id }) => id);
  for await (const raw of byIds(collection, ids)) found.set(raw.id, raw);
  return found;
}

function byIds(collection: Documents, ids: readonly string[]): AsyncIterable<RawDocument> {
  return rawDocuments(collection.find({ _id: { $in: ids.map(parseId) } } as Filter<MongoDocument>, { raw: true }));
}

async function* inBracket(
  collection: Documents,
  types: readonly number[],
  from: object,
  limit: number,
): AsyncIterable<RawDocument> {
  const type = types === NUMBERS ? 'number' : types[0];
  const filter = { _id: { $type: type, ...from } } as Filter<MongoDocument>;
  try {
    yield* rawDocuments(collection.find(filter, { raw: true, limit, sort: { _id: 1 } }));
  } catch (error) {
    // A server that does not know a type has no document of it.
    if (!isCode(error, MONGO_CODE.badValue, ...MONGO_CODE.unsupported)) throw error;
  }
}

async function* rawDocuments(cursor: AsyncIterable<MongoDocument>): AsyncIterable<RawDocument> {
  for await (const bytes of cursor) yield new RawDocument(bytes as unknown as Uint8Array);
}

/** The brackets to look through after an id, and from where in each. */
function bracketsAfter(after: unknown): { types: readonly number[]; from: object }[] {
  if (after === undefined) return BRACKETS.map((types) => ({ types, from: {} }));
  const type = bsonType(after);
  const brackets = BRACKETS.slice(BRACKETS.findIndex((types) => types.includes(type)));
  // NaN is before all numbers, and less than none.
  const startsAtNaN = brackets[0] === NUMBERS && String(after) === 'NaN';
  const first = startsAtNaN ? { $gte: Number.NEGATIVE_INFINITY } : { $gt: after };
  return brackets.map((types, index) => ({ types, from: index === 0 ? first : {} }));
}

function bsonType(id: unknown): number {
  const type = BSON.serialize({ id })[4] ?? 0;
  return type === 255 ? -1 : type;
}

/** Parts of a stream that fit into memory. */
async function* batches(documents: AsyncIterable<RawDocument>): AsyncIterable<RawDocument[]> {
  let batch: RawDocument[] = [];
  let bytes = 0;
  for await (const document of documents) {
    batch.push(document);
    bytes += document.bytes.byteLength;
    if (bytes >= BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}
