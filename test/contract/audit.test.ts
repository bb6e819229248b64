import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { writeDueCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import { flushPendingAudit, withPendingAudit } from '../../src/domain/audit/pending.ts';
import { record } from '../../src/domain/audit/record.ts';
import { removeExpiredEntries } from '../../src/domain/audit/retention.ts';
import type { AuditNote } from '../../src/domain/audit/schema.ts';
import { entryId } from '../../src/domain/audit/schema.ts';
import type { ChainCheck } from '../../src/domain/audit/verify.ts';
import { checkChain, verifyAudit } from '../../src/domain/audit/verify.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { AuditInstance } from '../support/audit-world.ts';
import {
  auditInstance,
  changeAndRecord,
  changeWithoutRecording,
  DAY_MS,
  entryAt,
  goneAt,
  insertAdmin,
  newOrganization,
  note,
  prepareAuditStore,
  RETENTION_MS,
  recordOne,
} from '../support/audit-world.ts';

const EVENTS = 100;
const INSTANCES = 4;

const secantusUri = inject('secantusUri');

/** The log's own promises, on every store: its chain rests on what a store refuses. */
const stores: [string, (() => Executor) | undefined][] = [
  ['SQLite', () => createSqliteExecutor(openSqliteFile(':memory:'))],
  [
    'SecantusDB',
    secantusUri === undefined ? undefined : () => createMongoExecutor({ uri: secantusUri, timeoutMs: 10_000 }),
  ],
];

/** Entries of the log that is tampered with; its checkpoint names the last one. */
const LENGTH = 5;

/** A tenant with a log, a checkpoint at its end, and a change of the admin whose notes wait. */
async function tamperedTenant(context: AuditInstance, executor: Executor) {
  const { organization, admin } = await newOrganization(context);
  const { audit, admins, checkpoints } = context.master;
  const id = organization._id;
  for (let length = 1; length < LENGTH; length++) await recordOne(context, organization);
  const earlier = await checkpoints.findOne({ _id: id });
  if (earlier === undefined) throw new Error('There is no checkpoint.');
  await writeDueCheckpoint(context, earlier);
  await changeWithoutRecording(context, organization, admin);
  const pending = (await admins.findOne({ _id: admin._id }))?.audit_pending;
  const [first, second] = pending?.notes ?? [];
  if (!pending || first === undefined || second === undefined) throw new Error('Nothing waits.');
  const setNotes = (notes: readonly AuditNote[]) =>
    admins.updateOne({ _id: admin._id }, { $set: { audit_pending: { ...pending, notes } } });
  const at = (sequence: number) => entryAt(context, id, sequence);
  const remove = (sequence: number) => audit.deleteOne({ _id: entryId(id, sequence) });
  return {
    context,
    executor,
    organization,
    admin,
    id,
    audit,
    admins,
    checkpoints,
    first,
    second,
    setNotes,
    at,
    remove,
    earlier,
  };
}

type Tampered = Awaited<ReturnType<typeof tamperedTenant>>;

/** The id of an event that never was. */
const forgedEvent = (organizationId: string) => `${organizationId}:forged`;

/** What somebody does who can write to the database and does not have the secret. */
const HARMS: readonly {
  readonly name: string;
  readonly harm: (tenant: Tampered) => Promise<unknown>;
  readonly broken: ChainCheck['broken'];
}[] = [
  {
    name: 'an entry added',
    harm: async ({ audit, at, id }) => {
      const last = await at(LENGTH);
      const place = { _id: entryId(id, LENGTH + 1), sequence: LENGTH + 1, previous: last.seal };
      await audit.insertOne({ ...last, ...place, event_id: `${id}:added` });
    },
    broken: { sequence: LENGTH + 1, fault: 'altered' },
  },
  {
    name: 'an entry changed',
    harm: ({ audit, id }) => audit.updateOne({ _id: entryId(id, 3) }, { $set: { actor: 'somebody else' } }),
    broken: { sequence: 3, fault: 'altered' },
  },
  {
    name: 'an entry changed: its time replaced by an object that holds it',
    harm: async ({ audit, id, at }) => {
      const time = { time: (await at(3)).at.getTime() } as unknown as Date;
      await audit.updateOne({ _id: entryId(id, 3) }, { $set: { at: time } });
    },
    broken: { sequence: 3, fault: 'altered' },
  },
  {
    name: 'an entry removed',
    harm: ({ remove }) => remove(3),
    broken: { sequence: 3, fault: 'missing' },
  },
  {
    name: 'an entry moved',
    harm: async ({ audit, at, remove }) => {
      const [one, other] = [await at(2), await at(4)];
      await remove(2);
      await remove(4);
      await audit.insertOne({ ...one, _id: other._id });
      await audit.insertOne({ ...other, _id: one._id });
    },
    broken: { sequence: 2, fault: 'moved' },
  },
  {
    name: 'a waiting note added',
    harm: async ({ context, organization, first, second, setNotes }) =>
      setNotes([first, second, await note(context, organization)]),
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'a waiting note changed',
    harm: ({ first, second, setNotes }) => setNotes([{ ...first, actor: 'somebody else' }, second]),
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'a waiting note removed',
    harm: ({ first, setNotes }) => setNotes([first]),
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'the end cut off before the last checkpoint',
    harm: ({ audit, id }) => audit.deleteMany({ organization_id: id, sequence: { $gte: 3 } }),
    broken: { sequence: 3, fault: 'truncated' },
  },
  {
    name: 'the whole log removed',
    harm: ({ audit, id }) => audit.deleteMany({ organization_id: id }),
    broken: { sequence: 1, fault: 'truncated' },
  },
  {
    name: 'the whole log removed, and its checkpoint',
    harm: async ({ audit, checkpoints, id }) => {
      await audit.deleteMany({ organization_id: id });
      await checkpoints.deleteOne({ _id: id });
    },
    broken: { sequence: 1, fault: 'checkpoint_lost' },
  },
  {
    name: 'the whole log removed, and its first checkpoint put back',
    harm: async ({ audit, checkpoints, id, earlier }) => {
      await audit.deleteMany({ organization_id: id });
      await checkpoints.replaceOne({ _id: id }, earlier);
    },
    broken: { sequence: 1, fault: 'missing' },
  },
  {
    name: 'everything of the log removed, in every collection',
    harm: async ({ audit, checkpoints, admins, admin, context, id }) => {
      await audit.deleteMany({ organization_id: id });
      await checkpoints.deleteOne({ _id: id });
      await context.master.signInFailures.deleteMany({ organization_id: id });
      const nothing = { audit_pending: null, audit_due_at: null, changed_by: id };
      await admins.updateOne({ _id: admin._id }, { $set: nothing });
      await context.master.organizations.updateOne({ _id: id }, { $set: { changed_by: id, operation: null } });
    },
    broken: { sequence: 1, fault: 'checkpoint_lost' },
  },
  {
    name: 'the whole log removed but for the creation',
    harm: ({ audit, id }) => audit.deleteMany({ organization_id: id, sequence: { $gt: 1 } }),
    broken: { sequence: 2, fault: 'truncated' },
  },
  {
    name: 'notes put on an admin, sealed by a forger',
    harm: async ({ executor, organization, admin, admins, first, second, setNotes }) => {
      const forger = auditInstance(executor, { secrets: ['a secret of the forger, of 32 bytes or more'] });
      const forged = await note(forger, organization, {
        event_id: forgedEvent(organization._id),
        action: 'admin.removed',
      });
      await admins.updateOne({ _id: admin._id }, { $set: withPendingAudit(forger, admin, [forged]) });
      expect((await admins.findOne({ _id: admin._id }))?.audit_pending?.notes).toHaveLength(1);
      await setNotes([first, second, forged, { ...forged, key: first.key }]);
    },
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'the service’s note of an event that never was, put on an admin',
    harm: async ({ context, organization, setNotes }) =>
      // As that of an operation that was rolled back.
      setNotes([
        await note(context, organization, { event_id: forgedEvent(organization._id), action: 'organization.renamed' }),
      ]),
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'the waiting notes of an admin of another organization, put on an admin',
    harm: async ({ context, admins, admin }) => {
      const other = await newOrganization(context);
      await changeWithoutRecording(context, other.organization, other.admin);
      const foreign = await admins.findOne({ _id: other.admin._id });
      const { audit_pending = null } = foreign ?? {};
      await admins.updateOne({ _id: admin._id }, { $set: { audit_pending } });
    },
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'the waiting notes of another admin, put on an admin',
    harm: async ({ context, organization, admins, admin }) => {
      const other = await insertAdmin(context, organization, {});
      await changeWithoutRecording(context, organization, other);
      const { audit_pending = null } = (await admins.findOne({ _id: other._id })) ?? {};
      await admins.updateOne({ _id: admin._id }, { $set: { audit_pending } });
    },
    broken: { sequence: LENGTH + 1, fault: 'pending_altered' },
  },
  {
    name: 'a second beginning',
    harm: async ({ context, organization, audit, checkpoints, id }) => {
      await audit.deleteMany({ organization_id: id });
      await checkpoints.deleteOne({ _id: id });
      context.auditTails.clear();
      for (let length = 0; length < LENGTH; length++) await recordOne(context, organization);
    },
    broken: { sequence: 1, fault: 'second_beginning' },
  },
];

for (const [name, open] of stores) {
  describe.skipIf(open === undefined)(`the audit log on ${name}`, () => {
    const database = `audit_${randomBytes(6).toString('hex')}`;
    let executor: Executor;
    let context: AuditInstance;

    beforeAll(async () => {
      if (open === undefined) throw new Error('There is no store.');
      executor = open();
      context = auditInstance(executor, { database });
      await prepareAuditStore(executor, database);
    });
    afterAll(async () => {
      await context.master.database.drop();
      await executor.close();
    });

    // Writers that are in each other's way wait in truth: a server takes time.
    const instance = (other = executor) => ({ ...auditInstance(other, { database }), wait: (ms: number) => wait(ms) });
    const check = (id: string) => checkChain(context, id, 0);

    test(`${EVENTS} events at once from ${INSTANCES} instances, each recorded twice, make one chain with each once`, async () => {
      const { organization } = await newOrganization(context);
      const instances = Array.from({ length: INSTANCES }, () => instance());
      const notes = await Promise.all(Array.from({ length: EVENTS / 2 }, () => note(context, organization)));
      const entries = await Promise.all(
        [...notes, ...notes].map((event, index) => record(instances[index % INSTANCES] ?? context, event)),
      );
      expect(new Set(entries.map((entry) => entry?._id)).size).toBe(notes.length);
      expect(await check(organization._id)).toMatchObject({ valid: true, to: notes.length + 1 });
    });

    for (const when of ['before', 'after'] as const) {
      test(`is valid, with each event once, where the instance that records it dies ${when} any call`, async () => {
        const { organization } = await newOrganization(context);
        for (let call = 1, length = 1; ; call++) {
          const dying = goneAt(executor, call, when);
          const event = await note(context, organization);
          await record(instance(dying), event).catch(() => undefined);
          expect(await check(organization._id), `call ${call}`).toMatchObject({ valid: true });
          await recordOne(context, organization);
          await record(context, event);
          length += 2;
          expect(await check(organization._id), `call ${call}`).toMatchObject({ valid: true, to: length });
          if (dying.calls() < call) break;
        }
      });
    }

    test('keeps what waits as it was sealed, and finds what was changed of it', async () => {
      const { organization, admin } = await newOrganization(context);
      const id = organization._id;
      await changeWithoutRecording(context, organization, admin);
      expect(await check(id)).toMatchObject({ valid: true, to: 1 });
      await changeAndRecord(context, organization, admin._id);
      expect(await check(id)).toMatchObject({ valid: true, to: 5 });
      const changed = await context.master.admins.findOne({ _id: admin._id });
      if (changed === undefined) throw new Error('The admin is not there.');
      await changeWithoutRecording(context, organization, changed);
      await context.master.admins.updateOne({ _id: admin._id }, { $set: { 'audit_pending.notes': [] } });
      expect((await check(id)).broken).toEqual({ sequence: 6, fault: 'pending_altered' });
      await flushPendingAudit(context, admin._id);
      expect((await check(id)).broken).toEqual({ sequence: 6, fault: 'pending_altered' });
    });

    test.each(HARMS)('verify finds: $name', async ({ harm, broken }) => {
      const tenant = await tamperedTenant(context, executor);
      const { organization } = tenant;
      expect(await verifyAudit(context, { principal: { organization } })).toMatchObject({ valid: true, to: LENGTH });
      await harm(tenant);
      const found = await verifyAudit(context, { principal: { organization } });
      expect(found).toMatchObject({ valid: false, broken });
    });

    // What the service does with it is the same on every store: one of them has all the harms.
    const lasting = name === 'SQLite' ? HARMS : HARMS.filter((harm) => harm.name.startsWith('the whole log'));
    describe.each(['runs on', 'is restarted'])(
      'where the service %s, and records, flushes, checkpoints and removes',
      (how) => {
        test.each(lasting)('verify finds still: $name', async ({ harm }) => {
          const time = { now: Date.now() };
          const running = auditInstance(executor, { database, time });
          const tenant = await tamperedTenant(running, executor);
          const { organization, admin, checkpoints, id } = tenant;
          await harm(tenant);
          const service = how === 'runs on' ? running : auditInstance(executor, { database, time });
          const dueWork = async () => {
            for (const work of [writeDueCheckpoint, removeExpiredEntries]) {
              const checkpoint = await checkpoints.findOne({ _id: id });
              if (checkpoint !== undefined) await work(service, checkpoint);
            }
          };
          const isFound = async () => expect(await check(id)).toMatchObject({ valid: false });
          await flushPendingAudit(service, admin._id);
          for (let events = 0; events < 2 * LENGTH; events++) await recordOne(service, organization);
          for (let rounds = 0; rounds < 3; rounds++) await dueWork();
          await isFound();
          time.now += RETENTION_MS + DAY_MS;
          for (let rounds = 0; rounds < 3; rounds++) await dueWork();
          await isFound();
          expect(await running.master.audit.count({ event_id: forgedEvent(id) })).toBe(0);
        });
      },
    );

    test('notes that were recorded are not recorded again, though somebody puts them back', async () => {
      const { organization, admin } = await newOrganization(context);
      const { admins, audit } = context.master;
      await changeWithoutRecording(context, organization, admin);
      const { audit_pending = null } = (await admins.findOne({ _id: admin._id })) ?? {};
      for (const service of [context, instance(), context]) {
        await admins.updateOne({ _id: admin._id }, { $set: { audit_pending } });
        await flushPendingAudit(service, admin._id);
        expect(await audit.count({ organization_id: organization._id })).toBe(3);
        expect(await check(organization._id)).toMatchObject({ valid: true, to: 3 });
      }
    });

    test('old entries are removed behind the checkpoint', async () => {
      const time = { now: Date.now() };
      const service = auditInstance(executor, { database, time });
      const { organization } = await newOrganization(service);
      const id = organization._id;
      for (let events = 0; events < LENGTH; events++) await recordOne(service, organization);
      time.now += RETENTION_MS + DAY_MS;
      await recordOne(service, organization);
      for (const work of [writeDueCheckpoint, removeExpiredEntries]) {
        const checkpoint = await service.master.checkpoints.findOne({ _id: id });
        if (checkpoint !== undefined) await work(service, checkpoint);
      }
      expect(await service.master.audit.count({ organization_id: id })).toBe(1);
      expect(await check(id)).toMatchObject({ valid: true, from: LENGTH + 2, to: LENGTH + 2 });
      await service.master.audit.deleteOne({ _id: entryId(id, LENGTH + 2) });
      expect((await check(id)).broken).toEqual({ sequence: LENGTH + 2, fault: 'truncated' });
    });
  });
}
