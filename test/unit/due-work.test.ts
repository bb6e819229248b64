import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/domain/audit/schema.ts';
import { entryId } from '../../src/domain/audit/schema.ts';
import { checkChain } from '../../src/domain/audit/verify.ts';
import type { Context } from '../../src/domain/context.ts';
import { SCHEMA } from '../../src/domain/deployment.ts';
import { MASTER_COLLECTIONS } from '../../src/domain/master.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { getErasure } from '../../src/domain/organization/erasure.ts';
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { insertMail } from '../../src/domain/outbox/outbox.ts';
import type { Mailer } from '../../src/domain/outbox/schema.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Services } from '../../src/services.ts';
import type { CommandOf, Executor, Op } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf, virtualTime } from '../support/instance.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let logged: string[];
let services: Services;
let context: Context;

/** One that can be told to fail a call, over the same store and time. */
const instance = (env: Record<string, string> = {}, over: Executor = executor): Services =>
  createInstance(over, env, { time, log: (_, event) => void logged.push(event) });

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  logged = [];
  services = instance();
  await services.prepare();
  context = services.context;
});

/** Rounds until nothing is due at this moment. */
async function settle(ms: number): Promise<void> {
  time.advance(ms);
  for (let round = 0; round < 6; round++) await services.reconcile();
}

const tenants = () => context.tenants(context.settings.placement);

const names = async (): Promise<string[]> => (await tenants().listCollections()).map(({ name }) => name);

async function rename(owner: Awaited<ReturnType<typeof ownerOf>>, new_organization_name: string) {
  await updateOrganization(context, { principal: owner, new_organization_name });
}

test('a collection that nobody claimed is left alone, whatever it is called', async () => {
  const foreign = ['late_fees', 'trash_talk', 'copy_of_everything', 'tenantry_late_1', 'org_nobody'];
  for (const name of foreign) await tenants().collection(name).insertOne({ _id: 'one' });
  await ownerOf(context, 'Nobody');
  await settle(MINUTE_MS);
  await settle(30 * DAY_MS);
  expect(await names()).toEqual(expect.arrayContaining(foreign));
  expect(await tenants().collection('org_nobody').count({})).toBe(1);
});

test('a tenants’ database belongs to one deployment', async () => {
  const own = { TENANTS_DB: 'tenants', MASTER_DB: 'one' };
  await instance(own).prepare();
  await instance(own).prepare();
  await expect(instance({ ...own, MASTER_DB: 'another' }).prepare()).rejects.toThrow(/TENANTS_DB/);
});

test('an instance with another secret does not start; one with the old secret listed beside its own does', async () => {
  const [other, old] = ['another secret of at least 32 bytes', 'for tests only: 32 bytes and more of it'];
  await expect(instance({ AUDIT_SECRET: other }).prepare()).rejects.toThrow(/AUDIT_SECRET/);
  await instance({ AUDIT_SECRET: `${other},${old}` }).prepare();
  // From now on the new one seals: an instance that knows the old one alone is late.
  await expect(instance().prepare()).rejects.toThrow(/AUDIT_SECRET/);
});

test('an instance does not start on a database that a newer version has used, and leaves it as it is', async () => {
  const collection = context.master.database.collection('tenantry');
  await collection.updateOne({ _id: 'deployment' }, { $set: { schema: SCHEMA + 1 } });
  await expect(instance().prepare()).rejects.toThrow(/newer version/);
  expect(await collection.findOne({ _id: 'deployment' })).toMatchObject({ schema: SCHEMA + 1 });
});

/** What each schema stands for: a new one is added, an old one never changes. */
const SCHEMAS: Readonly<Record<number, string>> = {
  2: '80973b4aac5c0b52c57ea305d404f704223aeca2ca6741b1d310ebac832a7281',
};

test('whoever changes a collection or an index of the master database raises SCHEMA', () => {
  const hash = createHash('sha256').update(JSON.stringify(MASTER_COLLECTIONS)).digest('hex');
  const isNewest = Math.max(...Object.keys(SCHEMAS).map(Number)) === SCHEMA;
  expect({ isNewest, hash }).toEqual({ isNewest: true, hash: SCHEMAS[SCHEMA] });
});

test('an instance finds the deployment by two reads', async () => {
  const calls: string[] = [];
  const counting: Executor = {
    ...executor,
    execute: <O extends Op>(command: CommandOf<O>) => {
      calls.push(command.op);
      return executor.execute<O>(command);
    },
  };
  await instance({}, counting).prepare();
  expect(calls).toEqual(['find', 'find']);
});

test('of an organization whose document is missing nothing is removed, and the log says so', async () => {
  const owner = await ownerOf(context, 'Restored');
  const [id, collection] = [owner.organization._id, owner.organization.placement.collection];
  await tenants().collection(collection).insertOne({ _id: 'kept' });
  await rename(owner, 'Restored again');
  const [document] = (await context.master.organizations.find({ _id: id })) as [OrganizationDocument];
  await context.master.organizations.deleteOne({ _id: id });
  await tenants().collection(collection).insertOne({ _id: 'late' });
  await settle(DAY_MS);
  await settle(30 * DAY_MS);
  expect(logged).toContain('late_writes.organization_missing');
  expect(await context.master.admins.count({ organization_id: id })).toBe(1);
  expect(await tenants().collection(document.placement.collection).count({})).toBe(1);
  // When it is back, what waited is done.
  await context.master.organizations.insertOne(document);
  await settle(30 * DAY_MS);
  expect(await tenants().collection(document.placement.collection).count({})).toBe(2);
});

test('a missing organization keeps its name', async () => {
  const owner = await ownerOf(context, 'Away');
  await context.master.organizations.deleteOne({ _id: owner.organization._id });
  await expect(ownerOf(context, 'Away')).rejects.toMatchObject({ code: 'organization_name_taken' });
});

test('a kind that takes long leaves the others their turn, and the next round comes at once', async () => {
  const { organization, admin } = await ownerOf(context, 'Slow');
  const sent: string[] = [];
  const send: Mailer['send'] = async ({ id }) => {
    await time.wait(6000);
    sent.push(id);
    return 'sent';
  };
  const slow = createInstance(executor, {}, { time, mailer: { send } });
  await context.master.mails.deleteMany({ organization_id: organization._id });
  const mail = { kind: 'password_changed', to: admin.email, to_key: admin.email_key } as const;
  for (let index = 0; index < 5; index++) {
    await insertMail(context, { ...mail, organization_id: organization._id, admin_id: admin._id });
  }
  time.advance(MINUTE_MS);
  expect(await slow.reconcile()).toBe(true);
  expect(sent).toHaveLength(2);
  expect(await slow.reconcile()).toBe(true);
  expect(await slow.reconcile()).toBe(false);
  expect(sent).toHaveLength(5);
});

describe('an item that fails', () => {
  test('is put off, and the others are done', async () => {
    const [bad, good] = [await ownerOf(context, 'Bad'), await ownerOf(context, 'Good')];
    const [old, other] = [bad.organization.placement.collection, good.organization.placement.collection];
    await rename(bad, 'Bad again');
    await rename(good, 'Good again');
    await tenants().collection(old).insertOne({ _id: 'late' });
    await tenants().collection(other).insertOne({ _id: 'late' });
    const refusing: Executor = {
      ...executor,
      execute: async <O extends Op>(command: CommandOf<O>) => {
        const refused =
          command.op === 'mergeCollection' && (command as CommandOf<'mergeCollection'>).to === 'org_bad_again';
        if (refused) throw new StoreError('InvalidArgument', 'A rule of the collection refuses it.');
        return executor.execute<O>(command);
      },
    };
    const failing = instance({}, refusing);
    time.advance(MINUTE_MS);
    await failing.reconcile();
    expect(logged).toContain('late_writes.failed');
    expect(await tenants().collection('org_good_again').count({})).toBe(1);
    await settle(DAY_MS);
    expect(await tenants().collection('org_bad_again').count({})).toBe(1);
  });
});

describe('a delete', () => {
  test('counts no document of the tenant', async () => {
    const owner = await ownerOf(context, 'Large');
    const { collection } = owner.organization.placement;
    await tenants().collection(collection).insertOne({ _id: 'one' });
    const uncountable: Executor = {
      ...executor,
      execute: async <O extends Op>(command: CommandOf<O>) => {
        const { op, collection: of } = command as CommandOf<'count'>;
        if (op === 'count' && of === collection) throw new StoreError('Unavailable', 'It takes too long.');
        return executor.execute<O>(command);
      },
    };
    const { organization } = owner;
    const input = { principal: owner, organization_name: organization.name };
    await deleteOrganization(instance({}, uncountable).context, input);
    const receipt = await getErasure(context, { organization_id: organization._id });
    expect(receipt.remaining).toEqual({ collections: 0, admins: 0, sessions: 0, names: 0, mails: 0 });
    expect(await names()).not.toContain(collection);
  });

  test('leaves a stub without anything personal, which repeats the erasure', async () => {
    const owner = await ownerOf(context, 'Gone');
    const { _id } = owner.organization;
    await deleteOrganization(context, { principal: owner, organization_name: 'Gone' });
    const stub = await context.master.organizations.findOne({ _id });
    expect(stub).toMatchObject({ status: 'erased', name: '', key: '', slug: '', address_key: null, operation: null });
    // What an instance adds that was paused while it worked on the organization.
    await context.master.admins.insertOne(owner.admin);
    await settle(MINUTE_MS);
    expect(await context.master.admins.count({ organization_id: _id })).toBe(0);
  });
});

describe('the audit log, with AUDIT_RETENTION_DAYS', () => {
  const sequencesOf = async (organization_id: string) =>
    (await context.master.audit.find({ organization_id }, { sort: { _id: 1 } })).map(({ sequence }) => sequence);
  const check = (id: string) => checkChain(context, id, 0);

  // A checkpoint is made due after the answer.
  const background = async (work: () => Promise<unknown>) => void (await work());
  const keeping = (env: Record<string, string>) => {
    services = createInstance(executor, env, { time, log: () => {}, background });
    context = services.context;
  };
  beforeEach(() => keeping({}));

  /** An organization with entries of the first day and of 200 days later. */
  const withLog = async (name: string) => {
    const owner = await ownerOf(context, name);
    await rename(owner, `${name} one`);
    await settle(MINUTE_MS);
    await settle(200 * DAY_MS);
    const organization = await context.master.organizations.findOne({ _id: owner.organization._id });
    const now = { ...owner, organization: organization as OrganizationDocument };
    await rename(now, `${name} two`);
    for (let minutes = 0; minutes < 3; minutes++) await settle(2 * MINUTE_MS);
    return owner;
  };

  test('loses what is older, and is valid', async () => {
    const { _id } = (await withLog('Old')).organization;
    await settle(199 * DAY_MS);
    expect(await sequencesOf(_id)).toEqual([1, 2, 3]);
    await settle(2 * DAY_MS);
    expect(await sequencesOf(_id)).toEqual([3]);
    expect(await check(_id)).toMatchObject({ valid: true, from: 3, to: 3 });
    await settle(400 * DAY_MS);
    expect(await sequencesOf(_id)).toEqual([3]);
    expect(await check(_id)).toMatchObject({ valid: true, from: 3, to: 3 });
  });

  test('stays for good with 0', async () => {
    keeping({ AUDIT_RETENTION_DAYS: '0' });
    const { _id } = (await withLog('Ever')).organization;
    await settle(2000 * DAY_MS);
    expect(await sequencesOf(_id)).toEqual([1, 2, 3]);
    expect(await check(_id)).toMatchObject({ valid: true, from: 1, to: 3 });
  });

  test('of an erased organization goes after the same time, with its checkpoint; its stub stays', async () => {
    const owner = await withLog('Gone');
    await settle(30 * DAY_MS);
    const { _id } = owner.organization;
    const organization = await context.master.organizations.findOne({ _id });
    const principal = { ...owner, organization: organization as OrganizationDocument };
    await deleteOrganization(context, { principal, organization_name: 'Gone two' });
    for (let weeks = 0; weeks < 57; weeks++) await settle(7 * DAY_MS);
    expect(await sequencesOf(_id)).toEqual([4]);
    expect(await check(_id)).toMatchObject({ valid: true, from: 4, to: 4 });
    for (let weeks = 0; weeks < 3; weeks++) await settle(7 * DAY_MS);
    expect(await sequencesOf(_id)).toEqual([]);
    expect(await context.master.checkpoints.findOne({ _id })).toBeUndefined();
    expect(await context.master.organizations.findOne({ _id })).toMatchObject({ status: 'erased', address_key: null });
    expect(await check(_id)).toMatchObject({ valid: true, from: 1, to: 0, head: null });
  });

  test('of an erased organization goes in batches, of which a round does some, and its checkpoint goes last', async () => {
    const owner = await ownerOf(context, 'Long');
    const { _id } = owner.organization;
    await deleteOrganization(context, { principal: owner, organization_name: 'Long' });
    const [entry] = (await context.master.audit.find({ organization_id: _id })) as [AuditEntry];
    const LEFT = 500;
    for (let sequence = 1000; sequence < 21_000 + LEFT; sequence++) {
      await context.master.audit.insertOne({ ...entry, _id: entryId(_id, sequence), event_id: `${sequence}` });
    }
    const removals: string[] = [];
    const recording: Executor = {
      ...executor,
      execute: <O extends Op>(command: CommandOf<O>) => {
        if ('collection' in command && /^audit/.test(command.collection) && /^delete/.test(command.op)) {
          removals.push(command.collection);
        }
        return executor.execute<O>(command);
      },
    };
    const removing = instance({}, recording).context;
    time.advance(401 * DAY_MS);
    expect(await reconcile(removing, 0)).toBe(true);
    expect(removals).toEqual(Array.from({ length: 20 }, () => 'audit'));
    expect(await context.master.audit.count({ organization_id: _id })).toBeGreaterThan(LEFT);
    expect(await context.master.checkpoints.findOne({ _id })).toBeDefined();
    time.advance(1);
    await reconcile(removing, 0);
    expect(removals.slice(20)).toEqual(['audit', 'audit_checkpoints']);
    expect(await context.master.audit.count({ organization_id: _id })).toBe(0);
    expect(await context.master.checkpoints.findOne({ _id })).toBeUndefined();
  });
});

test('a late write to a name that was left is merged within a minute, and looks never end', async () => {
  const owner = await ownerOf(context, 'Left');
  const { collection } = owner.organization.placement;
  await rename(owner, 'Moved');
  await tenants().collection(collection).insertOne({ _id: 'at once' });
  for (let seconds = 0; seconds < 60; seconds += 15) {
    time.advance(15_000);
    await services.reconcile();
  }
  expect(await tenants().collection('org_moved').count({})).toBe(1);
  await settle(300 * DAY_MS);
  await tenants().collection(collection).insertOne({ _id: 'a year later' });
  await settle(8 * DAY_MS);
  expect(await tenants().collection('org_moved').count({})).toBe(2);
  expect(await names()).not.toContain(collection);
});

test('late writes to 100 names are looked for in one round, by one call', async () => {
  const owner = await ownerOf(context, 'Left');
  await rename(owner, 'Moved');
  const { collections } = context.master;
  const [former] = await collections.find({ kind: 'collection', state: 'former' });
  if (former === undefined) throw new Error('No name was left.');
  const place = (index: number) => ({ ...former.placement, collection: `org_left_${index}` });
  for (let index = 1; index < 100; index++) {
    await collections.insertOne({ ...former, _id: `${former._id}_${index}`, placement: place(index) });
  }
  const lists: string[] = [];
  const recording: Executor = {
    ...executor,
    execute: <O extends Op>(command: CommandOf<O>) => {
      if (command.op === 'listCollections') lists.push(command.op);
      return executor.execute(command);
    },
  };
  const other = instance({}, recording);
  await other.prepare();
  time.advance(MINUTE_MS);
  await other.reconcile();
  expect(lists).toHaveLength(1);
  expect(await collections.count({ kind: 'collection', due_at: { $lt: time.clock() } })).toBe(0);
});

test('a deleted organization whose move is open is kept until the time to restore it is over', async () => {
  const refusing: Executor = {
    ...executor,
    execute: async <O extends Op>(command: CommandOf<O>) => {
      if (command.op === 'renameCollection') throw new StoreError('NotPermitted', 'This server renames nothing.');
      return executor.execute<O>(command);
    },
  };
  const keeping = instance({ DELETE_RETENTION_DAYS: '30' }, refusing);
  const owner = await ownerOf(keeping.context, 'Stays');
  const { _id, placement } = owner.organization;
  await tenants().collection(placement.collection).insertOne({ _id: 'kept' });
  await updateOrganization(keeping.context, { principal: owner, new_organization_name: 'Goes' });
  await deleteOrganization(keeping.context, {
    principal: {
      ...owner,
      organization: (await context.master.organizations.findOne({ _id })) as OrganizationDocument,
    },
    organization_name: 'Goes',
  });
  time.advance(DAY_MS);
  for (let round = 0; round < 3; round++) await keeping.reconcile();
  expect(await context.master.organizations.findOne({ _id })).toMatchObject({ status: 'deleted' });
  expect(await tenants().collection(placement.collection).count({})).toBe(1);
  time.advance(30 * DAY_MS);
  for (let round = 0; round < 3; round++) await keeping.reconcile();
  expect(await context.master.organizations.findOne({ _id })).toMatchObject({ status: 'erased' });
});

test('a rename asked for again with the old name is done, however the new one is written', async () => {
  const owner = await ownerOf(context, 'Asked');
  const input = { organization_name: 'Asked', new_organization_name: '  Asked   Again ' };
  await updateOrganization(context, { principal: owner, ...input });
  const organization = await context.master.organizations.findOne({ _id: owner.organization._id });
  const principal = { ...owner, organization: organization as OrganizationDocument };
  const again = await updateOrganization(context, { principal, ...input });
  expect(again).toMatchObject({ organization_name: 'Asked Again' });
  expect(again.access_token).toBeUndefined();
});

test('what has expired of one kind is removed before the next kind has its turn', async () => {
  const kinds: string[] = [];
  let finds = 0;
  const batch = Array.from({ length: 1000 }, (_, index) => ({ _id: `expired ${index}` }));
  const growing: Executor = {
    ...executor,
    execute: async <O extends Op>(command: CommandOf<O>) => {
      const { op, collection, filter = {} } = command as unknown as { op: Op; collection: string; filter?: object };
      if (op !== 'find' || !('expires_at' in filter)) return executor.execute(command);
      if (kinds.at(-1) !== collection) kinds.push(collection);
      return (collection === 'budgets' && finds++ < 45 ? batch : []) as never;
    },
  };
  const other = instance({}, growing);
  // Each of the five kinds has one round, whichever is first, and budgets need three.
  for (let round = 0; round < 4 + 3; round++) await other.reconcile();
  expect([...kinds].sort()).toEqual(['budgets', 'idempotency_keys', 'mails', 'sessions']);
  expect(finds).toBe(46);
});

test('what has expired is removed in batches, between which an instance serves requests', async () => {
  const commands: Op[] = [];
  const recording: Executor = {
    ...executor,
    execute: <O extends Op>(command: CommandOf<O>) => {
      if ('collection' in command && command.collection === 'budgets') commands.push(command.op);
      return executor.execute(command);
    },
  };
  const { budgets } = context.master;
  const [past, future] = [-1, MINUTE_MS].map((ms) => new Date(time.clock().getTime() + ms)) as [Date, Date];
  const budget = { used: 1, backoff_level: 0, ends_at: past, expires_at: past };
  for (let index = 0; index < 2500; index++) await budgets.insertOne({ ...budget, _id: `expired ${index}` });
  await budgets.insertOne({ ...budget, _id: 'in force', expires_at: future });
  const other = instance({}, recording);
  for (let round = 0; round < 5; round++) await other.reconcile();
  expect(await budgets.find({})).toMatchObject([{ _id: 'in force' }]);
  expect(commands).toEqual(['find', 'deleteMany', 'find', 'deleteMany', 'find', 'deleteMany']);
});
