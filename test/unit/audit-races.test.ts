import { describe, expect, test } from 'vitest';
import { writeDueCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import { verifyAudit } from '../../src/domain/audit/verify.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import {
  auditInstance,
  beginMembership,
  changeAndRecord,
  commitOrganization,
  finishMembership,
  insertAdmin,
  prepareAuditStore,
  recordOne,
  shuffled,
} from '../support/audit-world.ts';

/** Events of each writer. */
const EVENTS = 8;

describe('an honest log is valid at every moment, whoever writes', () => {
  test.each([1, 2, 3, 4, 5, 6])('interleaving %i', async (seed) => {
    let checks = 0;
    const executor = createSqliteExecutor(openSqliteFile(':memory:'));
    await prepareAuditStore(executor);
    const time = { now: Date.now() };
    const first = auditInstance(executor, { time });
    const organization = await commitOrganization(first);
    const id = organization._id;
    const admins = await Promise.all([1, 2, 3].map(() => insertAdmin(first, organization, {})));
    const instance = (index: number) => auditInstance(shuffled(executor, seed * 100 + index), { time });
    const repeat = async (times: number, work: () => Promise<unknown>) => {
      for (let count = 0; count < times; count++) await work();
    };

    let writing = true;
    const writers = Promise.all([
      ...[1, 2].map((index) => repeat(EVENTS, () => recordOne(instance(index), organization))),
      ...admins.flatMap(({ _id }, index) => [
        repeat(EVENTS, () => changeAndRecord(instance(10 + index), organization, _id)),
        repeat(EVENTS, async () => {
          const own = instance(20 + index);
          const operation = await beginMembership(own, id, _id);
          if (operation !== undefined) await finishMembership(own, id, operation);
        }),
      ]),
      // The creation's own operation ends while others write already.
      (async () => {
        const own = instance(30);
        await recordOne(own, organization);
        await own.master.organizations.updateOne({ _id: id, 'operation.id': id }, { $set: { operation: null } });
      })(),
      repeat(EVENTS, async () => {
        time.now += 60_001;
        const own = instance(40);
        const checkpoint = await own.master.checkpoints.findOne({ _id: id });
        if (checkpoint !== undefined) await writeDueCheckpoint(own, checkpoint);
      }),
    ]).finally(() => {
      writing = false;
    });
    const verifiers = [50, 51, 52].map(async (index) => {
      while (writing) {
        const found = await verifyAudit(instance(index), { principal: { organization } });
        expect(found).toMatchObject({ valid: true, broken: null });
        checks++;
      }
    });
    await Promise.all([writers, ...verifiers]);
    expect(await verifyAudit(first, { principal: { organization } })).toMatchObject({ valid: true });
    await executor.close();
    expect(checks).toBeGreaterThan(1);
  });
});
