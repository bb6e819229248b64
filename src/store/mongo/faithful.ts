/** Documents as the server's own bytes, and the road back to it on which nothing of them is bent. */
import { createHash } from 'node:crypto';
import type { BSONSerializeOptions, Document as MongoDocument } from 'mongodb';
import { BSON } from 'mongodb';

/** Every value in a wrapper that knows its type: a Double that is whole stays one, a Long keeps its last digits. */
const WRAPPED: BSONSerializeOptions = {
  promoteValues: false,
  promoteLongs: false,
  promoteBuffers: false,
  bsonRegExp: true,
};

/** Types of BSON elements and how long their values are, where that is fixed (bsonspec.org, version 1.1). */
const FIXED_LENGTHS: Readonly<Record<number, number>> = {
  1: 8, // double
  6: 0, // undefined
  7: 12, // ObjectId
  8: 1, // boolean
  9: 8, // date
  10: 0, // null
  16: 4, // int32
  17: 8, // timestamp
  18: 8, // int64
  19: 16, // decimal128
  127: 0, // max key
  255: 0, // min key
};
const DOCUMENT = 3;
const ARRAY = 4;
const BINARY = 5;
const REGEXP = 11;
const DB_POINTER = 12;
const CODE_WITH_SCOPE = 15;

/** A document as the server sent it. */
export class RawDocument {
  readonly bytes: Uint8Array;
  /** Its id as canonical Extended JSON. */
  readonly id: string;
  readonly digest: string;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.digest = createHash('sha256').update(bytes).digest('hex');
    this.id = canonicalId(idOf(bytes));
  }

  /**
   * What the driver makes these very bytes of again; undefined where it cannot. An object puts fields that are named
   * like numbers first, so that one that has any becomes a Map.
   */
  toBeWritten(): MongoDocument | undefined {
    for (const read of [() => BSON.deserialize(this.bytes, WRAPPED), () => decode(this.bytes)]) {
      try {
        const decoded = read();
        if (Buffer.compare(BSON.serialize(decoded), this.bytes) === 0) return decoded;
      } catch {
        // What cannot be decoded or encoded cannot be written either.
      }
    }
    return undefined;
  }
}

const canonicalId = (id: unknown): string => BSON.EJSON.stringify(id, { relaxed: false });

/** The value of an id, of the very type that it was. */
export const parseId = (id: string): unknown => BSON.EJSON.parse(id, { relaxed: false });

/** The server keeps `_id` first. */
function idOf(bytes: Uint8Array): unknown {
  for (const { name, value } of elements(bytes)) if (name === '_id') return value();
  return undefined;
}

type Element = { readonly name: string; readonly type: number; readonly start: number; value(): unknown };

/** The fields of a document, one by one, in their order. */
function* elements(bytes: Uint8Array): Iterable<Element> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 4; bytes[at] !== 0; ) {
    const type = bytes[at] as number;
    const nameEnd = bytes.indexOf(0, at + 1);
    const start = nameEnd + 1;
    const end = start + lengthOf(type, start, bytes, view);
    const name = new TextDecoder().decode(bytes.subarray(at + 1, nameEnd));
    yield { name, type, start, value: () => valueAt(type, bytes.subarray(start, end)) };
    at = end;
  }
}

function lengthOf(type: number, start: number, bytes: Uint8Array, view: DataView): number {
  const fixed = FIXED_LENGTHS[type];
  if (fixed !== undefined) return fixed;
  if (type === REGEXP) return bytes.indexOf(0, bytes.indexOf(0, start) + 1) + 1 - start;
  const stated = view.getInt32(start, true);
  if (type === DOCUMENT || type === ARRAY || type === CODE_WITH_SCOPE) return stated;
  if (type === BINARY) return 4 + 1 + stated;
  if (type === DB_POINTER) return 4 + stated + 12;
  return 4 + stated;
}

function valueAt(type: number, value: Uint8Array): unknown {
  if (type === DOCUMENT) return decode(value);
  if (type === ARRAY) return Array.from(elements(value), (element) => element.value());
  // A document of this one field, named with no letter at all.
  const alone = new Uint8Array(4 + 1 + 1 + value.byteLength + 1);
  new DataView(alone.buffer).setInt32(0, alone.byteLength, true);
  alone[4] = type;
  alone.set(value, 6);
  return BSON.deserialize(alone, WRAPPED)[''];
}

/** A document with its fields in their order, and so are those of the documents in it. */
export const decode = (bytes: Uint8Array): Map<string, unknown> =>
  new Map(Array.from(elements(bytes), ({ name, value }) => [name, value()]));
