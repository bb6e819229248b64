import type { Document, Filter, Update, Value } from '../port.ts';
import { StoreError } from '../port.ts';

type Fields = { [field: string]: Value };

/**
 * Applies an update to a document that nobody else holds.
 * @throws {StoreError} InvalidArgument for a path through something that is no object, or $inc of what is no number
 */
export function applyUpdate(document: Document, update: Update, inserting: boolean): Document {
  const fields = document as Fields;
  for (const [path, value] of Object.entries(update.$set ?? {})) {
    write(fields, path, () => value);
  }
  for (const [path, by] of Object.entries(update.$inc ?? {})) {
    write(fields, path, (current) => {
      if (current === undefined) return by;
      if (typeof current !== 'number') throw new StoreError('InvalidArgument', `$inc: ${path} is not a number.`);
      return current + by;
    });
  }
  for (const path of Object.keys(update.$unset ?? {})) remove(fields, path.split('.'));
  if (inserting) {
    for (const [path, value] of Object.entries(update.$setOnInsert ?? {})) write(fields, path, () => value);
  }
  return document;
}

/** The document that an upsert starts from: what its filter says by equality. */
export function upsertBase(filter: Filter): Document {
  const fields: Fields = {};
  for (const [path, expected] of Object.entries(filter)) {
    if (path === '$and' || path === '$or') continue;
    const value = isCondition(expected) ? expected['$eq'] : expected;
    if (value !== undefined) write(fields, path, () => value as Value);
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
    if (!isFields(child)) throw new StoreError('InvalidArgument', `${path} leads through what is not an object.`);
    parent = child;
  }
  parent[last] = next(Object.hasOwn(parent, last) ? parent[last] : undefined);
}

function remove(fields: Fields, path: readonly string[]): void {
  const [step, ...rest] = path;
  if (step === undefined || !Object.hasOwn(fields, step)) return;
  if (rest.length === 0) {
    delete fields[step];
    return;
  }
  const child = fields[step];
  if (isFields(child)) remove(child, rest);
}

const isFields = (value: Value | undefined): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

const isCondition = (expected: unknown): expected is { readonly [operator: string]: unknown } =>
  typeof expected === 'object' && expected !== null && !(expected instanceof Date);
