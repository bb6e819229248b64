/**
 * What the port takes, checked once for every adapter, so that nothing behaves differently on another store:
 * neither an operator that one of them lacks, nor a name or value that one of them would bend.
 */
import type { Document, Filter, Index, Projection, Sort, Update } from './port.ts';
import { BATCH_LIMIT, StoreError } from './port.ts';

/** Nesting deeper than this is refused: MongoDB's own limit is 100 levels. */
const DEPTH_LIMIT = 90;
const FILTER_DEPTH_LIMIT = 8;
const ID_BYTES = 512;

const refuse = (message: string): never => {
  throw new StoreError('InvalidArgument', message);
};

/** Letters, digits, `_` and `-`, under 64 bytes: MongoDB's rule, less what some servers refuse. */
export function checkDatabaseName(name: string): void {
  if (!/^[A-Za-z0-9_-]{1,63}$/.test(name)) refuse('A database name is 1 to 63 letters, digits, "_" or "-".');
}

/** Lower case, because SQLite does not tell table names apart by case; never `system.`, `$`, NUL or `..`. */
export function checkCollectionName(name: string): void {
  if (!/^[a-z0-9_][a-z0-9_-]{0,189}$/.test(name)) {
    refuse('A collection name is 1 to 190 characters of a-z, 0-9, "_" and "-", and does not start with "-".');
  }
}

export function checkLimit(limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > BATCH_LIMIT) refuse(`A batch is 1 to ${BATCH_LIMIT} documents.`);
}

/** An id is a well-formed string of 1 to 512 bytes; every field name and value is one that all stores keep. */
export function checkDocument(document: Document): void {
  const id: unknown = document._id;
  if (typeof id !== 'string' || id === '' || id.length > ID_BYTES) refuse('_id is a string of 1 to 512 characters.');
  checkValue(document, 'The document', 0);
}

export function checkFilter(filter: Filter, depth = 0): void {
  if (depth > FILTER_DEPTH_LIMIT) refuse('The filter is nested too deep.');
  for (const [path, expected] of Object.entries(filter)) {
    if (path === '$and' || path === '$or') {
      if (!Array.isArray(expected) || expected.length === 0) refuse(`${path} takes a list of filters.`);
      for (const part of expected as readonly Filter[]) checkFilter(part, depth + 1);
    } else {
      checkPath(path);
      checkCondition(path, expected);
    }
  }
}

function checkCondition(path: string, expected: unknown): void {
  if (isScalar(expected)) {
    checkValue(expected, path, 0);
    return;
  }
  if (!isPlainObject(expected)) refuse(`${path} is compared with a scalar or with operators.`);
  const operators = Object.entries(expected as object);
  if (operators.length === 0) refuse(`${path} is compared with nothing.`);
  for (const [operator, operand] of operators) {
    switch (operator) {
      case '$eq':
      case '$ne':
        if (!isScalar(operand)) refuse(`${operator} on ${path} takes a scalar.`);
        break;
      case '$gt':
      case '$gte':
      case '$lt':
      case '$lte':
        if (!(typeof operand === 'number' || typeof operand === 'string' || operand instanceof Date)) {
          refuse(`${operator} on ${path} takes a number, a string or a Date.`);
        }
        break;
      case '$in':
        if (!Array.isArray(operand) || !operand.every(isScalar) || operand.length > BATCH_LIMIT) {
          refuse(`$in on ${path} takes a list of at most ${BATCH_LIMIT} scalars.`);
        }
        break;
      case '$exists':
        if (typeof operand !== 'boolean') refuse(`$exists on ${path} takes true or false.`);
        break;
      default:
        refuse(`The operator ${operator} on ${path} is not supported.`);
    }
    checkValue(operand, path, 0);
  }
}

export function checkUpdate(update: Update, filter: Filter, upsert: boolean): void {
  const paths: string[] = [];
  for (const [operator, fields] of Object.entries(update)) {
    if (operator !== '$set' && operator !== '$unset' && operator !== '$inc' && operator !== '$setOnInsert') {
      refuse(`The update operator ${operator} is not supported.`);
    }
    for (const [path, operand] of Object.entries(fields)) {
      checkPath(path);
      if (path === '_id' || path.startsWith('_id.')) refuse('_id does not change.');
      if (/\.\d+(\.|$)/.test(path)) refuse(`${path}: array elements are not addressed by position.`);
      if (operator === '$inc' && !Number.isSafeInteger(operand)) refuse(`$inc on ${path} takes a safe integer.`);
      checkValue(operand, path, path.split('.').length);
      paths.push(path);
    }
  }
  if (paths.length === 0) refuse('An update changes at least one field.');
  paths.sort();
  for (const [index, path] of paths.entries()) {
    // `a` sorts before `a.b`, but `a-x` may stand between them: look at every later path that has it as a prefix.
    for (const other of paths.slice(index + 1)) {
      if (other === path || other.startsWith(`${path}.`)) refuse(`${path} and ${other} overlap.`);
    }
  }
  if (upsert && typeof filter['_id'] !== 'string') refuse('An upsert names its _id in the filter.');
}

export function checkSort(sort: Sort | undefined): void {
  for (const [field, direction] of Object.entries(sort ?? {})) {
    checkFieldName(field);
    if (direction !== 1 && direction !== -1) refuse(`The sort on ${field} is 1 or -1.`);
  }
}

export function checkProjection(projection: Projection | undefined): void {
  for (const [field, included] of Object.entries(projection ?? {})) {
    checkFieldName(field);
    if (included !== 1) refuse(`The projection of ${field} is 1.`);
  }
}

export function checkIndexes(indexes: readonly Index[]): void {
  for (const { name, key, expireAfterSeconds } of indexes) {
    if (!/^[a-z0-9_]{1,60}$/.test(name) || name === '_id_') refuse('An index name is 1 to 60 of a-z, 0-9 and "_".');
    const fields = Object.keys(key);
    if (fields.length === 0) refuse(`Index ${name} has no field.`);
    for (const field of fields) {
      // The SQLite adapter writes the field into an expression index, so it takes plain names only.
      if (!/^[A-Za-z0-9_]+$/.test(field)) refuse(`Index ${name}: a field is letters, digits and "_".`);
    }
    checkSort(key);
    if (expireAfterSeconds !== undefined && fields.length !== 1) refuse(`Expiring index ${name} takes one field.`);
  }
}

function checkPath(path: string): void {
  for (const field of path.split('.')) checkFieldName(field);
}

function checkFieldName(field: string): void {
  if (field === '') refuse('A field name is not empty.');
  if (field.startsWith('$')) refuse('A field name does not start with "$".');
  if (field.includes('.') || field.includes('\0')) refuse('A field name has no "." and no NUL.');
  if (field === '__proto__') refuse('"__proto__" is not a field name.');
  if (!field.isWellFormed()) refuse('A field name is well-formed Unicode.');
}

function checkValue(value: unknown, where: string, depth: number): void {
  if (depth > DEPTH_LIMIT) refuse(`${where} is nested deeper than ${DEPTH_LIMIT} levels.`);
  switch (typeof value) {
    case 'boolean':
      return;
    case 'number':
      if (!Number.isFinite(value)) refuse(`${where} holds a number that is not finite.`);
      return;
    case 'string':
      if (!value.isWellFormed()) refuse(`${where} holds a string that is not well-formed Unicode.`);
      return;
    case 'object':
      break;
    default:
      refuse(`${where} holds a ${typeof value}.`);
  }
  if (value === null) return;
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) refuse(`${where} holds an invalid Date.`);
    return;
  }
  if (Array.isArray(value)) {
    for (const element of value) checkValue(element, where, depth + 1);
    return;
  }
  if (!isPlainObject(value)) refuse(`${where} holds an object that is neither plain nor a Date.`);
  for (const [field, inner] of Object.entries(value as object)) {
    checkFieldName(field);
    checkValue(inner, where, depth + 1);
  }
}

const isScalar = (value: unknown): boolean =>
  value === null ||
  typeof value === 'string' ||
  typeof value === 'number' ||
  typeof value === 'boolean' ||
  value instanceof Date;

function isPlainObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
