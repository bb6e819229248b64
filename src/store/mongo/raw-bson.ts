/** Documents as the server's own bytes. An object would put fields that are named like numbers first; a Map does not. */
import type { BSONSerializeOptions } from 'mongodb';
import { BSON } from 'mongodb';

/** Every value in a wrapper that knows its type: a Double that is whole stays one, a Long keeps its last digits. */
const WRAPPED: BSONSerializeOptions = {
  promoteValues: false,
  promoteLongs: false,
  promoteBuffers: false,
  bsonRegExp: true,
};

const DOCUMENT = 3;
const ARRAY = 4;

/** A stored document: its bytes, its `_id` as a value that encodes to the same bytes, and those as a key. */
export type RawDocument = { readonly bytes: Buffer; readonly id: unknown; readonly key: string };

export function rawDocument(bytes: Buffer): RawDocument {
  for (const { name, type, value } of elements(bytes)) {
    if (name === '_id') return { bytes, id: bsonValue(type, value), key: `${type}:${value.toString('latin1')}` };
  }
  return { bytes, id: undefined, key: '' };
}

/** A document with its fields in their order, and so are those of the documents in it. */
export const decode = (bytes: Buffer): Map<string, unknown> =>
  new Map(Array.from(elements(bytes), ({ name, type, value }) => [name, bsonValue(type, value)]));

function* elements(bytes: Buffer): Iterable<{ name: string; type: number; value: Buffer }> {
  for (const [type, nameStart, nameLength, start, length] of BSON.onDemand.parseToElements(bytes)) {
    yield {
      name: bytes.toString('utf8', nameStart, nameStart + nameLength),
      type,
      value: bytes.subarray(start, start + length),
    };
  }
}

function bsonValue(type: number, value: Buffer): unknown {
  if (type === DOCUMENT) return decode(value);
  if (type === ARRAY) return Array.from(elements(value), (element) => bsonValue(element.type, element.value));
  // A document of this one field, whose name is empty: its length, the type, the end of the name, the value, its end.
  const alone = Buffer.alloc(value.byteLength + 7);
  alone.writeInt32LE(alone.byteLength);
  alone[4] = type;
  alone.set(value, 6);
  return BSON.deserialize(alone, WRAPPED)[''];
}
