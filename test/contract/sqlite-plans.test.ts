import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MASTER_COLLECTIONS } from '../../src/domain/master.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor, Filter, Index, Sort, Value } from '../../src/store/port.ts';
import type { SqliteDriver } from '../../src/store/sqlite/driver.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';

const DATABASE = 'plans';
const ID = 'an id';
const NOW = new Date(1);

/** The filters of the domain, each with the index that SQLite must pick for it; `_id` is the primary key. */
const QUERIES: readonly (readonly [collection: string, index: string, filter: Filter, sort?: Sort])[] = [
  ['organizations', '_id', { _id: ID, version: 1 }],
  ['organizations', '_id', { _id: ID, status: 'active' }],
  ['organizations', '_id', { _id: ID, 'operation.id': ID, 'operation.step': 'moving' }],
  ['organizations', '_id', { _id: { $in: [ID, 'b'] }, status: 'active', key: 'k' }],
  ['organizations', 'key_status', { key: 'k', status: 'active' }],
  ['organizations', 'key_status', { key: 'k', status: { $in: ['active', 'deleted'] } }],
  ['organizations', 'key_status', { key: 'k', status: 'deleted', purge_at: { $gt: NOW } }],
  ['organizations', 'due_at', { due_at: { $lt: NOW } }, { due_at: 1 }],
  ['admins', '_id', { organization_id: ID, _id: ID }],
  ['admins', 'organization_id_email_key', { organization_id: ID, email_key: 'e' }],
  ['admins', 'organization_id_email_key', { organization_id: ID, email_key: 'e', role: 'owner' }],
  ['admins', 'organization_id_role', { organization_id: ID, role: 'owner' }],
  ['admins', 'organization_id_*', { organization_id: ID }],
  ['admins', 'organization_id_*', { organization_id: ID, _id: { $gt: ID } }, { _id: 1 }],
  ['admins', 'organization_id_*', { organization_id: ID, audit_due_at: { $gt: NOW } }],
  ['admins', 'email_key_email_verified', { email_key: 'e' }, { email_verified: -1, _id: 1 }],
  ['admins', 'audit_due_at', { audit_due_at: { $lt: NOW } }, { audit_due_at: 1 }],
  ['claims', '_id', { _id: ID, organization_id: ID, state: 'held' }],
  ['claims', '_id', { _id: ID, operation_id: ID, due_at: null }],
  ['claims', 'kind_due_at', { kind: 'collection', due_at: { $lt: NOW } }, { due_at: 1 }],
  ['claims', 'kind_due_at', { kind: 'name', due_at: { $lt: NOW } }, { due_at: 1 }],
  ['claims', '_id', { kind: 'name', due_at: { $lt: NOW }, _id: { $in: [ID, 'b'] } }],
  ['claims', 'organization_id_kind', { organization_id: ID, kind: 'name' }],
  [
    'claims',
    'organization_id_kind',
    { organization_id: ID, kind: 'collection', state: { $in: ['held', 'former'] }, _id: { $gt: '' } },
    { _id: 1 },
  ],
  ['sessions', '_id', { _id: ID, admin_id: ID, organization_id: ID }],
  ['sessions', '_id', { _id: ID, family_hash: 'h', secret_hash: { $in: ['a', 'b'] } }],
  ['sessions', '_id', { admin_id: ID, last_used_at: { $lte: NOW }, _id: { $in: [ID, 'b'] } }],
  ['sessions', 'admin_id_last_used_at', { admin_id: ID }],
  ['sessions', 'admin_id_last_used_at', { admin_id: ID, _id: { $gt: ID } }, { _id: 1 }],
  ['sessions', 'admin_id_last_used_at', { admin_id: ID, _id: { $ne: ID } }, { last_used_at: -1, _id: -1 }],
  ['sessions', 'admin_id_last_used_at', { admin_id: ID, epoch: { $lte: 1 } }],
  ['sessions', 'organization_id', { organization_id: ID }],
  ['sessions', 'expires_at', { expires_at: { $lt: NOW } }],
  ['idempotency_keys', '_id', { _id: ID, organization_id: ID, answer: null }],
  ['idempotency_keys', 'organization_id', { organization_id: ID }],
  ['idempotency_keys', 'expires_at', { expires_at: { $lt: NOW } }],
  ['budgets', '_id', { _id: ID, ends_at: { $gt: NOW }, used: { $lt: 5 } }],
  ['budgets', 'expires_at', { expires_at: { $lt: NOW } }, { expires_at: 1 }],
  ['budgets', '_id', { expires_at: { $lt: NOW }, _id: { $in: [ID, 'b'] } }],
  ['audit', '_id', { _id: { $gte: 'a', $lt: 'b' } }, { _id: -1 }],
  ['audit', '_id', { _id: { $gte: 'a', $lt: 'b' } }, { _id: 1 }],
  ['audit', 'event_id', { event_id: ID }],
  ['audit', 'event_id', { event_id: { $in: [ID, 'b'] } }],
  ['audit_checkpoints', 'due_at', { due_at: { $lt: NOW } }, { due_at: 1 }],
  ['audit_checkpoints', 'oldest_at', { oldest_at: { $lt: NOW } }, { oldest_at: 1 }],
  ['sign_in_failures', '_id', { _id: ID, event_id: ID }],
  ['sign_in_failures', 'organization_id', { organization_id: ID }],
  ['sign_in_failures', 'first_at', { first_at: { $lt: NOW } }, { first_at: 1 }],
  ['sign_in_failures', 'organization_id', { organization_id: '', first_at: { $lt: NOW } }, { first_at: 1 }],
  ['sign_in_failures', '_id', { organization_id: '', first_at: { $lt: NOW }, _id: { $in: [ID, 'b'] } }],
  ['mails', '_id', { _id: ID, kind: 'verification' }],
  ['mails', '_id', { _id: ID, kind: { $in: ['email_changed', 'second_factor_enabled'] } }],
  ['mails', 'organization_id_kind', { organization_id: ID }],
  ['mails', 'organization_id_kind', { organization_id: ID, kind: 'invitation', to_key: 'e' }],
  ['mails', 'organization_id_kind', { organization_id: ID, kind: 'invitation', expires_at: { $gt: NOW } }],
  [
    'mails',
    'organization_id_kind',
    { organization_id: ID, kind: 'invitation', expires_at: { $gt: NOW }, _id: { $gt: ID } },
    { _id: 1 },
  ],
  ['mails', 'admin_id_kind', { admin_id: ID }],
  ['mails', 'admin_id_kind', { kind: 'verification', admin_id: ID }],
  ['mails', 'admin_id_kind', { kind: 'verification', admin_id: ID, to_key: 'e' }],
  ['mails', 'admin_id_kind', { kind: 'verification', admin_id: ID, is_new_email: true }],
  ['mails', 'admin_id_kind', { kind: 'email_changed', admin_id: ID, 'undo.version': { $gte: 1, $lte: 2 } }],
  ['mails', 'due_at', { due_at: { $lt: NOW } }, { due_at: 1 }],
  ['mails', 'expires_at', { expires_at: { $lt: NOW } }],
];

describe('the query plans of the SQLite store', () => {
  let driver: SqliteDriver;
  let executor: Executor;
  let last: Parameters<SqliteDriver['rows']> = ['', []];

  beforeAll(async () => {
    driver = openSqliteFile(':memory:');
    const recording: SqliteDriver = {
      documentBytes: driver.documentBytes,
      rows: (...statement) => {
        last = statement;
        return driver.rows(...statement);
      },
      run: (...statement) => driver.run(...statement),
      transaction: (work) => driver.transaction(work),
      snapshot: (work) => driver.snapshot(work),
      close: () => driver.close(),
    };
    executor = createSqliteExecutor(recording);
    for (const [collection, indexes] of Object.entries(MASTER_COLLECTIONS)) {
      await executor.execute({ op: 'createCollection', database: DATABASE, collection, indexes });
    }
  });
  afterAll(() => driver.close());

  const planOf = async (collection: string, filter: Filter, sort?: Sort): Promise<string[]> => {
    await executor.execute({ op: 'find', database: DATABASE, collection, filter, limit: 10, sort });
    const [sql, params] = last;
    return driver.rows(`EXPLAIN QUERY PLAN ${sql}`, params).map((row) => row['detail'] as string);
  };

  /** The indexes by which the documents are looked up. What is read from end to end appears as `SCAN`. */
  const indexesOf = async (collection: string, filter: Filter, sort?: Sort): Promise<string[]> =>
    (await planOf(collection, filter, sort))
      .filter((step) => /^(SCAN|SEARCH)\b/.test(step) && !step.includes('json_each'))
      .map((step) => (step.startsWith('SCAN') ? step : (/INDEX (\w+?)(#|_autoindex|_1 )/.exec(step)?.[1] ?? step)))
      .map((index) => (/^(sqlite|collection_\d+)/.test(index) ? '_id' : index));

  test('a page of an email’s accounts, the verified ones first, is read in the index’s order: none is sorted', async () => {
    const plan = await planOf('admins', { email_key: 'e' }, { email_verified: -1, _id: 1 });
    expect(plan.filter((step) => step.includes('TEMP B-TREE'))).toEqual([]);
  });

  for (const [collection, index, filter, sort] of QUERIES) {
    const shape = `${JSON.stringify(filter)}${sort === undefined ? '' : ` by ${JSON.stringify(sort)}`}`;
    test(`${collection} ${shape} uses ${index}`, async () => {
      const [used, ...others] = await indexesOf(collection, filter, sort);
      expect(others).toEqual([]);
      expect(used).toMatch(new RegExp(`^${index.replace('*', '.*')}$`));
    });
  }

  const withNul = <T>(value: T): T => {
    if (typeof value === 'string') return `${value}\0` as T;
    if (typeof value !== 'object' || value === null || value instanceof Date) return value;
    if (Array.isArray(value)) return value.map(withNul) as T;
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, withNul(inner)])) as T;
  };
  test('are the same where a text of the filter holds a NUL', async () => {
    for (const [collection, , filter, sort] of QUERIES) {
      const plan = await indexesOf(collection, filter, sort);
      expect(await indexesOf(collection, withNul(filter), sort), JSON.stringify(filter)).toEqual(plan);
    }
  });

  const sampleOf = (field: string): Value => (field.endsWith('_at') ? NOW : 'a value');
  for (const [collection, indexes] of Object.entries(MASTER_COLLECTIONS)) {
    for (const { name, key } of indexes as readonly Index[]) {
      test(`${collection}: a filter of all fields of ${name} uses it`, async () => {
        const fields = Object.keys(key);
        // One document has an `_id`: no index serves that better than its own.
        const compared = fields.filter((field) => field !== '_id');
        const equal = Object.fromEntries(compared.map((field) => [field, sampleOf(field)])) as Filter;
        expect(await indexesOf(collection, equal)).toEqual([name]);
        const lastField = fields.at(-1) ?? '';
        const range = { ...equal, [lastField]: { $lt: sampleOf(lastField) } } as Filter;
        expect(await indexesOf(collection, range, { [lastField]: 1 })).toEqual([name]);
      });
    }
  }
});
