import { compareValues, rankOf } from '../order.ts';
import type { Document, Filter, Scalar, Value } from '../port.ts';
import { isScalar } from '../subset.ts';

/** One operator of a filter; `$eq` for a plain value. */
export type Comparison = { readonly path: string; readonly operator: string; readonly operand: unknown };

/** All that must hold for a document to match. */
export const comparisonsOf = (filter: Filter): Comparison[] =>
  Object.entries(filter).flatMap(([path, expected]) => {
    if (path === '$and') return (expected as readonly Filter[]).flatMap(comparisonsOf);
    const operators = isScalar(expected) ? { $eq: expected } : expected;
    return Object.entries(operators).map(([operator, operand]) => ({ path, operator, operand }));
  });

/**
 * Whether a document matches a filter, as MongoDB decides it: an array matches when it or one of its elements does,
 * null finds the missing, ranges hold within a type.
 */
export const matches = (document: Document, filter: Filter): boolean =>
  comparisonsOf(filter).every(({ path, operator, operand }) => {
    const found = valuesAt(document, path.split('.'));
    if (operator === '$in') return (operand as readonly Scalar[]).some((one) => anyOf(found, one, HOLDS.$eq));
    if (operator === '$ne') return !anyOf(found, operand as Scalar, HOLDS.$eq);
    return anyOf(found, operand as Scalar, HOLDS[operator as keyof typeof HOLDS]);
  });

const HOLDS = {
  $eq: (order: number) => order === 0,
  $gt: (order: number) => order > 0,
  $gte: (order: number) => order >= 0,
  $lt: (order: number) => order < 0,
  $lte: (order: number) => order <= 0,
} as const;

const anyOf = (found: readonly (Value | undefined)[], operand: Scalar, holds: (order: number) => boolean): boolean =>
  found.some((value) => rankOf(value) === rankOf(operand) && holds(compareValues(value, operand)));

/** Every value that a path leads to: through each element of the arrays on the way; undefined where it ends early. */
function valuesAt(value: Value, path: readonly string[]): (Value | undefined)[] {
  const [field, ...rest] = path;
  if (field === undefined) return Array.isArray(value) ? [value, ...value] : [value];
  if (Array.isArray(value)) {
    const inElements = value.filter(isObject).flatMap((element) => valuesAt(element, path));
    const element = /^\d+$/.test(field) ? (value as readonly Value[])[Number(field)] : undefined;
    return element === undefined ? inElements : [...inElements, ...valuesAt(element, rest)];
  }
  if (!isObject(value) || !Object.hasOwn(value, field)) return [undefined];
  return valuesAt(value[field] ?? null, rest);
}

export const isObject = (value: Value | undefined): value is { readonly [field: string]: Value } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
