import { describe, expect, test } from 'vitest';
import { writeDueCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import { record } from '../../src/domain/audit/record.ts';
import type { AuditCheckpoint } from '../../src/domain/audit/schema.ts';
import { entryId } from '../../src/domain/audit/schema.ts';
import { verifyAudit } from '../../src/domain/audit/verify.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { AuditContext, AuditInstance, Time } from '../support/audit-world.ts';
import {
  auditInstance,
  commitOrganization,
  entriesOf,
  entryAt,
  goneAt,
  newOrganization,
  note,
  prepareAuditStore,
  recordOne,
  SECRET,
  shuffled,
  wrapped,
} from '../support/audit-world.ts';

const SECOND_SECRET = 'another secret for tests only: 32 bytes and more';
const MINUTE = 60_000;

async function newStore(): Promise<Executor> {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  await prepareAuditStore(executor);
  return executor;
}

async function newTenant() {
  const executor = await newStore();
  const time: Time = { now: Date.now() };
  const context = auditInstance(executor, { time });
  return { executor, time, context, ...(await newOrganization(context)) };
}

const check = (context: AuditContext, tenant: Pick<Awaited<ReturnType<typeof newTenant>>, 'organization'>) =>
  verifyAudit(context, { principal: tenant });

async function checkpointOf({ master }: AuditContext, id: string): Promise<AuditCheckpoint> {
  const found = await master.checkpoints.findOne({ _id: id });
  if (found === undefined) throw new Error('There is no checkpoint.');
  return found;
}

/** A tenant with a chain of so many entries, and a checkpoint at one of them. */
async function withChain(length: number, checkpointAt = length) {
  const tenant = await newTenant();
  const { context, time, organization } = tenant;
  const id = organization._id;
  const brought = async () => {
    time.now += 2 * MINUTE;
    await writeDueCheckpoint(context, await checkpointOf(context, id));
  };
  for (let entries = 1; entries < length; entries++) {
    if (entries === checkpointAt) await brought();
    await recordOne(context, organization);
  }
  if (checkpointAt === length) await brought();
  await context.settled();
  const { audit, checkpoints } = context.master;
  return {
    ...tenant,
    id,
    audit,
    checkpoints,
    at: (sequence: number) => entryAt(context, id, sequence),
    remove: (sequence: number) => audit.deleteOne({ _id: entryId(id, sequence) }),
    broken: async () => (await check(context, tenant)).broken,
    checkpoint: () => checkpointOf(context, id),
    brought,
  };
}

describe('the chain', () => {
  test('200 events at once, from four instances with cold tails, make one unbroken chain', async () => {
    const tenant = await newTenant();
    const { executor, organization } = tenant;
    const instances = [1, 2, 3, 4].map((seed) => auditInstance(shuffled(executor, seed)));
    await Promise.all(
      Array.from({ length: 200 }, (_, index) => recordOne(instances[index % 4] ?? tenant.context, organization)),
    );
    const entries = await entriesOf(tenant.context, organization._id);
    expect(entries.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 201 }, (_, index) => index + 1));
    expect(await check(tenant.context, tenant)).toMatchObject({ valid: true, from: 1, to: 201, broken: null });
  });

  test('two instances, one with a cold and one with a warm tail, that write in turns and at once, never fork it', async () => {
    const tenant = await newTenant();
    const { executor, organization, context: warm } = tenant;
    const cold = auditInstance(executor);
    for (let round = 0; round < 20; round++) {
      await recordOne(warm, organization);
      await recordOne(cold, organization);
      await recordOne(cold, organization);
      await Promise.all([warm, cold, warm, cold].map((instance) => recordOne(instance, organization)));
    }
    expect(await check(warm, tenant)).toMatchObject({ valid: true, to: 141 });
  });

  test('takes one insert for an event, and nothing else, once the instance knows its end', async () => {
    const { context, organization } = await withChain(3);
    await recordOne(context, organization);
    await context.settled();
    context.calls.length = 0;
    for (let events = 0; events < 50; events++) await recordOne(context, organization);
    await context.settled();
    expect(new Set(context.calls)).toEqual(new Set(['insertOne audit']));
    expect(context.calls).toHaveLength(50);
  });

  test('takes a round of reads more where the instance does not know its end', async () => {
    const { executor, organization } = await withChain(3);
    const cold = auditInstance(executor);
    await recordOne(cold, organization);
    expect(cold.calls).toEqual(['find audit', 'find audit_checkpoints', 'insertOne audit']);
  });

  test('an event that is recorded by twenty at once is there once', async () => {
    const tenant = await newTenant();
    const event = await note(tenant.context, tenant.organization);
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, seed) => record(auditInstance(shuffled(tenant.executor, seed)), event)),
    );
    expect(new Set(all.map((entry) => entry?._id)).size).toBe(1);
    expect(await check(tenant.context, tenant)).toMatchObject({ valid: true, to: 2 });
  });

  test('an insert whose reply was lost is found, and is there once', async () => {
    const tenant = await newTenant();
    let lost = 0;
    const losing = wrapped(tenant.executor, async (command, next) => {
      const result = await next();
      if (command.op === 'insertOne' && lost++ < 1) throw new StoreError('OutcomeUnknown', 'Lost.');
      return result;
    });
    const entry = await recordOne(auditInstance(losing), tenant.organization);
    expect(entry?.sequence).toBe(2);
    expect(await check(tenant.context, tenant)).toMatchObject({ valid: true, to: 2 });
  });

  for (const when of ['before', 'after'] as const) {
    test(`is valid, and has an event once, where the instance that records it dies ${when} any call`, async () => {
      for (let call = 1; ; call++) {
        const tenant = await newTenant();
        const { context, organization } = tenant;
        const dying = goneAt(tenant.executor, call, when);
        const event = await note(context, organization);
        await record(auditInstance(dying), event).catch(() => undefined);
        expect(await check(context, tenant), `call ${call}`).toMatchObject({ valid: true, broken: null });
        await recordOne(context, organization);
        await record(context, event);
        await recordOne(context, organization);
        expect(await check(context, tenant), `call ${call}`).toMatchObject({ valid: true, to: 4 });
        if (dying.calls() < call) break;
      }
    });
  }

  test('begins with the creation, though an event that came after it is recorded first', async () => {
    const executor = await newStore();
    const context = auditInstance(executor);
    const organization = await commitOrganization(context);
    await Promise.all([1, 2, 3].map((seed) => recordOne(auditInstance(shuffled(executor, seed)), organization)));
    const [first, ...others] = await entriesOf(context, organization._id);
    expect([first?.action, first?.event_id]).toEqual(['organization.created', organization._id]);
    expect(others).toHaveLength(3);
    expect(await check(context, { organization })).toMatchObject({ valid: true, to: 4 });
  });

  test('is valid, and empty, while the creation waits', async () => {
    const context = auditInstance(await newStore());
    const organization = await commitOrganization(context);
    expect(await check(context, { organization })).toMatchObject({ valid: true, from: 1, to: 0, head: null });
  });

  test('remembers the ends of at most 10,000 chains', async () => {
    const { context, organization } = await newTenant();
    for (let count = 0; count < 10_000; count++) {
      context.auditTails.set(`other-${count}`, {
        sequence: 1,
        seal: '',
        at: context.clock(),
        checkpointDue: context.clock(),
      });
    }
    await recordOne(context, organization);
    await recordOne(context, (await newOrganization(context)).organization);
    expect(context.auditTails.size).toBe(10_000);
    expect(context.auditTails.has(organization._id)).toBe(true);
  });

  test('is announced in the log of the service, entry by entry', async () => {
    const { context, organization } = await newTenant();
    const entry = await recordOne(context, organization);
    expect(context.logged.at(-1)).toEqual({
      event: 'audit.recorded',
      particulars: {
        organization_id: organization._id,
        sequence: 2,
        action: 'session.signed_in',
        outcome: 'success',
        request_id: 'the-request',
        seal: entry?.seal,
      },
    });
  });

  test('is checked in pages', async () => {
    const { context, organization, remove, audit, at } = await withChain(1100);
    const pages = async () => {
      const found = [];
      for (let cursor = 0; ; ) {
        const page = await verifyAudit(context, { principal: { organization }, cursor });
        found.push([page.valid, page.from, page.to, page.broken]);
        if (page.next_cursor === null) return found;
        cursor = Number(page.next_cursor);
      }
    };
    expect(await pages()).toEqual([
      [true, 1, 500, null],
      [true, 501, 1000, null],
      [true, 1001, 1100, null],
    ]);
    await audit.updateOne({ _id: (await at(501))._id }, { $set: { previous: 'f'.repeat(64) } });
    expect((await pages()).at(-1)).toEqual([false, 501, 500, { sequence: 501, fault: 'altered' }]);
    await remove(500);
    expect((await pages()).at(-1)).toEqual([false, 1, 499, { sequence: 500, fault: 'missing' }]);
  });

  test('does not take a cursor beyond its end, and takes every one before', async () => {
    const { context, organization } = await withChain(3, 2);
    const from = (cursor: number) => verifyAudit(context, { principal: { organization }, cursor });
    for (const cursor of [1, 2, 3]) expect(await from(cursor)).toMatchObject({ valid: true, from: cursor + 1, to: 3 });
    for (const cursor of [4, 500, 999_999_999_999]) {
      await expect(from(cursor), `cursor ${cursor}`).rejects.toMatchObject({
        code: 'invalid_input',
        issues: [{ path: 'cursor' }],
      });
    }
  });

  test.each([3, 4, 5, 6, 500])('says that it was cut off, asked from %i on too', async (cursor) => {
    const { context, organization, audit, id } = await withChain(6, 5);
    await audit.deleteMany({ organization_id: id, sequence: { $gt: 2 } });
    const check = await verifyAudit(context, { principal: { organization }, cursor });
    expect(check).toMatchObject({ valid: false, broken: { fault: 'truncated' } });
  });

  test('goes on under another key, with what the old one sealed still checked', async () => {
    const { executor, organization } = await withChain(3);
    const rotated = auditInstance(executor, { secrets: [SECOND_SECRET, SECRET] });
    await recordOne(rotated, organization);
    expect(await check(rotated, { organization })).toMatchObject({ valid: true, to: 4 });
    const without = auditInstance(executor, { secrets: [SECOND_SECRET] });
    expect((await check(without, { organization })).broken).toEqual({ sequence: 1, fault: 'altered' });
  });
});

describe('tampering with the chain is found', () => {
  const LENGTH = 6;
  const positions = Array.from({ length: LENGTH }, (_, index) => index + 1);

  for (const position of positions) {
    test(`entry ${position} of ${LENGTH} removed`, async () => {
      const { remove, broken } = await withChain(LENGTH);
      await remove(position);
      const fault = position === LENGTH ? 'truncated' : 'missing';
      expect(await broken()).toEqual({ sequence: position, fault });
    });

    test(`the end cut off from ${position} on`, async () => {
      const { audit, id, broken } = await withChain(LENGTH);
      await audit.deleteMany({ organization_id: id, sequence: { $gte: position } });
      expect(await broken()).toEqual({ sequence: position, fault: 'truncated' });
    });

    test(`the end cut off from ${position} on, and the log gone on since`, async () => {
      const { audit, id, broken, brought, executor, context, organization } = await withChain(LENGTH);
      await audit.deleteMany({ organization_id: id, sequence: { $gte: position } });
      for (let count = 0; count < LENGTH; count++) await recordOne(auditInstance(executor), organization);
      // It goes on after its checkpoint: no entry ever takes the place of one that was cut off.
      expect(await broken()).toEqual({ sequence: position, fault: 'missing' });
      await recordOne(context, organization);
      await brought();
      expect(await broken()).toEqual({ sequence: position, fault: 'missing' });
    });

    test(`the end cut off from ${position} on, the log gone on without its checkpoint, and that put back`, async () => {
      const { audit, id, broken, executor, organization, checkpoints, checkpoint, brought } = await withChain(LENGTH);
      const hidden = await checkpoint();
      await audit.deleteMany({ organization_id: id, sequence: { $gte: position } });
      await checkpoints.deleteOne({ _id: id });
      for (let count = 0; count < 2 * LENGTH; count++) await recordOne(auditInstance(executor), organization);
      await checkpoints.insertOne(hidden);
      for (let rounds = 0; rounds < 3; rounds++) await brought();
      expect((await broken())?.fault).toBe(position === 1 ? 'second_beginning' : 'truncated');
    });

    test(`any field of entry ${position} altered, removed or added`, async () => {
      const changes: Record<string, string | number | null | Date> = {
        event_id: 'other',
        at: new Date(0),
        actor: 'other',
        action: 'session.signed_out',
        target: 'other',
        address: 'other',
        request_id: 'other',
        outcome: 'failure',
        count: 2,
        previous: 'other',
        key: 'other',
        seal: 'other',
        sequence: 77,
        organization_id: 'other',
        added: 'field',
      };
      const { audit, at, broken } = await withChain(LENGTH);
      const entry = await at(position);
      for (const [field, value] of Object.entries(changes)) {
        await audit.updateOne({ _id: entry._id }, { $set: { [field]: value } });
        expect(await broken(), field).toEqual({ sequence: position, fault: 'altered' });
        await audit.replaceOne({ _id: entry._id }, entry);
        if (field === 'added') continue;
        await audit.updateOne({ _id: entry._id }, { $unset: { [field]: true } });
        expect(await broken(), `no ${field}`).toEqual({ sequence: position, fault: 'altered' });
        await audit.replaceOne({ _id: entry._id }, entry);
      }
      // A text in the place of a time.
      await audit.updateOne({ _id: entry._id }, { $set: { at: entry.at.toISOString() } });
      expect(await broken()).toEqual({ sequence: position, fault: 'altered' });
      await audit.replaceOne({ _id: entry._id }, entry);
      expect(await broken()).toBeNull();
    });

    test(`an entry put in after ${position}`, async () => {
      const { id, audit, at, remove, broken } = await withChain(LENGTH);
      for (let sequence = LENGTH; sequence > position; sequence--) {
        const entry = await at(sequence);
        await remove(sequence);
        await audit.insertOne({ ...entry, _id: entryId(id, sequence + 1), sequence: sequence + 1 });
      }
      const model = await at(position);
      const place = { _id: entryId(id, position + 1), sequence: position + 1 };
      await audit.insertOne({ ...model, ...place, event_id: 'forged', previous: model.seal });
      expect(await broken()).toEqual({ sequence: position + 1, fault: 'altered' });
    });

    test(`entry ${position} exchanged with any later one`, async () => {
      for (const other of positions.filter((later) => later > position)) {
        const { audit, at, remove, broken } = await withChain(LENGTH);
        const [first, second] = [await at(position), await at(other)];
        await remove(position);
        await remove(other);
        await audit.insertOne({ ...first, _id: second._id });
        await audit.insertOne({ ...second, _id: first._id });
        expect(await broken()).toEqual({ sequence: position, fault: 'moved' });
      }
    });
  }

  test('the time of an entry replaced by an object that holds it', async () => {
    const { audit, at, broken } = await withChain(LENGTH);
    const entry = await at(3);
    await audit.updateOne({ _id: entry._id }, { $set: { at: { time: entry.at.getTime() } as unknown as Date } });
    expect(await broken()).toEqual({ sequence: 3, fault: 'altered' });
  });

  test('an entry of another organization in the place of one', async () => {
    const { id, audit, remove, broken, context } = await withChain(LENGTH);
    const other = await newOrganization(context);
    await recordOne(context, other.organization);
    const foreign = await entryAt(context, other.organization._id, 2);
    await audit.deleteOne({ _id: foreign._id });
    await remove(2);
    await audit.insertOne({ ...foreign, _id: entryId(id, 2) });
    expect(await broken()).toEqual({ sequence: 2, fault: 'moved' });
  });

  test('an entry under an id that none has', async () => {
    const { id, audit, at, broken } = await withChain(LENGTH);
    await audit.insertOne({ ...(await at(3)), _id: `${entryId(id, 3)}a`, event_id: 'forged' });
    expect(await broken()).toEqual({ sequence: 4, fault: 'altered' });
  });

  test('a gap longer than a page', async () => {
    const { audit, id, broken } = await withChain(600, 1);
    await audit.deleteMany({ organization_id: id, sequence: { $gt: 3, $lt: 600 } });
    expect(await broken()).toEqual({ sequence: 4, fault: 'missing' });
  });

  test('the whole log removed, with the checkpoint left', async () => {
    const { id, audit, broken } = await withChain(LENGTH);
    await audit.deleteMany({ organization_id: id });
    expect(await broken()).toEqual({ sequence: 1, fault: 'truncated' });
  });

  test('the whole log removed, and the checkpoint with it', async () => {
    const { id, audit, checkpoints, broken } = await withChain(LENGTH);
    await audit.deleteMany({ organization_id: id });
    await checkpoints.deleteOne({ _id: id });
    expect(await broken()).toEqual({ sequence: 1, fault: 'checkpoint_lost' });
  });

  test('the whole log removed, and the first checkpoint put back', async () => {
    const chain = await withChain(LENGTH);
    const fresh = auditInstance(chain.executor);
    const { organization } = await newOrganization(fresh);
    const first = await checkpointOf(fresh, organization._id);
    await recordOne(fresh, organization);
    await chain.audit.deleteMany({ organization_id: organization._id });
    await chain.checkpoints.replaceOne({ _id: first._id }, first);
    expect((await check(fresh, { organization })).broken).toEqual({ sequence: 1, fault: 'missing' });
  });

  test('a second beginning, after the whole log was removed with its checkpoint', async () => {
    const { id, audit, checkpoints, broken, executor, organization } = await withChain(LENGTH);
    await audit.deleteMany({ organization_id: id });
    await checkpoints.deleteOne({ _id: id });
    await recordOne(auditInstance(executor), organization);
    expect(await broken()).toEqual({ sequence: 1, fault: 'second_beginning' });
  });

  test('an entry of the service’s own, from a time that was undone, in the place of a later one', async () => {
    const { at, remove, broken, executor, organization, audit } = await withChain(3);
    await recordOne(auditInstance(executor), organization);
    const undone = await at(4);
    await remove(4);
    await recordOne(auditInstance(executor), organization);
    await recordOne(auditInstance(executor), organization);
    expect(await broken()).toBeNull();
    await remove(4);
    await audit.insertOne(undone);
    expect(await broken()).toEqual({ sequence: 5, fault: 'unlinked' });
  });
});

describe('the checkpoint', () => {
  const isDue = async (context: AuditInstance, id: string) => (await checkpointOf(context, id)).due_at !== null;

  test('is brought up to the end, is logged, and stays due until nothing is new', async () => {
    const { context, organization, time } = await newTenant();
    const id = organization._id;
    const last = await recordOne(context, organization);
    time.now += MINUTE;
    await writeDueCheckpoint(context, await checkpointOf(context, id));
    expect(await checkpointOf(context, id)).toMatchObject({ sequence: 2, entry: last?.seal });
    expect(context.logged.at(-1)).toEqual({
      event: 'audit.checkpoint',
      particulars: { organization_id: id, sequence: 2, seal: last?.seal },
    });
    expect(await isDue(context, id)).toBe(true);
    await writeDueCheckpoint(context, await checkpointOf(context, id));
    expect(await isDue(context, id)).toBe(false);
  });

  test('is made due by what is recorded, at most once a minute by an instance', async () => {
    const { context, organization, time } = await newTenant();
    const id = organization._id;
    await context.settled();
    await context.master.checkpoints.updateOne({ _id: id }, { $set: { due_at: null } });
    await recordOne(context, organization);
    await context.settled();
    expect(await isDue(context, id)).toBe(false);
    time.now += MINUTE;
    await recordOne(context, organization);
    await context.settled();
    expect((await checkpointOf(context, id)).due_at).toEqual(new Date(time.now + MINUTE));
  });

  test.each<[string, unknown]>([
    ['a time far ahead', new Date('9999-12-31T00:00:00Z')],
    ['the text of a time', '2000-01-01T00:00:00Z'],
    ['a number', 0],
    ['nothing', null],
  ])(
    'is made due where somebody wrote %s in the place of its time, so that a cut end is found',
    async (_name, due_at) => {
      const { context, organization, time, id, audit, broken, checkpoint } = await withChain(2);
      await context.master.checkpoints.updateOne({ _id: id }, { $set: { due_at: due_at as Date } });
      await recordOne(context, organization);
      await context.settled();
      expect((await checkpoint()).due_at).toEqual(new Date(time.now + MINUTE));
      await writeDueCheckpoint(context, await checkpoint());
      await audit.deleteOne({ _id: entryId(id, 3) });
      expect(await broken()).toEqual({ sequence: 3, fault: 'truncated' });
    },
  );

  test('is not put off by what is recorded', async () => {
    const { context, organization, executor, time, checkpoint } = await withChain(2);
    await recordOne(auditInstance(executor, { time }), organization);
    const due_at = new Date(time.now + MINUTE);
    await context.master.checkpoints.updateOne({ _id: organization._id }, { $set: { due_at } });
    time.now += MINUTE / 2;
    const other = auditInstance(executor, { time });
    await recordOne(other, organization);
    await other.settled();
    expect((await checkpoint()).due_at).toEqual(due_at);
  });

  test('stays due for an entry that comes while it is found to be up to date', async () => {
    const { context, organization, executor, id } = await withChain(2);
    let come: (() => Promise<unknown>) | undefined = () => recordOne(auditInstance(executor), organization);
    const interrupted = wrapped(executor, async (command, next) => {
      const result = await next();
      if (command.op === 'find' && come !== undefined) {
        const recordMeanwhile = come;
        come = undefined;
        await recordMeanwhile();
      }
      return result;
    });
    await writeDueCheckpoint(auditInstance(interrupted), await checkpointOf(context, id));
    expect(await isDue(context, id)).toBe(true);
  });

  test('never goes back', async () => {
    const { context, id, audit, broken } = await withChain(4);
    await audit.deleteOne({ _id: entryId(id, 4) });
    await writeDueCheckpoint(context, await checkpointOf(context, id));
    expect((await checkpointOf(context, id)).sequence).toBe(4);
    expect(await broken()).toEqual({ sequence: 4, fault: 'truncated' });
  });

  test('of two instances that write it at once, one does', async () => {
    const { context, executor, id, organization } = await withChain(2);
    await recordOne(context, organization);
    const checkpoint = await checkpointOf(context, id);
    const instances = [1, 2].map((seed) => auditInstance(shuffled(executor, seed)));
    await Promise.all(instances.map((instance) => writeDueCheckpoint(instance, checkpoint)));
    const logged = instances.flatMap((instance) => instance.logged).map(({ event }) => event);
    expect(logged).toEqual(['audit.checkpoint']);
  });

  const harms: [string, (chain: Awaited<ReturnType<typeof withChain>>) => Promise<unknown>][] = [
    ['removed', ({ checkpoints, id }) => checkpoints.deleteOne({ _id: id })],
    ['set further', ({ checkpoints, id }) => checkpoints.updateOne({ _id: id }, { $set: { sequence: 999 } })],
    ['set nearer', ({ checkpoints, id }) => checkpoints.updateOne({ _id: id }, { $set: { sequence: 2 } })],
    ['of another entry', ({ checkpoints, id }) => checkpoints.updateOne({ _id: id }, { $set: { entry: 'other' } })],
    ['of no form', ({ checkpoints, id }) => checkpoints.replaceOne({ _id: id }, { _id: id } as AuditCheckpoint)],
    [
      'another organization’s',
      async ({ checkpoints, id, context }) => {
        const other = await checkpointOf(context, (await newOrganization(context)).organization._id);
        await checkpoints.replaceOne({ _id: id }, { ...other, _id: id });
      },
    ],
  ];
  for (const [name, harm] of harms) {
    test(`${name} is found, and not sealed anew`, async () => {
      const chain = await withChain(4);
      await harm(chain);
      expect(await chain.broken()).toEqual({ sequence: 5, fault: 'checkpoint_lost' });
      const left = await chain.checkpoints.findOne({ _id: chain.id });
      if (left !== undefined) await writeDueCheckpoint(chain.context, left);
      await recordOne(chain.context, chain.organization);
      expect(await chain.broken()).toEqual({ sequence: 6, fault: 'checkpoint_lost' });
    });
  }
});
