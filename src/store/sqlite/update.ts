import type { Document, Filter, Update, Value } from '../port.ts';
import { StoreError } from '../port.ts';
import { comparisonsOf, isObject } from './matcher.ts';

type Fields = { [field: string]: Value };

/**
 * Applies an update to a document that nobody else holds.
 * @throws {StoreError} InvalidArgument for a path through something that is no object, or $inc of what is no number
 */
export function applyUpdate(document: Document, update: Update, inserting: boolean): Document {
  const fields = document as Fields;
  for (const [path, value] of Object.entries({ ...update.$set, ...(inserting && update.$setOnInsert) })) {
    write(fields, path, () => value);
  }
  for (const [path, by] of Object.entries(update.$inc ?? {})) {
    write(fields, path, (current = 0) => {
      if (typeof current !== 'number') throw new StoreError('InvalidArgument', `$inc: ${path} is not a number.`);
      return current + by;
    });
  }
  for (const path of Object.keys(update.$unset ?? {})) remove(fields, path.split('.'));
  return document;
}

/** The document that an upsert starts from: what its filter says by equality. */
export function upsertBase(filter: Filter): Document {
  const fields: Fields = {};
  for (const { path, operator, operand } of comparisonsOf(filter)) {
    if (operator === '$eq') write(fields, path, () => operand as Value);
  }
  return fields as Document;
}

function write(fields: Fields, path: string, next: (current: Value | undefined) => Value): void {
  const steps = path.split('.');
  const last = steps.pop() as string;
  let parent = fields;
  for (const step of steps) {
    if (!Object.hasOwn(parent, step)) parent[step] = {};
    const child = parent[step];
    if (!isObject(child)) throw new StoreError('InvalidArgument', `${path} leads through what is not an object.`);
    parent = child;
  }
  parent[last] = next(Object.hasOwn(parent, last) ? parent[last] : undefined);
}

function remove(fields: Fields, [step = '', ...rest]: readonly string[]): void {
  if (!Object.hasOwn(fields, step)) return;
  const child = fields[step];
  if (rest.length === 0) delete fields[step];
  else if (isObject(child)) remove(child, rest);
}
