import { compareValues, rankOf } from '../order.ts';
import type { Condition, Document, Filter, Scalar, Value } from '../port.ts';

/**
 * Whether a document matches a filter, as MongoDB decides it: an array matches when it or one of its elements does,
 * null finds the missing, ranges hold within a type.
 */
export function matches(document: Document, filter: Filter): boolean {
  return Object.entries(filter).every(([path, expected]) => {
    if (path === '$and') return (expected as readonly Filter[]).every((part) => matches(document, part));
    if (path === '$or') return (expected as readonly Filter[]).some((part) => matches(document, part));
    const found = valuesAt(document, path.split('.'));
    return isScalar(expected) ? equalsAny(found, expected) : satisfies(found, expected as Condition);
  });
}

function satisfies(found: readonly (Value | undefined)[], condition: Condition): boolean {
  return Object.entries(condition).every(([operator, operand]) => {
    switch (operator) {
      case '$eq':
        return equalsAny(found, operand as Scalar);
      case '$ne':
        return !equalsAny(found, operand as Scalar);
      case '$in':
        return (operand as readonly Scalar[]).some((one) => equalsAny(found, one));
      case '$exists':
        return found.some((value) => value !== undefined) === operand;
      case '$gt':
        return comparesAny(found, operand as Scalar, (order) => order > 0);
      case '$gte':
        return comparesAny(found, operand as Scalar, (order) => order >= 0);
      case '$lt':
        return comparesAny(found, operand as Scalar, (order) => order < 0);
      case '$lte':
        return comparesAny(found, operand as Scalar, (order) => order <= 0);
      default:
        return false;
    }
  });
}

const equalsAny = (found: readonly (Value | undefined)[], expected: Scalar): boolean =>
  comparesAny(found, expected, (order) => order === 0);

const comparesAny = (
  found: readonly (Value | undefined)[],
  expected: Scalar,
  holds: (order: number) => boolean,
): boolean => found.some((value) => rankOf(value) === rankOf(expected) && holds(compareValues(value, expected)));

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

const isObject = (value: Value): value is { readonly [field: string]: Value } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

const isScalar = (value: unknown): value is Scalar =>
  value === null || typeof value !== 'object' || value instanceof Date;
