/** Merges a collection into another on the server, whatever the types of its documents, and compares the two. */
import type { Collection, Db, Document as MongoDocument } from 'mongodb';
import type { MergeResult } from '../port.ts';
import { isCode, isRefusal, MONGO_CODE } from './errors.ts';
import type { RawDocument } from './raw-bson.ts';
import { decode, rawDocument } from './raw-bson.ts';

/** Documents of one step, and their bytes, but for the last of them. */
const PAGE = 200;
const PAGE_BYTES = 4 * 1024 * 1024;

const VALIDATION: readonly string[] = ['validator', 'validationLevel', 'validationAction'];

type Documents = Collection<MongoDocument>;
type Options = ReadonlyMap<string, unknown>;

/** Of a write to the server. */
export type WriteOptions = {
  readonly maxTimeMS: number;
  readonly writeConcern: { readonly w: 'majority'; readonly j: true };
};

/**
 * Inserts into `to` what is absent there, and says how much of `from` is not in `to` with equal bytes.
 * @param options of each call to the server; the whole takes as long as it takes
 */
export async function mergeCollection(
  database: Db,
  from: string,
  to: string,
  options: WriteOptions,
): Promise<MergeResult> {
  const found = await collectionOptions(database, [from, to]);
  const source = found.get(from);
  if (source === undefined) return { left: 0 };
  await bringRules(database, source, to, found.get(to), options);
  const undecided = await bringIndexes(database, from, to, options);
  const merge = new DocumentMerge(database.collection(from), database.collection(to), options);
  const left = await merge.run();
  // An index that may still be in the making: the caller must not take `from` for done with.
  if (undecided !== undefined) throw undecided;
  return { left };
}

/** The options that the collections were made with; those that are not there are left out. */
async function collectionOptions(database: Db, names: readonly string[]): Promise<Map<unknown, Options>> {
  const listed = await database.listCollections({ name: { $in: names } }, { raw: true } as object).toArray();
  const found = listed.map((bytes) => decode(bytes as unknown as Buffer));
  return new Map(found.map((info) => [info.get('name'), (info.get('options') ?? new Map()) as Options]));
}

/** Makes `to` as `from` was made when it is missing, and gives it `from`'s validator when it has none. */
async function bringRules(
  database: Db,
  source: Options,
  to: string,
  target: Options | undefined,
  options: WriteOptions,
): Promise<void> {
  try {
    if (target === undefined) {
      await database.command({ create: to, ...Object.fromEntries(source), ...options });
    } else if (source.has('validator') && !target.has('validator')) {
      const rules = [...source].filter(([name]) => VALIDATION.includes(name));
      await database.command({ collMod: to, ...Object.fromEntries(rules), ...options });
    }
  } catch (error) {
    // Made by another in between, or a rule that this server or this user may not set: the documents come first.
    if (!isRefusal(error) && !isCode(error, MONGO_CODE.unauthorized)) throw error;
  }
}

/** Builds the indexes that `to` lacks, where they can be built. Returns an error that does not tell whether one was. */
async function bringIndexes(database: Db, from: string, to: string, options: WriteOptions): Promise<unknown> {
  const listed = await database
    .collection(from)
    .listIndexes({ raw: true } as object)
    .toArray();
  let undecided: unknown;
  for (const bytes of listed) {
    const definition = decode(bytes as unknown as Buffer);
    if (definition.get('name') === '_id_') continue;
    definition.delete('v');
    definition.delete('ns');
    try {
      // Without a time limit of the server's: a build that outlives this call is found done by the next one.
      await database.command({ createIndexes: to, indexes: [definition], writeConcern: options.writeConcern });
    } catch (error) {
      if (!isRefusal(error) && !isCode(error, MONGO_CODE.unauthorized)) undecided = error;
    }
  }
  return undecided;
}

class DocumentMerge {
  readonly #from: Documents;
  readonly #to: Documents;
  readonly #options: WriteOptions;
  #bypassValidation = true;

  constructor(from: Documents, to: Documents, options: WriteOptions) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
  }

  /** How many documents are left, after all were tried. */
  async run(): Promise<number> {
    let left = 0;
    let page: RawDocument[] = [];
    let bytes = 0;
    for await (const found of this.#from.find({}, { raw: true, batchSize: PAGE })) {
      const document = rawDocument(found as unknown as Buffer);
      page.push(document);
      bytes += document.bytes.byteLength;
      if (page.length < PAGE && bytes < PAGE_BYTES) continue;
      left += await this.#merge(page);
      page = [];
      bytes = 0;
    }
    return left + (await this.#merge(page));
  }

  async #merge(page: readonly RawDocument[]): Promise<number> {
    if (page.length === 0) return 0;
    const there = await this.#bytesInTarget(page);
    const absent = page.filter(({ key }) => !there.has(key));
    if (absent.length === 0) return unequal(page, there);
    try {
      await this.#mergeOnServer(absent);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (page.length > 1) {
        // Each half is tried by itself: one document does not keep others out.
        const half = Math.ceil(page.length / 2);
        return (await this.#merge(page.slice(0, half))) + (await this.#merge(page.slice(half)));
      }
    }
    return unequal(page, await this.#bytesInTarget(page));
  }

  /**
   * `whenMatched: 'fail'` makes the server insert the documents as they are. With 'keepExisting' it upserts them by
   * $setOnInsert, which puts their fields in the order of their names (MongoDB source, document_source_merge.cpp).
   */
  async #mergeOnServer(documents: readonly RawDocument[]): Promise<void> {
    const pipeline = [
      { $match: idsOf(documents) },
      { $merge: { into: this.#to.collectionName, on: '_id', whenMatched: 'fail', whenNotMatched: 'insert' } },
    ];
    const options = { ...this.#options, ...(this.#bypassValidation && { bypassDocumentValidation: true }) };
    try {
      await this.#from.aggregate(pipeline, options).toArray();
    } catch (error) {
      if (!this.#bypassValidation || !isCode(error, MONGO_CODE.unauthorized)) throw error;
      this.#bypassValidation = false;
      await this.#mergeOnServer(documents);
    }
  }

  async #bytesInTarget(documents: readonly RawDocument[]): Promise<Map<string, Buffer>> {
    const { maxTimeMS } = this.#options;
    const found = await this.#to.find(idsOf(documents), { raw: true, batchSize: PAGE, maxTimeMS }).toArray();
    return new Map(found.map((bytes) => rawDocument(bytes as unknown as Buffer)).map(({ key, bytes }) => [key, bytes]));
  }
}

const idsOf = (documents: readonly RawDocument[]): MongoDocument => ({ _id: { $in: documents.map(({ id }) => id) } });

const unequal = (documents: readonly RawDocument[], there: ReadonlyMap<string, Buffer>): number =>
  documents.filter(({ key, bytes }) => !there.get(key)?.equals(bytes)).length;
