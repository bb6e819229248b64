import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { writeDueCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import { flushPendingAudit } from '../../src/domain/audit/pending.ts';
import { record } from '../../src/domain/audit/record.ts';
import { checkChain } from '../../src/domain/audit/verify.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { AuditInstance } from '../support/audit-world.ts';
import {
  auditInstance,
  changeAndRecord,
  changeWithoutRecording,
  goneAt,
  newOrganization,
  note,
  prepareAuditStore,
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

    test('finds an end that was cut off before the checkpoint', async () => {
      const { organization } = await newOrganization(context);
      const { audit, checkpoints } = context.master;
      const id = organization._id;
      await recordOne(context, organization);
      const checkpoint = await checkpoints.findOne({ _id: id });
      if (checkpoint === undefined) throw new Error('There is no checkpoint.');
      await writeDueCheckpoint(context, checkpoint);
      expect(await check(id)).toMatchObject({ valid: true, to: 2 });
      await audit.deleteOne({ organization_id: id, sequence: 2 });
      expect((await check(id)).broken).toEqual({ sequence: 2, fault: 'truncated' });
    });
  });
}
