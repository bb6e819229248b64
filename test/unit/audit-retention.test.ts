import { describe, expect, test } from 'vitest';
import { writeDueCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import { listAudit } from '../../src/domain/audit/list.ts';
import { flushPendingAudit } from '../../src/domain/audit/pending.ts';
import { record } from '../../src/domain/audit/record.ts';
import { removeExpiredEntries } from '../../src/domain/audit/retention.ts';
import type { AuditCheckpoint, AuditEntry, PendingAudit } from '../../src/domain/audit/schema.ts';
import { entryId } from '../../src/domain/audit/schema.ts';
import { sealCheckpoint, sealEntry } from '../../src/domain/audit/sealing.ts';
import type { ChainCheck } from '../../src/domain/audit/verify.ts';
import { verifyAudit } from '../../src/domain/audit/verify.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { Time } from '../support/audit-world.ts';
import {
  auditInstance,
  changeAndRecord,
  changeWithoutRecording,
  DAY_MS,
  entriesOf,
  entryAt,
  goneAt,
  newOrganization,
  note,
  prepareAuditStore,
  RETENTION_MS,
  recordOne,
  shuffled,
  wrapped,
} from '../support/audit-world.ts';

/** Old entries, the creation among them, and young ones, a year later. */
const OLD = 4;
const YOUNG = 3;

const HOUR_MS = 60 * 60 * 1000;

async function newTenant() {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  await prepareAuditStore(executor);
  const time: Time = { now: Date.now() };
  const context = auditInstance(executor, { time });
  const { organization, admin } = await newOrganization(context);
  const id = organization._id;
  const { audit, checkpoints, admins } = context.master;
  const checkpoint = async (): Promise<AuditCheckpoint> => {
    const found = await checkpoints.findOne({ _id: id });
    if (found === undefined) throw new Error('There is no checkpoint.');
    return found;
  };
  const tenant = {
    ...{ executor, time, context, organization, admin, id, audit, checkpoints, admins, checkpoint },
    at: (sequence: number) => entryAt(context, id, sequence),
    sequences: async () => (await entriesOf(context, id)).map(({ sequence }) => sequence),
    /** Brings the checkpoint up to the end. */
    bring: async () => writeDueCheckpoint(context, await checkpoint()),
    /** Removes what is old. */
    remove: async (by = context) => removeExpiredEntries(by, await checkpoint()),
    recordMany: async (count: number) => {
      for (let events = 0; events < count; events++) await recordOne(context, organization);
    },
    check: (cursor?: number) => verifyAudit(context, { principal: { organization }, cursor }),
    broken: async () => (await verifyAudit(context, { principal: { organization } })).broken,
    list: async (cursor?: number) => {
      const page = await listAudit(context, { principal: { organization }, cursor, limit: 100 });
      return [page.items.map(({ sequence }) => sequence), page.next_cursor];
    },
    refused: () => context.logged.filter(({ event }) => event === 'audit.checkpoint_refused').length,
  };
  return tenant;
}

/** A tenant whose old entries have just become too old; its checkpoint is at the end. */
async function withOldEntries() {
  const tenant = await newTenant();
  const { time } = tenant;
  await tenant.recordMany(OLD - 1);
  time.now += RETENTION_MS - 35 * DAY_MS;
  await tenant.recordMany(YOUNG);
  await tenant.bring();
  time.now += 36 * DAY_MS;
  return tenant;
}

describe('old entries', () => {
  test('are removed, and the log that is left is valid and listed', async () => {
    const { remove, sequences, check, list, at, checkpoint, context, id } = await withOldEntries();
    expect(await check()).toMatchObject({ valid: true, from: 1, to: 7 });
    const last = await at(OLD);
    await remove();
    expect(await sequences()).toEqual([5, 6, 7]);
    expect(await checkpoint()).toMatchObject({ sequence: 7, removed_to: 4, removed_entry: last.seal });
    expect(await check()).toMatchObject({ valid: true, from: 5, to: 7, broken: null });
    expect(await list()).toEqual([[7, 6, 5], null]);
    expect(context.logged).toContainEqual({
      event: 'audit.removed',
      particulars: { organization_id: id, sequence: 4, seal: last.seal },
    });
  });

  test('of a log whose checkpoint is from before entries were removed: none but the old ones', async () => {
    const { remove, sequences, check, checkpoint, context, id, recordMany, bring, time } = await newTenant();
    await recordMany(2);
    await bring();
    const {
      key: _,
      seal: __,
      removed_to: ___,
      removed_entry: ____,
      removed_until: _____,
      ...before
    } = await checkpoint();
    await context.master.checkpoints.replaceOne({ _id: id }, sealCheckpoint(context.seals, before as never));
    await remove();
    expect(await sequences()).toEqual([1, 2, 3]);
    expect(await check()).toMatchObject({ valid: true, from: 1, to: 3 });
    time.now += RETENTION_MS + DAY_MS;
    await recordMany(1);
    await bring();
    await remove();
    expect(await sequences()).toEqual([4]);
    expect(await check()).toMatchObject({ valid: true, from: 4, to: 4 });
  });

  test('stay until they are old, and the next look is when the oldest is old', async () => {
    const { remove, sequences, checkpoint, time, recordMany, bring, at } = await newTenant();
    await recordMany(2);
    await bring();
    expect((await checkpoint()).oldest_at).toEqual(new Date(0));
    await remove();
    const oldest = (await at(1)).at.getTime();
    expect((await checkpoint()).oldest_at).toEqual(new Date(oldest));
    time.now = oldest + RETENTION_MS;
    await remove();
    expect(await sequences()).toEqual([1, 2, 3]);
    time.now++;
    await remove();
    expect(await sequences()).toEqual([3]);
  });

  test('the last one stays, and is looked at when another follows', async () => {
    const { remove, sequences, checkpoint, time, recordMany, bring, check } = await withOldEntries();
    time.now += RETENTION_MS;
    await remove();
    expect(await sequences()).toEqual([7]);
    expect((await checkpoint()).oldest_at).toBeNull();
    expect(await check()).toMatchObject({ valid: true, from: 7, to: 7 });
    await recordMany(1);
    await remove();
    expect(await sequences()).toEqual([7, 8]);
    await bring();
    expect((await checkpoint()).oldest_at).toEqual(new Date(0));
    await remove();
    expect(await sequences()).toEqual([8]);
    expect((await checkpoint()).oldest_at).toEqual(new Date(time.now));
    expect(await check()).toMatchObject({ valid: true, from: 8, to: 8 });
  });

  test('are removed page by page, and the checkpoint is brought up so, while a page was full', async () => {
    const { remove, sequences, checkpoint, time, recordMany, bring, check, context, id } = await newTenant();
    await recordMany(1200);
    expect([await bring(), await bring(), await bring()]).toEqual(['full', 'full', 'done']);
    expect((await checkpoint()).sequence).toBe(1201);
    time.now += 2 * RETENTION_MS;
    expect(await remove()).toBe('done');
    expect(await sequences()).toEqual([1201]);
    expect(
      context.logged.flatMap(({ event, particulars }) => (event === 'audit.removed' ? [particulars] : [])),
    ).toEqual([500, 1000, 1200].map((sequence) => ({ organization_id: id, sequence, seal: expect.any(String) })));
    expect(await check()).toMatchObject({ valid: true, from: 1201 });
  });

  test('an old one behind a young one stays with it', async () => {
    const { remove, sequences, context, organization, time, bring } = await newTenant();
    const late = await note(context, organization);
    time.now += 20 * DAY_MS;
    await recordOne(context, organization);
    await record(context, late);
    await recordOne(context, organization);
    await bring();
    time.now += RETENTION_MS - 10 * DAY_MS;
    await remove();
    expect(await sequences()).toEqual([2, 3, 4]);
  });

  test('are in no page of the log and in no page of verify, whatever the cursor', async () => {
    const { remove, check, list } = await withOldEntries();
    await remove();
    for (const cursor of [1, 3, 4, 5]) expect(await list(cursor), `cursor ${cursor}`).toEqual([[], null]);
    expect(await list(7)).toEqual([[6, 5], null]);
    for (const cursor of [0, 1, 4]) expect(await check(cursor)).toMatchObject({ valid: true, from: 5, to: 7 });
    expect(await check(6)).toMatchObject({ valid: true, from: 7, to: 7 });
    await expect(check(8)).rejects.toMatchObject({ code: 'invalid_input' });
  });

  for (const when of ['before', 'after'] as const) {
    test(`the log is valid where the instance that removes them dies ${when} any call, and another one ends it`, async () => {
      for (let call = 1; ; call++) {
        const tenant = await withOldEntries();
        const { executor, time, check, list, sequences, remove } = tenant;
        const dying = goneAt(executor, call, when);
        const found = await tenant.checkpoint();
        await removeExpiredEntries(auditInstance(dying, { time }), found).catch(() => undefined);
        expect(await check(), `call ${call}`).toMatchObject({ valid: true, to: 7 });
        const isSaid = (await tenant.checkpoint()).removed_to > 0;
        expect(await list(), `call ${call}`).toEqual([isSaid ? [7, 6, 5] : [7, 6, 5, 4, 3, 2, 1], null]);
        expect((await tenant.checkpoint()).oldest_at).not.toBeNull();
        await remove();
        expect(await sequences(), `call ${call}`).toEqual([5, 6, 7]);
        expect(await check(), `call ${call}`).toMatchObject({ valid: true, from: 5, to: 7 });
        if (dying.calls() < call) break;
      }
    });
  }

  test.each([1, 2, 3, 4])(
    'the log is valid at every moment, whoever removes, records and verifies: %i',
    async (seed) => {
      const { executor, time, organization, admin, id, sequences, recordMany, bring, remove, check } =
        await newTenant();
      await recordMany(30);
      await bring();
      const instance = (index: number) => auditInstance(shuffled(executor, seed * 100 + index), { time });
      const found = async (by: ReturnType<typeof instance>) => by.master.checkpoints.findOne({ _id: id });
      await Promise.all([
        ...[1, 2].map(async (index) => {
          const by = instance(index);
          for (let round = 0; round < 8; round++) {
            time.now += 60 * DAY_MS;
            const checkpoint = await found(by);
            if (checkpoint !== undefined) await removeExpiredEntries(by, checkpoint);
          }
        }),
        (async () => {
          const by = instance(3);
          for (let round = 0; round < 8; round++) {
            await changeAndRecord(by, organization, admin._id);
            const checkpoint = await found(by);
            if (checkpoint !== undefined) await writeDueCheckpoint(by, checkpoint);
          }
        })(),
        (async () => {
          for (let round = 0; round < 12; round++) {
            expect(await verifyAudit(instance(4), { principal: { organization } })).toMatchObject({ valid: true });
          }
        })(),
      ]);
      time.now += 2 * RETENTION_MS;
      await bring();
      await remove();
      const left = await sequences();
      expect(left).toHaveLength(1);
      expect(await check()).toMatchObject({ valid: true, from: left[0], to: left[0] });
    },
  );

  test('an admin and an organization that have not changed since are no fault, and a note that was removed is', async () => {
    const { context, organization, admin, admins, time, bring, remove, check, broken, sequences, recordMany } =
      await newTenant();
    await changeAndRecord(context, organization, admin._id);
    await recordMany(1);
    await bring();
    time.now += 2 * RETENTION_MS;
    await remove();
    expect(await sequences()).toEqual([4]);
    expect(await check()).toMatchObject({ valid: true, from: 4, to: 4 });
    const changed = await admins.findOne({ _id: admin._id });
    if (changed === undefined) throw new Error('The admin is not there.');
    await changeWithoutRecording(context, organization, changed);
    expect(await check()).toMatchObject({ valid: true, to: 4 });
    await admins.updateOne({ _id: admin._id }, { $set: { audit_pending: null, audit_due_at: null } });
    expect((await broken())?.fault).toBe('pending_altered');
  });

  test('an event of two hours after them is a fault when it is nowhere, however short the time is that entries are kept', async () => {
    const { context, organization, admin, admins, time, bring, remove, check, broken, sequences, recordMany } =
      await newTenant();
    time.now += 2 * HOUR_MS;
    await changeWithoutRecording(context, organization, admin);
    await recordMany(1);
    await bring();
    time.now += RETENTION_MS - HOUR_MS;
    await remove();
    expect(await sequences()).toEqual([2]);
    expect(await check()).toMatchObject({ valid: true, from: 2, to: 2 });
    await admins.updateOne({ _id: admin._id }, { $set: { audit_pending: null, audit_due_at: null } });
    expect((await broken())?.fault).toBe('pending_altered');
  });

  test('an event whose entry was removed is not recorded again, though its note is put back', async () => {
    const tenant = await newTenant();
    const { context, executor, organization, admin, admins, time, bring, remove, sequences, recordMany, check } =
      tenant;
    await changeWithoutRecording(context, organization, admin);
    const changed = await admins.findOne({ _id: admin._id });
    await flushPendingAudit(context, admin._id);
    await recordMany(2);
    await bring();
    time.now += 2 * RETENTION_MS;
    await remove();
    expect(await sequences()).toEqual([5]);
    for (const by of [context, auditInstance(executor, { time })]) {
      await admins.updateOne({ _id: admin._id }, { $set: { audit_pending: changed?.audit_pending as PendingAudit } });
      await flushPendingAudit(by, admin._id);
      expect(by.logged.map(({ event }) => event)).toContain('audit.note_refused');
    }
    expect(await sequences()).toEqual([5]);
    expect(await check()).toMatchObject({ valid: true, from: 5, to: 5 });
  });

  test('an event whose entry was removed after a day is not recorded again by an instance whose clock is behind', async () => {
    const { executor, time, context, organization, bring, checkpoint, sequences, recordMany } = await newTenant();
    const old = await note(context, organization);
    await record(context, old);
    await recordMany(1);
    await bring();
    time.now += DAY_MS + 1;
    const settings = { ...context.settings, auditRetentionMs: DAY_MS };
    await removeExpiredEntries({ ...context, settings }, await checkpoint());
    expect(await sequences()).toEqual([3]);
    const behind = auditInstance(executor, { time: { now: time.now - HOUR_MS } });
    expect(await record(behind, old)).toBeUndefined();
    expect(await sequences()).toEqual([3]);
  });

  test('the creation is not recorded again, though its operation is put back', async () => {
    const { executor, time, context, id, organization, bring, remove, sequences, recordMany, check } =
      await newTenant();
    const created = await note(context, organization, { event_id: id, action: 'organization.created' });
    await recordMany(2);
    await bring();
    time.now += 2 * RETENTION_MS;
    await remove();
    for (const by of [context, auditInstance(executor, { time })]) expect(await record(by, created)).toBeUndefined();
    expect(await sequences()).toEqual([3]);
    expect(await check()).toMatchObject({ valid: true, from: 3, to: 3 });
  });
});

describe('no event is recorded where entries were removed', () => {
  /** Others record, and what is old is removed: the place after what was recorded before is free again. */
  const goOn = async ({ executor, time, organization, bring, remove }: Awaited<ReturnType<typeof newTenant>>) => {
    for (let day = 0; day < 2; day++) {
      time.now += RETENTION_MS + DAY_MS;
      const other = auditInstance(executor, { time });
      await recordOne(other, organization);
      await recordOne(other, organization);
      await bring();
      await remove();
    }
  };

  test('by an instance that has not recorded for longer than entries are kept', async () => {
    const tenant = await newTenant();
    const { sequences, recordMany, check } = tenant;
    await goOn(tenant);
    expect(await sequences()).toEqual([4, 5]);
    await recordMany(2);
    expect(await sequences()).toEqual([4, 5, 6, 7]);
    expect(await check()).toMatchObject({ valid: true, from: 4, to: 7 });
  });

  test.each(['its own', 'one that another instance recorded meanwhile'])(
    'by an instance that stands still before the insert: %s',
    async (whose) => {
      const tenant = await newTenant();
      const { executor, time, organization, sequences, check } = tenant;
      const others = auditInstance(executor, { time });
      let isStill = false;
      const slow = wrapped(executor, async (command, next) => {
        if (command.op === 'insertOne' && command.collection === 'audit' && !isStill) {
          isStill = true;
          if (whose !== 'its own') await record(others, event);
          await goOn(tenant);
        }
        return next();
      });
      const instance = auditInstance(slow, { time });
      const event = await note(instance, organization);
      // The event is as old as what was removed: whether another instance recorded it, nobody can tell any more.
      expect(await record(instance, event)).toBeUndefined();
      expect(instance.logged.map(({ event }) => event)).toEqual(['audit.note_refused']);
      const before = await sequences();
      expect(before[0]).toBeGreaterThan(3);
      expect(await recordOne(instance, organization)).toMatchObject({ sequence: (before.at(-1) ?? 0) + 1 });
      expect(await check()).toMatchObject({ valid: true, from: before[0] });
    },
  );

  test('though it stands still for so long, what was recorded in a place that was free is there', async () => {
    const { executor, time, organization, sequences } = await newTenant();
    const slow = wrapped(executor, async (command, next) => {
      if (command.op === 'insertOne' && command.collection === 'audit') time.now += DAY_MS;
      return next();
    });
    expect(await recordOne(auditInstance(slow, { time }), organization)).toMatchObject({ sequence: 2 });
    expect(await sequences()).toEqual([1, 2]);
  });
});

describe('what somebody does who can write to the database is found after entries were removed', () => {
  type Tenant = Awaited<ReturnType<typeof withOldEntries>>;
  type Harm = (tenant: Tenant & { readonly before: AuditCheckpoint; readonly removed: AuditEntry }) => Promise<unknown>;
  const harms: [string, Harm, ChainCheck['broken']][] = [
    [
      'the beginning that is left removed',
      ({ audit, id }) => audit.deleteOne({ _id: entryId(id, 5) }),
      { sequence: 5, fault: 'missing' },
    ],
    [
      'more of the beginning removed',
      ({ audit, id }) => audit.deleteMany({ organization_id: id, sequence: { $lt: 7 } }),
      { sequence: 5, fault: 'missing' },
    ],
    [
      'the first entry that is left altered',
      ({ audit, id }) => audit.updateOne({ _id: entryId(id, 5) }, { $set: { actor: 'somebody else' } }),
      { sequence: 5, fault: 'altered' },
    ],
    [
      'an older entry in the place of the first',
      async ({ audit, id, removed }) => {
        await audit.deleteOne({ _id: entryId(id, 5) });
        await audit.insertOne({ ...removed, _id: entryId(id, 5) });
      },
      { sequence: 5, fault: 'moved' },
    ],
    [
      'the first entry that is left forged',
      async ({ audit, id, at, organization, executor }) => {
        const forger = auditInstance(executor, { secrets: ['a secret of the forger, of 32 bytes or more'] });
        const { key: _key, seal: _seal, ...first } = await at(5);
        expect(first.organization_id).toBe(organization._id);
        await audit.replaceOne({ _id: entryId(id, 5) }, sealEntry(forger.seals, { ...first, actor: 'somebody else' }));
      },
      { sequence: 5, fault: 'altered' },
    ],
    [
      'the checkpoint’s removed_to raised, and the entries up to there removed',
      async ({ audit, checkpoints, id, at }) => {
        const { seal } = await at(6);
        await checkpoints.updateOne({ _id: id }, { $set: { removed_to: 6, removed_entry: seal } });
        await audit.deleteMany({ organization_id: id, sequence: { $lte: 6 } });
      },
      { sequence: 1, fault: 'missing' },
    ],
    [
      'the checkpoint of before put back',
      ({ checkpoints, id, before }) => checkpoints.replaceOne({ _id: id }, before),
      { sequence: 1, fault: 'missing' },
    ],
    [
      'the checkpoint removed',
      ({ checkpoints, id }) => checkpoints.deleteOne({ _id: id }),
      { sequence: 1, fault: 'missing' },
    ],
    [
      'the whole log removed',
      ({ audit, id }) => audit.deleteMany({ organization_id: id }),
      { sequence: 5, fault: 'truncated' },
    ],
    [
      'the end cut off',
      ({ audit, id }) => audit.deleteOne({ _id: entryId(id, 7) }),
      { sequence: 7, fault: 'truncated' },
    ],
  ];

  test.each(harms)('%s: then, and with all that the service does since', async (_name, harm, fault) => {
    for (const who of ['running', 'restarted']) {
      const tenant = await withOldEntries();
      const { remove, broken, executor, time, context, organization, checkpoints, id, at } = tenant;
      const before = await tenant.checkpoint();
      const removed = await at(2);
      await remove();
      await harm({ ...tenant, before, removed });
      expect(await broken()).toEqual(fault);
      const by = who === 'running' ? context : auditInstance(executor, { time });
      const look = async () => {
        const checkpoint = await checkpoints.findOne({ _id: id });
        if (checkpoint === undefined) return;
        await writeDueCheckpoint(by, checkpoint);
        await removeExpiredEntries(by, (await checkpoints.findOne({ _id: id })) ?? checkpoint);
      };
      for (let events = 0; events < 10; events++) await recordOne(by, organization);
      for (let looks = 0; looks < 3; looks++) await look();
      expect(await broken(), who).not.toBeNull();
      time.now += 2 * RETENTION_MS;
      for (let looks = 0; looks < 3; looks++) await look();
      expect(await broken(), who).not.toBeNull();
    }
  });

  test('an entry that was altered stays, with all that follow, and the service says so', async () => {
    const { audit, id, remove, sequences, refused, broken, checkpoint } = await withOldEntries();
    await audit.updateOne({ _id: entryId(id, 3) }, { $set: { at: new Date(0) } });
    await remove();
    expect(await sequences()).toEqual([3, 4, 5, 6, 7]);
    expect(refused()).toBe(1);
    expect((await checkpoint()).oldest_at).toBeNull();
    expect(await broken()).toEqual({ sequence: 3, fault: 'altered' });
  });

  test('a checkpoint that was altered removes nothing', async () => {
    const { checkpoints, id, remove, sequences, refused } = await withOldEntries();
    await checkpoints.updateOne({ _id: id }, { $set: { removed_to: 6 } });
    await remove();
    expect(await sequences()).toHaveLength(7);
    expect(refused()).toBe(1);
  });

  test('a removed entry that is put back in its place is not listed, not checked, and removed again', async () => {
    const { audit, id, at, remove, list, check, sequences, time, checkpoint, checkpoints } = await withOldEntries();
    const old = await at(2);
    await remove();
    await audit.insertOne(old);
    expect(await list()).toEqual([[7, 6, 5], null]);
    expect(await check()).toMatchObject({ valid: true, from: 5 });
    time.now += DAY_MS;
    await checkpoints.updateOne({ _id: id }, { $set: { oldest_at: new Date(0) } });
    await remove();
    expect(await sequences()).toEqual([5, 6, 7]);
    expect((await checkpoint()).removed_to).toBe(4);
  });
});
