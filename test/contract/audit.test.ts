import { randomBytes } from 'node:crypto';
import { describe, expect, inject, test } from 'vitest';
import { noteOf } from '../../src/domain/audit/event.ts';
import { record } from '../../src/domain/audit/record.ts';
import { verifyAudit } from '../../src/domain/audit/verify.ts';
import type { Context } from '../../src/domain/context.ts';
import type { Principal } from '../../src/domain/session/authenticate.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../../src/store/mongo.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { createInstance, goneAt, ownerOf } from '../support/instance.ts';

const EVENTS = 200;
const INSTANCES = 4;

const mongo = (uri: string | undefined) =>
  uri === undefined ? undefined : () => createMongoExecutor({ uri, timeoutMs: 10_000 });

/** The promises of the log, on every store: its chain rests on what a store refuses. */
for (const [name, open] of [
  ['SQLite', () => createSqliteExecutor(openSqliteFile(':memory:'))],
  ['SecantusDB', mongo(inject('secantusUri'))],
] as const) {
  describe.skipIf(open === undefined)(`the audit log on ${name}`, () => {
    const withTenant = async (
      work: (tenant: { owner: Principal; open: (executor?: Executor) => Context; executor: Executor }) => Promise<void>,
    ) => {
      const executor = open?.();
      if (executor === undefined) throw new Error('There is no store.');
      const env = { MASTER_DB: `audit_${randomBytes(6).toString('hex')}` };
      const first = createInstance(executor, env);
      try {
        await first.prepare();
        const owner = await ownerOf(first.context, 'TestCo');
        await work({ executor, owner, open: (other = executor) => createInstance(other, env).context });
      } finally {
        await first.context.master.database.drop();
        await executor.close();
      }
    };

    const recordOne = (context: Context, { organization, admin }: Principal, eventId: string) => {
      const note = noteOf(context, 'session.signed_in', { actor: admin._id, target: admin._id });
      return record(context, organization._id, eventId, note);
    };

    test(`${EVENTS} events at once from ${INSTANCES} instances, each recorded twice, make one chain with each once`, async () => {
      await withTenant(async ({ owner, open: instance }) => {
        const contexts = Array.from({ length: INSTANCES }, () => instance());
        const events = Array.from({ length: EVENTS / 2 }, (_, index) => `event-${index}`);
        const entries = await Promise.all(
          [...events, ...events].map((event, index) =>
            recordOne(contexts[index % INSTANCES] ?? instance(), owner, event),
          ),
        );
        expect(new Set(entries.map(({ _id }) => _id)).size).toBe(events.length);
        expect(await verifyAudit(instance(), owner, {})).toMatchObject({ whole: true, to: events.length + 1 });
      });
    });

    test('is whole, with each event once, wherever the one who recorded it died', async () => {
      await withTenant(async ({ executor, owner, open: instance }) => {
        let length = 1;
        for (const when of ['before', 'after'] as const) {
          for (let call = 1; ; call++) {
            const dying = goneAt(executor, call, when);
            const event = `${when} ${call}`;
            await recordOne(instance(dying), owner, event).catch(() => undefined);
            expect(await verifyAudit(instance(), owner, {}), event).toMatchObject({ whole: true, broken: null });
            await recordOne(instance(), owner, `after ${event}`);
            await recordOne(instance(), owner, event);
            length += 2;
            expect(await verifyAudit(instance(), owner, {}), event).toMatchObject({ whole: true, to: length });
            if (dying.calls() < call) break;
          }
        }
      });
    });
  });
}
