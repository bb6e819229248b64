/**
 * What the port takes, checked once for every adapter, so that nothing behaves differently on another store:
 * neither an operator that one of them lacks, nor a name or value that one of them would bend.
 */
import type { Document, Filter, Index, Projection, Scalar, Sort, Update } from './port.ts';
import { BATCH_LIMIT, StoreError } from './port.ts';

/** Nesting deeper than this is refused: MongoDB's own limit is 100 levels. */
const DEPTH_LIMIT = 90;
const ID_LENGTH = 512;

function refuse(message: string): never {
  throw new StoreError('InvalidArgument', message);
}

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
  if (!Number.isInteger(limit) || limit < 1 || limit > BATCH_LIMIT) refuse(`A limit is 1 to ${BATCH_LIMIT}.`);
}

/** An id is a string of 1 to 512 characters; every field name and value is one that all stores keep. */
export function checkDocument(document: Document): void {
  const id: unknown = document._id;
  if (typeof id !== 'string' || id === '' || id.length > ID_LENGTH) refuse('_id is a string of 1 to 512 characters.');
  checkValue(document, 'The document', 0);
}

export function checkFilter(filter: Filter): void {
  for (const [path, expected] of Object.entries(filter)) {
    if (path === '$and') {
      if (!Array.isArray(expected) || expected.length === 0) refuse('$and takes a list of filters.');
      for (const part of expected as readonly Filter[]) checkFilter(part);
    } else {
      checkPath(path);
      if (isScalar(expected)) checkValue(expected, path, 0);
      else checkCondition(path, expected);
    }
  }
}

function checkCondition(path: string, expected: unknown): void {
  if (!isPlainObject(expected)) refuse(`${path} is compared with a scalar or with operators.`);
  const operators = Object.entries(expected);
  if (operators.length === 0) refuse(`${path} is compared with nothing.`);
  for (const [operator, operand] of operators) {
    const fits = OPERANDS.get(operator);
    if (fits === undefined) refuse(`The operator ${operator} on ${path} is not supported.`);
    if (!fits(operand)) refuse(`${operator} on ${path} does not take this operand.`);
    checkValue(operand, path, 0);
  }
}

export const isScalar = (value: unknown): value is Scalar =>
  value === null || ['string', 'number', 'boolean'].includes(typeof value) || value instanceof Date;

const isOrdered = (operand: unknown): boolean =>
  typeof operand === 'number' || typeof operand === 'string' || operand instanceof Date;

const OPERANDS: ReadonlyMap<string, (operand: unknown) => boolean> = new Map([
  ['$eq', isScalar],
  ['$ne', isScalar],
  ['$gt', isOrdered],
  ['$gte', isOrdered],
  ['$lt', isOrdered],
  ['$lte', isOrdered],
  ['$in', (operand) => Array.isArray(operand) && operand.every(isScalar) && operand.length <= BATCH_LIMIT],
]);

const UPDATE_OPERATORS: readonly string[] = ['$set', '$unset', '$inc', '$setOnInsert'];

export function checkUpdate(update: Update, filter: Filter, upsert: boolean): void {
  const paths: string[] = [];
  for (const [operator, fields] of Object.entries(update)) {
    if (!UPDATE_OPERATORS.includes(operator)) refuse(`The update operator ${operator} is not supported.`);
    for (const [path, operand] of Object.entries(fields)) {
      checkPath(path);
      if (path === '_id' || path.startsWith('_id.')) refuse('_id does not change.');
      if (/\.\d+(\.|$)/.test(path)) refuse(`${path}: array elements are not addressed by position.`);
      if (operator === '$inc' && !Number.isSafeInteger(operand)) refuse(`$inc on ${path} takes a safe integer.`);
      checkValue(operand, path, path.split('.').length);
      const other = paths.find((one) => `${one}.`.startsWith(`${path}.`) || path.startsWith(`${one}.`));
      if (other !== undefined) refuse(`${path} and ${other} overlap.`);
      paths.push(path);
    }
  }
  if (paths.length === 0) refuse('An update changes at least one field.');
  if (upsert && typeof filter['_id'] !== 'string') refuse('An upsert names its _id in the filter.');
}

export const checkSort = (sort: Sort = {}): void => checkFields(sort, [1, -1]);

export const checkProjection = (projection: Projection = {}): void => checkFields(projection, [1]);

function checkFields(fields: Sort | Projection, allowed: readonly number[]): void {
  for (const [field, value] of Object.entries(fields)) {
    checkFieldName(field);
    if (!allowed.includes(value)) refuse(`The value for ${field} is ${allowed.join(' or ')}.`);
  }
}

export function checkIndexes(indexes: readonly Index[]): void {
  for (const { name, key, expireAfterSeconds } of indexes) {
    if (!/^[a-z0-9_]{1,60}$/.test(name) || name === '_id_') refuse('An index name is 1 to 60 of a-z, 0-9 and "_".');
    const fields = Object.keys(key);
    // The SQLite adapter writes the field into an expression index, so it takes plain names only.
    if (fields.length === 0 || !fields.every((field) => /^[A-Za-z0-9_]+$/.test(field))) {
      refuse(`Index ${name} takes fields of letters, digits and "_".`);
    }
    checkSort(key);
    if (expireAfterSeconds !== undefined && fields.length !== 1) refuse(`Expiring index ${name} takes one field.`);
  }
}

function checkPath(path: string): void {
  for (const field of path.split('.')) checkFieldName(field);
}

function checkFieldName(field: string): void {
  if (field === '' || field === '__proto__' || field.startsWith('$') || /[.\0]/.test(field) || !field.isWellFormed()) {
    refuse('A field name is well-formed and not empty, without ".", NUL or a leading "$", and not "__proto__".');
  }
}

function checkValue(value: unknown, where: string, depth: number): void {
  if (depth > DEPTH_LIMIT) refuse(`${where} is nested deeper than ${DEPTH_LIMIT} levels.`);
  if (typeof value === 'number' && !Number.isFinite(value)) refuse(`${where} holds a number that is not finite.`);
  if (typeof value === 'string' && !value.isWellFormed())
    refuse(`${where} holds text that is not well-formed Unicode.`);
  if (value instanceof Date && Number.isNaN(value.getTime())) refuse(`${where} holds an invalid Date.`);
  if (isScalar(value)) return;
  if (Array.isArray(value)) {
    for (const element of value) checkValue(element, where, depth + 1);
    return;
  }
  if (!isPlainObject(value)) refuse(`${where} holds what is not JSON and not a Date.`);
  for (const [field, inner] of Object.entries(value)) {
    checkFieldName(field);
    checkValue(inner, where, depth + 1);
  }
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
