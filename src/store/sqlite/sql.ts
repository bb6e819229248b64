import { RANK, rankOf } from '../order.ts';
import type { Condition, Filter, Index, Scalar, Sort } from '../port.ts';
import { DATE_FIELD } from './codec.ts';
import type { Bound } from './driver.ts';

/** A part of a WHERE clause: a superset of what matches, and, where `exact`, nothing more. */
export type Predicate = { readonly sql: string; readonly params: readonly Bound[]; readonly exact: boolean };

const EVERYTHING: Predicate = { sql: '1', params: [], exact: true };
const UNDECIDED: Predicate = { sql: '1', params: [], exact: false };

export const quoted = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;

/** BSON's rank of an indexed field's type. Index definitions and queries share the text, or SQLite finds no index. */
export const rankSql = (field: string): string =>
  `CASE json_type(document,'$."${field}"') WHEN 'integer' THEN ${RANK.number} WHEN 'real' THEN ${RANK.number}` +
  ` WHEN 'text' THEN ${RANK.string} WHEN 'true' THEN ${RANK.boolean} WHEN 'false' THEN ${RANK.boolean}` +
  ` WHEN 'object' THEN ${RANK.date} WHEN 'array' THEN ${RANK.array} ELSE ${RANK.null} END`;

/** What an indexed field is compared by within its rank. Null and missing are one value, as in MongoDB's indexes. */
export const valueSql = (field: string): string =>
  `coalesce(json_extract(document,'$."${field}"."${DATE_FIELD}"'),json_extract(document,'$."${field}"'),'')`;

/** The columns of an index definition. */
export const indexColumns = ({ key }: Index): string =>
  Object.entries(key)
    .flatMap(([field, direction]) => {
      const way = direction === 1 ? '' : ' DESC';
      return [`${rankSql(field)}${way}`, `${valueSql(field)}${way}`];
    })
    .join(',');

/** Whether a document holds, in one of these fields, what an index does not take: a list, or an object but a Date. */
export const nonScalarSql = (fields: readonly string[]): string =>
  `(${['0', ...fields.map((field) => `coalesce(json_type(document,'$."${field}"'),'') IN ('array','object') AND json_type(document,'$."${field}"."${DATE_FIELD}"') IS NULL`)].join(' OR ')})`;

/** A table's indexes, and their fields. */
type Indexed = { readonly indexes: readonly Index[]; readonly fields: ReadonlySet<string> };

/** What of a filter SQL can decide: comparisons of `_id` and of indexed fields. */
export const predicateOf = (filter: Filter, { indexes, fields }: Indexed): Predicate =>
  partOf(filter, fields, fieldsToSearch(filter, indexes));

/**
 * The fields of the index that fits best, or `_id`; undefined: none fits. Equal values come before a range, and more
 * of them before fewer. SQLite, which knows nothing of the values, would take any range for as good as equality.
 */
function fieldsToSearch(filter: Filter, indexes: readonly Index[]): ReadonlySet<string> | undefined {
  const weights = new Map(Object.entries(filter).map(([path, expected]) => [path, weightOf(path, expected)]));
  const ofId = weights.get('_id') ?? 0;
  if (ofId === EQUAL) return new Set(['_id']);
  let best = { weight: ofId, fields: ['_id'] };
  for (const { key } of indexes) {
    const served: string[] = [];
    let weight = 0;
    for (const field of Object.keys(key)) {
      const more = weights.get(field) ?? 0;
      if (more > 0) served.push(field);
      weight += more;
      if (more !== EQUAL) break;
    }
    if (weight > best.weight) best = { weight, fields: served };
  }
  return best.weight === 0 ? undefined : new Set(best.fields);
}

const RANGE = 1;
const EQUAL = 2;

/** What a condition is worth in the search for an index. */
function weightOf(path: string, expected: Filter[string]): number {
  if (path === '$and' || path === '$or') return 0;
  if (!isCondition(expected)) return EQUAL;
  if ('$eq' in expected || '$in' in expected) return EQUAL;
  return Object.keys(expected).some((operator) => operator in RANGES) ? RANGE : 0;
}

function partOf(filter: Filter, indexed: ReadonlySet<string>, searched: ReadonlySet<string> | undefined): Predicate {
  const partsOf = (filters: readonly Filter[]) => filters.map((part) => partOf(part, indexed, searched));
  return all(
    Object.entries(filter).map(([path, expected]) => {
      if (path === '$and') return all(partsOf(expected as readonly Filter[]));
      if (path === '$or') return any(partsOf(expected as readonly Filter[]));
      if (path !== '_id' && !indexed.has(path)) return UNDECIDED;
      const condition = isCondition(expected) ? expected : { $eq: expected as Scalar };
      // A plus keeps SQLite from searching by this term (sqlite.org/optoverview.html, 8.1.2).
      const prefix = searched === undefined || searched.has(path) ? '' : '+';
      const column = { path, prefix };
      return all(Object.entries(condition).map(([operator, operand]) => comparison(column, operator, operand)));
    }),
  );
}

type Column = { readonly path: string; readonly prefix: string };

/** ORDER BY for a sort, or undefined when SQL's order would not be BSON's. */
export function orderOf(sort: Sort | undefined, indexed: ReadonlySet<string>): string | undefined {
  const fields = Object.entries(sort ?? {});
  if (!fields.every(([field]) => field === '_id' || indexed.has(field))) return undefined;
  const terms = fields.flatMap(([field, direction]) => {
    const way = direction === 1 ? 'ASC' : 'DESC';
    return field === '_id' ? [`_id ${way}`] : [`${rankSql(field)} ${way}`, `${valueSql(field)} ${way}`];
  });
  return terms.length === 0 ? '' : ` ORDER BY ${terms.join(',')}`;
}

const RANGES: Readonly<Record<string, string>> = { $gt: '>', $gte: '>=', $lt: '<', $lte: '<=' };

function comparison(column: Column, operator: string, operand: unknown): Predicate {
  if (operator === '$eq') return compare(column, '=', operand as Scalar);
  if (operator === '$in') return membership(column, operand as readonly Scalar[]);
  const range = RANGES[operator];
  return range === undefined ? UNDECIDED : compare(column, range, operand as Scalar);
}

function compare({ path, prefix }: Column, operator: string, operand: Scalar): Predicate {
  const bound = bind(operand);
  if (bound === undefined) return UNDECIDED;
  if (path === '_id') {
    return typeof operand === 'string'
      ? { sql: `${prefix}_id ${operator} ?`, params: [bound], exact: true }
      : UNDECIDED;
  }
  return {
    sql: `${prefix}${rankSql(path)}=${rankOf(operand)} AND ${prefix}${valueSql(path)} ${operator} ?`,
    params: [bound],
    exact: true,
  };
}

/** One parameter however long the list: a Durable Object's SQLite takes a hundred. */
function membership({ path, prefix }: Column, operands: readonly Scalar[]): Predicate {
  const bounds = operands.map(bind);
  if (bounds.includes(undefined)) return UNDECIDED;
  const listed = 'IN (SELECT value FROM json_each(?))';
  if (path === '_id') {
    if (!operands.every((operand) => typeof operand === 'string')) return UNDECIDED;
    return { sql: `${prefix}_id ${listed}`, params: [JSON.stringify(bounds)], exact: true };
  }
  const byRank = Map.groupBy(operands, rankOf);
  const parts = [...byRank].map(([rank, group]) => ({
    sql: `${prefix}${rankSql(path)}=${rank} AND ${prefix}${valueSql(path)} ${listed}`,
    params: [JSON.stringify(group.map(bind))],
    exact: true,
  }));
  return parts.length === 0 ? { sql: '0', params: [], exact: true } : any(parts);
}

/** The operand as SQLite holds it, or undefined where its text or number may not compare as ours do. */
function bind(operand: Scalar): Bound | undefined {
  if (operand === null) return '';
  if (typeof operand === 'boolean') return operand ? 1 : 0;
  if (operand instanceof Date) return operand.getTime();
  if (typeof operand === 'number') return Number.isSafeInteger(operand) ? operand : undefined;
  return operand.includes('\0') ? undefined : operand;
}

function all(parts: readonly Predicate[]): Predicate {
  if (parts.length === 0) return EVERYTHING;
  return combine(
    parts.filter((part) => part !== UNDECIDED),
    ' AND ',
    parts.every((part) => part.exact),
  );
}

function any(parts: readonly Predicate[]): Predicate {
  if (parts.some((part) => part.sql === '1')) return { ...EVERYTHING, exact: parts.every((part) => part.exact) };
  return combine(
    parts,
    ' OR ',
    parts.every((part) => part.exact),
  );
}

function combine(parts: readonly Predicate[], operator: string, exact: boolean): Predicate {
  if (parts.length === 0) return UNDECIDED;
  const [first, ...others] = parts;
  if (first !== undefined && others.length === 0) return { ...first, exact };
  return {
    sql: parts.map((part) => `(${part.sql})`).join(operator),
    params: parts.flatMap((part) => part.params),
    exact,
  };
}

const isCondition = (expected: unknown): expected is Condition =>
  typeof expected === 'object' && expected !== null && !(expected instanceof Date);
