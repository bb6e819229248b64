import { RANK, rankOf } from '../order.ts';
import type { Filter, Index, Scalar, Sort } from '../port.ts';
import { DATE_FIELD } from './codec.ts';
import type { Bound } from './driver.ts';
import type { Comparison } from './matcher.ts';
import { comparisonsOf } from './matcher.ts';

/** A collection that is there, and how a statement reaches its documents. */
export type Table = {
  readonly id: number;
  readonly name: string;
  /** What a WHERE clause begins with, and its parameters: a shared table has other collections' rows too. */
  readonly scope: string;
  readonly scopeParams: readonly Bound[];
  readonly indexes: readonly Index[];
  /** The fields of its indexes: each holds a scalar in every document. */
  readonly fields: ReadonlySet<string>;
};

/** A WHERE clause that finds all that matches, and, where `exact`, nothing more. */
type Predicate = { readonly where: string; readonly params: readonly Bound[]; readonly exact: boolean };

/** BSON's rank of an indexed field's type. Index definitions and queries share the text, or SQLite finds no index. */
const rankSql = (field: string): string =>
  `CASE json_type(document,'$."${field}"') WHEN 'integer' THEN ${RANK.number} WHEN 'real' THEN ${RANK.number}` +
  ` WHEN 'text' THEN ${RANK.string} WHEN 'true' THEN ${RANK.boolean} WHEN 'false' THEN ${RANK.boolean}` +
  ` WHEN 'object' THEN ${RANK.date} WHEN 'array' THEN ${RANK.array} ELSE ${RANK.null} END`;

/** What an indexed field is compared by within its rank. Null and missing are one value, as in MongoDB's indexes. */
const valueSql = (field: string): string =>
  `coalesce(json_extract(document,'$."${field}"."${DATE_FIELD}"'),json_extract(document,'$."${field}"'),'')`;

const columnsOf = (field: string): string[] => (field === '_id' ? ['_id'] : [rankSql(field), valueSql(field)]);

const orderTerms = (sort: Sort): string =>
  Object.entries(sort)
    .flatMap(([field, direction]) => columnsOf(field).map((column) => `${column}${direction === 1 ? '' : ' DESC'}`))
    .join(',');

export const indexColumns = ({ key }: Index): string => orderTerms(key);

/** ORDER BY for a sort, or undefined when SQL's order would not be BSON's. */
export function orderOf(sort: Sort | undefined, indexed: ReadonlySet<string>): string | undefined {
  const fields = Object.keys(sort ?? {});
  if (sort === undefined || fields.length === 0) return '';
  return fields.every((field) => field === '_id' || indexed.has(field)) ? ` ORDER BY ${orderTerms(sort)}` : undefined;
}

/** Whether a document holds, in one of these fields, what an index does not take: a list, or an object but a Date. */
export const nonScalarSql = (fields: readonly string[]): string =>
  `(${['0', ...fields.map((field) => `coalesce(json_type(document,'$."${field}"'),'') IN ('array','object') AND json_type(document,'$."${field}"."${DATE_FIELD}"') IS NULL`)].join(' OR ')})`;

/** What of a filter SQL can decide: comparisons of `_id` and of indexed fields. */
export function predicateOf(filter: Filter, { scope, scopeParams, indexes, fields }: Table): Predicate {
  const comparisons = comparisonsOf(filter);
  const terms = comparisons
    .filter(({ path }) => path === '_id' || fields.has(path))
    .map(termOf)
    .filter((term) => term !== undefined);
  const searched = fieldsToSearch(terms, indexes);
  // A plus keeps SQLite from searching by a term (sqlite.org/optoverview.html, 8.1.2).
  const sql = terms.flatMap(({ path, tests }) => tests.map((test) => (searched.includes(path) ? test : `+${test}`)));
  return {
    where: [`${scope}1`, ...sql].join(' AND '),
    params: [...scopeParams, ...terms.flatMap(({ params }) => params)],
    exact: terms.length === comparisons.length,
  };
}

/** A comparison in SQL, and what it is worth in the search for an index. */
type Term = {
  readonly path: string;
  readonly weight: typeof RANGE | typeof EQUAL;
  readonly tests: readonly string[];
  readonly params: readonly Bound[];
};

const RANGE = 1;
const EQUAL = 2;

/** One parameter for a list, however long it is: a Durable Object's SQLite takes a hundred. */
const TESTS: Readonly<Record<string, string>> = {
  $eq: '= ?',
  $in: 'IN (SELECT value FROM json_each(?))',
  $gt: '> ?',
  $gte: '>= ?',
  $lt: '< ?',
  $lte: '<= ?',
};

/** Undefined: left to the matcher. */
function termOf({ path, operator, operand }: Comparison): Term | undefined {
  const test = TESTS[operator];
  const operands = operator === '$in' ? (operand as readonly Scalar[]) : [operand as Scalar];
  const bounds = operands.map(bound).filter((value) => value !== undefined);
  const [rank = RANK.string, ...otherRanks] = new Set(operands.map(rankOf));
  if (test === undefined || bounds.length < operands.length || otherRanks.length > 0) return undefined;
  if (path === '_id' && rank !== RANK.string) return undefined;
  return {
    path,
    weight: operator === '$eq' || operator === '$in' ? EQUAL : RANGE,
    tests: path === '_id' ? [`_id ${test}`] : [`${rankSql(path)}=${rank}`, `${valueSql(path)} ${test}`],
    params: operator === '$in' ? [JSON.stringify(bounds)] : bounds,
  };
}

/** The operand as SQLite holds it, or undefined where its number may not compare as ours do. */
function bound(operand: Scalar): Bound | undefined {
  if (operand === null) return '';
  if (typeof operand === 'boolean') return operand ? 1 : 0;
  if (operand instanceof Date) return operand.getTime();
  if (typeof operand === 'number') return Number.isSafeInteger(operand) ? operand : undefined;
  return operand;
}

/**
 * The fields of the index that fits best, or `_id`. Equal values come before a range, and more of them before fewer.
 * SQLite, which knows nothing of the values, would take any range for as good as equality.
 */
function fieldsToSearch(terms: readonly Term[], indexes: readonly Index[]): readonly string[] {
  const weights = new Map(terms.map(({ path, weight }) => [path, weight]));
  if (weights.get('_id') === EQUAL) return ['_id'];
  let best: { weight: number; fields: readonly string[] } = { weight: weights.get('_id') ?? 0, fields: ['_id'] };
  for (const { key } of indexes) {
    const fields = Object.keys(key);
    // Fields behind one that is not compared by equality do not narrow the search.
    const last = fields.findIndex((field) => weights.get(field) !== EQUAL);
    const served = last < 0 ? fields : fields.slice(0, last + 1);
    const weight = served.reduce((sum, field) => sum + (weights.get(field) ?? 0), 0);
    if (weight > best.weight) best = { weight, fields: served };
  }
  return best.fields;
}
