import { describe, expect, test } from 'vitest';
import type { AuditEntry, AuditHead } from '../../src/domain/audit/chain.ts';
import { entryId } from '../../src/domain/audit/chain.ts';
import { noteOf } from '../../src/domain/audit/event.ts';
import { record } from '../../src/domain/audit/record.ts';
import { verifyAudit } from '../../src/domain/audit/verify.ts';
import type { Context } from '../../src/domain/context.ts';
import type { Principal } from '../../src/domain/session/authenticate.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { createInstance, goneAt, ownerOf, shuffled } from '../support/instance.ts';

const SECOND_SECRET = 'another secret for tests only: 32 bytes and more';

const newStore = () => createSqliteExecutor(openSqliteFile(':memory:'));

async function newTenant(executor: Executor = newStore(), env: Readonly<Record<string, string>> = {}) {
  const services = createInstance(executor, env);
  await services.prepare();
  return { executor, services, context: services.context, owner: await ownerOf(services.context, 'TestCo') };
}

const recordOne = (context: Context, { organization, admin }: Principal, eventId = context.newId()) =>
  record(
    context,
    organization._id,
    eventId,
    noteOf(context, 'session.signed_in', { actor: admin._id, target: admin._id }),
  );

/** A tenant with a chain of so many entries. */
async function withChain(length: number) {
  const tenant = await newTenant();
  for (let entries = 1; entries < length; entries++) await recordOne(tenant.context, tenant.owner);
  const id = tenant.owner.organization._id;
  const { audit, audit_heads } = tenant.context.master;
  const at = async (sequence: number): Promise<AuditEntry> => {
    const entry = await audit.findOne({ _id: entryId(id, sequence) });
    if (entry === undefined) throw new Error(`There is no entry ${sequence}.`);
    return entry;
  };
  const head = async (): Promise<AuditHead> => {
    const found = await audit_heads.findOne({ _id: id });
    if (found === undefined) throw new Error('There is no head.');
    return found;
  };
  const remove = (sequence: number) => audit.deleteOne({ _id: entryId(id, sequence) });
  return {
    ...tenant,
    id,
    audit,
    audit_heads,
    at,
    head,
    remove,
    check: () => verifyAudit(tenant.context, tenant.owner, {}),
  };
}

const entriesOf = ({ master }: Context, organizationId: string): Promise<AuditEntry[]> =>
  master.audit.find({ organization_id: organizationId }, { sort: { _id: 1 } });

describe('the chain', () => {
  test('200 events at once, from four instances, make one unbroken chain', async () => {
    const { executor, context, owner } = await newTenant();
    const instances = [1, 2, 3, 4].map((seed) => createInstance(shuffled(executor, seed)));
    await Promise.all(
      Array.from({ length: 200 }, (_, index) => recordOne(instances[index % 4]?.context ?? context, owner)),
    );
    const entries = await entriesOf(context, owner.organization._id);
    expect(entries.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 201 }, (_, index) => index + 1));
    expect(await verifyAudit(context, owner, {})).toMatchObject({ whole: true, from: 1, to: 201, broken: null });
  });

  test('an event that is recorded by twenty at once is there once', async () => {
    const { executor, context, owner } = await newTenant();
    const eventId = context.newId();
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, seed) =>
        recordOne(createInstance(shuffled(executor, seed)).context, owner, eventId),
      ),
    );
    expect(new Set(all.map(({ _id }) => _id)).size).toBe(1);
    expect(await verifyAudit(context, owner, {})).toMatchObject({ whole: true, to: 2 });
  });

  test('is whole, and has an event once, wherever the one who recorded it died', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const { executor, context, owner } = await newTenant();
        const dying = goneAt(executor, call, when);
        const eventId = context.newId();
        const died = await recordOne(createInstance(dying).context, owner, eventId).then(
          () => false,
          () => true,
        );
        expect(await verifyAudit(context, owner, {}), `${when} ${call}`).toMatchObject({ whole: true, broken: null });
        await recordOne(context, owner);
        await recordOne(context, owner, eventId);
        await recordOne(context, owner);
        expect(await verifyAudit(context, owner, {}), `${when} ${call}`).toMatchObject({ whole: true, to: 4 });
        if (!died) break;
      }
    }
  });

  test('is checked in pages', async () => {
    const { context, owner, at, remove } = await withChain(1100);
    const pages = async () => {
      const found = [];
      let cursor: number | undefined;
      for (;;) {
        const page = await verifyAudit(context, owner, { cursor });
        found.push([page.whole, page.from, page.to, page.broken]);
        if (page.next_cursor === null) return found;
        cursor = Number(page.next_cursor);
      }
    };
    expect(await pages()).toEqual([
      [true, 1, 500, null],
      [true, 501, 1000, null],
      [true, 1001, 1100, null],
    ]);
    const { previous: _, ...rest } = await at(501);
    await context.master.audit.replaceOne({ _id: rest._id }, { ...rest, previous: 'f'.repeat(64) });
    expect((await pages()).at(-1)).toEqual([false, 501, 500, { sequence: 501, fault: 'altered' }]);
    await remove(500);
    expect((await pages()).at(-1)).toEqual([false, 1, 499, { sequence: 500, fault: 'missing' }]);
  });

  test('goes on under another key, with the entries under the old one still checked', async () => {
    const executor = newStore();
    const { owner } = await newTenant(executor, { AUDIT_SECRET: SECOND_SECRET });
    const first = 'the newest secret for tests only: 32 bytes and more';
    const rotated = createInstance(executor, { AUDIT_SECRET: `${first}, ${SECOND_SECRET}` }).context;
    await recordOne(rotated, owner);
    expect(await verifyAudit(rotated, owner, {})).toMatchObject({ whole: true, to: 2 });
    const without = createInstance(executor, { AUDIT_SECRET: first }).context;
    expect((await verifyAudit(without, owner, {})).broken).toEqual({ sequence: 1, fault: 'altered' });
  });
});

describe('tampering in the database is found', () => {
  const LENGTH = 6;
  const positions = Array.from({ length: LENGTH }, (_, index) => index + 1);

  test('an entry removed, at any place', async () => {
    for (const position of positions) {
      const { remove, check } = await withChain(LENGTH);
      await remove(position);
      const fault = position === LENGTH ? 'truncated' : 'missing';
      expect((await check()).broken).toEqual({ sequence: position, fault });
    }
  });

  test('the end cut off, from any place', async () => {
    for (const position of positions) {
      const { remove, check } = await withChain(LENGTH);
      for (let sequence = position; sequence <= LENGTH; sequence++) await remove(sequence);
      expect((await check()).broken).toEqual({ sequence: position, fault: 'truncated' });
    }
  });

  test('any field of any entry altered, removed, or added', async () => {
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
    for (const position of positions) {
      const { audit, at, check } = await withChain(LENGTH);
      const entry = await at(position);
      for (const [field, value] of Object.entries(changes)) {
        await audit.updateOne({ _id: entry._id }, { $set: { [field]: value } });
        expect((await check()).broken, `${field} of ${position}`).toEqual({ sequence: position, fault: 'altered' });
        await audit.replaceOne({ _id: entry._id }, entry);
        if (field === 'added') continue;
        await audit.updateOne({ _id: entry._id }, { $unset: { [field]: true } });
        expect((await check()).broken, `no ${field} in ${position}`).toMatchObject({ sequence: position });
        await audit.replaceOne({ _id: entry._id }, entry);
      }
      // A text in the place of a time, which looks the same where it is sealed.
      await audit.updateOne({ _id: entry._id }, { $set: { at: entry.at.toISOString() } });
      expect((await check()).broken).toEqual({ sequence: position, fault: 'altered' });
      await audit.replaceOne({ _id: entry._id }, entry);
      expect((await check()).whole).toBe(true);
    }
  });

  test('any two entries exchanged', async () => {
    for (const one of positions) {
      for (const other of positions.filter((position) => position > one)) {
        const { audit, at, remove, check } = await withChain(LENGTH);
        const [first, second] = [await at(one), await at(other)];
        await remove(one);
        await remove(other);
        await audit.insertOne({ ...first, _id: second._id });
        await audit.insertOne({ ...second, _id: first._id });
        expect((await check()).broken).toEqual({ sequence: one, fault: 'moved' });
      }
    }
  });

  test('an entry put in, after any other', async () => {
    for (const position of positions) {
      const { audit, at, remove, check } = await withChain(LENGTH);
      for (let sequence = LENGTH; sequence > position; sequence--) {
        const entry = await at(sequence);
        await remove(sequence);
        await audit.insertOne({ ...entry, _id: entryId(entry.organization_id, sequence + 1), sequence: sequence + 1 });
      }
      const model = await at(position);
      const _id = entryId(model.organization_id, position + 1);
      const forged = { ...model, _id, sequence: position + 1, event_id: 'forged', previous: model.seal };
      await audit.insertOne(forged);
      expect((await check()).broken).toEqual({ sequence: position + 1, fault: 'altered' });
    }
  });

  test('an entry under an id that none has', async () => {
    const { id, audit, at, check } = await withChain(LENGTH);
    await audit.insertOne({ ...(await at(3)), _id: `${entryId(id, 3)}a`, event_id: 'forged' });
    expect((await check()).broken).toEqual({ sequence: 4, fault: 'altered' });
  });

  test('the whole chain removed, with its head or without', async () => {
    const { id, audit, audit_heads, check, context, owner } = await withChain(LENGTH);
    await audit.deleteMany({ organization_id: id });
    expect((await check()).broken).toEqual({ sequence: 1, fault: 'truncated' });
    await audit_heads.deleteOne({ _id: id });
    expect((await check()).broken).toEqual({ sequence: 1, fault: 'missing' });
    await recordOne(context, owner);
    expect((await check()).broken).toEqual({ sequence: 1, fault: 'head_lost' });
  });

  test('the head removed, altered, or put back, and what was written after it', async () => {
    const harms: [string, (chain: Awaited<ReturnType<typeof withChain>>, early: AuditHead) => Promise<unknown>][] = [
      ['removed', ({ id, audit_heads }) => audit_heads.deleteOne({ _id: id })],
      ['further', ({ id, audit_heads }) => audit_heads.updateOne({ _id: id }, { $set: { sequence: 999 } })],
      ['nearer', ({ id, audit_heads }) => audit_heads.updateOne({ _id: id }, { $set: { sequence: 2 } })],
      ['of no form', ({ id, audit_heads }) => audit_heads.replaceOne({ _id: id }, { _id: id } as AuditHead)],
      ['put back', ({ id, audit_heads }, early) => audit_heads.replaceOne({ _id: id }, early)],
    ];
    for (const [name, harm] of harms) {
      const chain = await withChain(3);
      const early = await chain.head();
      for (let entries = 3; entries < LENGTH; entries++) await recordOne(chain.context, chain.owner);
      await harm(chain, early);
      expect((await chain.check()).broken, name).toMatchObject({ fault: 'head_lost' });
      await recordOne(chain.context, chain.owner);
      await recordOne(chain.context, chain.owner);
      expect((await chain.check()).broken, name).toEqual({ sequence: LENGTH + 1, fault: 'head_lost' });
      expect((await chain.head()).sequence, name).toBe(LENGTH + 3);
    }
  });

  test('an entry of the service’s own, from a time that was undone, in the place of a later one', async () => {
    const { id, audit, audit_heads, at, head, remove, check, context, owner } = await withChain(3);
    const early = await head();
    await recordOne(context, owner);
    const undone = await at(4);
    await remove(4);
    await audit_heads.replaceOne({ _id: id }, early);
    await recordOne(context, owner);
    await recordOne(context, owner);
    expect((await check()).whole).toBe(true);
    await remove(4);
    await audit.insertOne(undone);
    expect((await check()).broken).toEqual({ sequence: 5, fault: 'unlinked' });
  });

  test('the end cut off with the head removed, though the log has gone on since', async () => {
    const { id, audit_heads, remove, check, context, owner } = await withChain(LENGTH);
    await remove(LENGTH);
    await remove(LENGTH - 1);
    await audit_heads.deleteOne({ _id: id });
    for (let entries = 0; entries < 5; entries++) await recordOne(context, owner);
    expect((await check()).broken).toEqual({ sequence: LENGTH - 1, fault: 'head_lost' });
  });
});
