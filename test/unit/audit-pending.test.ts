import { describe, expect, test } from 'vitest';
import { changeAdmin, updateAdmin } from '../../src/domain/admin/credentials.ts';
import type { AdminChange, AdminDocument } from '../../src/domain/admin/schema.ts';
import type { AuditEvent } from '../../src/domain/audit/note.ts';
import { flushPendingAudit, withPendingAudit } from '../../src/domain/audit/pending.ts';
import { record } from '../../src/domain/audit/record.ts';
import type { AuditNote } from '../../src/domain/audit/schema.ts';
import { sealChange } from '../../src/domain/audit/sealing.ts';
import { verifyAudit } from '../../src/domain/audit/verify.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import {
  auditInstance,
  beginMembership,
  changeAndRecord,
  changeWithoutRecording,
  entriesOf,
  finishMembership,
  goneAt,
  insertAdmin,
  newOrganization,
  note,
  prepareAuditStore,
  recordOne,
  SECRET,
  wrapped,
} from '../support/audit-world.ts';

const ALTERED = { sequence: 2, fault: 'pending_altered' };

async function newTenant() {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  await prepareAuditStore(executor);
  const context = auditInstance(executor);
  const tenant = { executor, context, ...(await newOrganization(context)) };
  const { organization } = tenant;
  const { admins, organizations } = context.master;
  return {
    ...tenant,
    id: organization._id,
    admins,
    organizations,
    check: () => verifyAudit(context, { principal: { organization } }),
    broken: async () => (await verifyAudit(context, { principal: { organization } })).broken,
    adminNow: async (): Promise<AdminDocument> => {
      const admin = await admins.findOne({ _id: tenant.admin._id });
      if (admin === undefined) throw new Error('The admin is not there.');
      return admin;
    },
    refused: () => context.logged.filter(({ event }) => event === 'audit.note_refused').length,
  };
}

/** A tenant whose admin was changed: two notes wait. */
async function withWaitingNotes() {
  const tenant = await newTenant();
  await changeWithoutRecording(tenant.context, tenant.organization, tenant.admin);
  const { audit_pending } = await tenant.adminNow();
  const [first, second] = audit_pending?.notes ?? [];
  if (audit_pending === null || first === undefined || second === undefined) throw new Error('Nothing waits.');
  const set = (pending: unknown) =>
    tenant.admins.updateOne({ _id: tenant.admin._id }, { $set: { audit_pending: pending as never } });
  return { ...tenant, pending: audit_pending, first, second, set };
}

type Harmed = Awaited<ReturnType<typeof withWaitingNotes>>;

const ofAdmin: [string, (tenant: Harmed) => Promise<unknown>][] = [
  [
    'added, forged',
    ({ set, pending, first }) => set({ ...pending, notes: [...pending.notes, { ...first, event_id: 'forged' }] }),
  ],
  [
    'added, the service’s own',
    async ({ set, pending, context, organization }) =>
      set({ ...pending, notes: [...pending.notes, await note(context, organization)] }),
  ],
  [
    'altered',
    ({ set, pending, first, second }) =>
      set({ ...pending, notes: [{ ...first, action: 'session.signed_in' }, second] }),
  ],
  [
    'altered in its time',
    ({ set, pending, first, second }) => set({ ...pending, notes: [{ ...first, at: new Date(0) }, second] }),
  ],
  [
    'with another field',
    ({ set, pending, first, second }) => set({ ...pending, notes: [{ ...first, more: 1 }, second] }),
  ],
  [
    'with its time replaced by an object that holds it',
    ({ set, pending, first, second }) =>
      set({ ...pending, notes: [{ ...first, at: { time: first.at.getTime() } }, second] }),
  ],
  ['with another field beside the notes', ({ set, pending }) => set({ ...pending, more: 1 })],
  ['without their seal', ({ set, pending }) => set({ notes: pending.notes, key: pending.key })],
  ['of no form', ({ set, pending }) => set({ ...pending, notes: ['note'] })],
  ['and all about it of no form', ({ set }) => set('pending')],
  ['removed, the first', ({ set, pending, second }) => set({ ...pending, notes: [second] })],
  ['removed, the last', ({ set, pending, first }) => set({ ...pending, notes: [first] })],
  [
    'removed, the last, and the rest sealed under another key',
    ({ set, pending, first }) => set({ ...pending, notes: [first], key: 'other' }),
  ],
  ['removed, and all with it', ({ set }) => set(null)],
  [
    'of another admin in its place',
    async ({ set, context, organization }) => {
      const other = await insertAdmin(context, organization, {});
      await changeWithoutRecording(context, organization, other);
      await set((await context.master.admins.findOne({ _id: other._id }))?.audit_pending);
    },
  ],
  [
    'of an earlier time in its place',
    async ({ set, pending, context, organization, adminNow, admin }) => {
      await flushPendingAudit(context, admin._id);
      await changeWithoutRecording(context, organization, await adminNow());
      await set(pending);
    },
  ],
];

describe('what waits on an admin', () => {
  test('is valid while it waits, and is in the log afterwards', async () => {
    const { check, context, admin, adminNow, id } = await withWaitingNotes();
    expect(await check()).toMatchObject({ valid: true, to: 1 });
    await flushPendingAudit(context, admin._id);
    expect(await check()).toMatchObject({ valid: true, to: 3 });
    expect(await adminNow()).toMatchObject({ audit_pending: null, audit_due_at: null });
    expect((await entriesOf(context, id)).map(({ action }) => action)).toEqual([
      'organization.created',
      'admin.email_changed',
      'admin.password_changed',
    ]);
  });

  test('waits with what waited before', async () => {
    const { check, context, organization, admin, adminNow } = await withWaitingNotes();
    await changeWithoutRecording(context, organization, await adminNow());
    expect((await adminNow()).audit_pending?.notes).toHaveLength(4);
    expect(await check()).toMatchObject({ valid: true, to: 1 });
    await flushPendingAudit(context, admin._id);
    expect(await check()).toMatchObject({ valid: true, to: 5 });
  });

  for (const [name, harm] of ofAdmin) {
    test(`${name}: found before it is recorded, and after`, async () => {
      const tenant = await withWaitingNotes();
      await harm(tenant);
      expect((await tenant.broken())?.fault).toBe('pending_altered');
      await flushPendingAudit(tenant.context, tenant.admin._id);
      expect((await tenant.broken())?.fault).toBe('pending_altered');
    });

    if (name === 'removed, and all with it' || name === 'of an earlier time in its place') continue;
    test(`${name}: found, though the admin was changed since`, async () => {
      const tenant = await withWaitingNotes();
      await harm(tenant);
      await changeAndRecord(tenant.context, tenant.organization, tenant.admin._id);
      expect((await tenant.broken())?.fault).toBe('pending_altered');
    });
  }

  test('forged: is refused, and never in the log', async () => {
    const { set, pending, first, second, context, admin, id, refused } = await withWaitingNotes();
    await set({ ...pending, notes: [{ ...first, actor: 'somebody else' }, second] });
    await flushPendingAudit(context, admin._id);
    expect((await entriesOf(context, id)).map(({ event_id }) => event_id)).toEqual([id]);
    expect(refused()).toBeGreaterThan(0);
  });

  test('is not asked for again by the reconciler where it was refused', async () => {
    const { set, pending, first, context, admin, adminNow } = await withWaitingNotes();
    await set({ ...pending, notes: [first] });
    await flushPendingAudit(context, admin._id);
    expect(await adminNow()).toMatchObject({ audit_pending: { notes: [first] }, audit_due_at: null });
  });

  test('of a change that comes while another is recorded stays', async () => {
    const { executor, context, organization, admin, adminNow, check } = await withWaitingNotes();
    let changed = false;
    const interrupted = wrapped(executor, async (command, next) => {
      if (command.op === 'updateOne' && command.collection === 'admins' && !changed) {
        changed = true;
        await changeWithoutRecording(context, organization, await adminNow());
      }
      return next();
    });
    await flushPendingAudit(auditInstance(interrupted), admin._id);
    expect(await adminNow()).toMatchObject({ audit_pending: null });
    expect(await check()).toMatchObject({ valid: true, to: 5 });
  });

  for (const when of ['before', 'after'] as const) {
    test(`is recorded once, where the instance that records it dies ${when} any call`, async () => {
      for (let call = 1; ; call++) {
        const { executor, context, admin, check } = await withWaitingNotes();
        const dying = goneAt(executor, call, when);
        await flushPendingAudit(auditInstance(dying), admin._id).catch(() => undefined);
        expect(await check(), `call ${call}`).toMatchObject({ valid: true });
        await flushPendingAudit(context, admin._id);
        expect(await check(), `call ${call}`).toMatchObject({ valid: true, to: 3 });
        if (dying.calls() < call) break;
      }
    });
  }

  test('is checked under the key that it was sealed with', async () => {
    const { executor, organization, admin } = await withWaitingNotes();
    const rotated = auditInstance(executor, { secrets: ['the next secret, for tests only: 32 bytes', SECRET] });
    expect(await verifyAudit(rotated, { principal: { organization } })).toMatchObject({ valid: true, to: 1 });
    await changeAndRecord(rotated, organization, admin._id);
    expect(await verifyAudit(rotated, { principal: { organization } })).toMatchObject({ valid: true, to: 5 });
  });
});

test('the note of a change that is made whatever the version is found to be removed', async () => {
  const { executor, context, organization, admin, admins, check, broken } = await newTenant();
  const audit = await note(context, organization, { action: 'session.signed_out_everywhere', target: admin._id });
  const change = { isNeeded: () => true, set: {}, raiseEpoch: true, audit };
  // It dies after the write itself.
  await updateAdmin(auditInstance(goneAt(executor, 1, 'after')), admin, change).catch(() => undefined);
  expect(await check()).toMatchObject({ valid: true, to: 1 });
  await admins.updateOne({ _id: admin._id }, { $set: { audit_pending: null, audit_due_at: null } });
  expect(await broken()).toEqual(ALTERED);
});

test('a change that was made is known to be made after another one, recorded or not', async () => {
  const { executor, context, organization, admin, adminNow, check } = await newTenant();
  const notes = [await note(context, organization, { action: 'admin.email_changed', target: admin._id })];
  const audit = sealChange(context.seals, admin._id, notes);
  const change: AdminChange = { admin_id: admin._id, version: admin.version, set: {}, audit };
  await changeAdmin(auditInstance(goneAt(executor, 2, 'after')), change).catch(() => undefined);
  const changed = await adminNow();
  expect(changed.changed_by).toBe(notes[0]?.event_id);
  await changeWithoutRecording(context, organization, changed);
  expect(await changeAdmin(context, change)).toBeUndefined();
  expect(await changeAdmin(context, change)).toBeUndefined();
  expect(await check()).toMatchObject({ valid: true, to: 4 });
});

test('a change that was refused is never recorded, though somebody puts its notes on the admin', async () => {
  const { context, organization, admin, admins, id, broken, refused } = await newTenant();
  const notes = [await note(context, organization, { action: 'admin.email_changed', target: admin._id })];
  const audit = sealChange(context.seals, admin._id, notes);
  expect(await changeAdmin(context, { admin_id: admin._id, version: admin.version + 1, set: {}, audit })).toBeDefined();
  await admins.updateOne({ _id: admin._id }, { $set: { audit_pending: audit } });
  expect(await broken()).toEqual(ALTERED);
  await flushPendingAudit(context, admin._id);
  expect(refused()).toBe(1);
  expect(await entriesOf(context, id)).toHaveLength(1);
});

test('a change of an admin that says it was an event that never was is found', async () => {
  const { admins, admin, broken } = await newTenant();
  await admins.updateOne({ _id: admin._id }, { $set: { changed_by: 'never' } });
  expect(await broken()).toEqual(ALTERED);
});

test('an event is not known by an entry that the service did not make', async () => {
  const { admins, admin, broken, context, id } = await newTenant();
  const [model] = await entriesOf(context, id);
  if (model === undefined) throw new Error('There is no entry.');
  await context.master.audit.insertOne({ ...model, _id: 'elsewhere', event_id: 'never' });
  await admins.updateOne({ _id: admin._id }, { $set: { changed_by: 'never' } });
  expect(await broken()).toEqual(ALTERED);
});

test('an event whose id somebody took is refused, and waits on', async () => {
  const { admin, admins, context, id, organization, refused } = await newTenant();
  const [model] = await entriesOf(context, id);
  if (model === undefined) throw new Error('There is no entry.');
  await context.master.audit.insertOne({ ...model, _id: 'elsewhere', event_id: 'taken' });
  const taken = await note(context, organization, { event_id: 'taken' });
  expect(await record(context, taken)).toBeUndefined();
  expect(refused()).toBe(1);
  const fields = { ...withPendingAudit(context, admin, [taken]), changed_by: 'taken' };
  await admins.updateOne({ _id: admin._id }, { $set: fields });
  await flushPendingAudit(context, admin._id);
  expect((await admins.findOne({ _id: admin._id }))?.audit_pending).not.toBeNull();
});

describe('an event whose id is an entry’s already', () => {
  const own = { event_id: 'taken', action: 'admin.email_changed', actor: 'one', target: 'one' } as const;

  test.each<[string, Partial<AuditEvent>]>([
    ['of another action', { action: 'admin.password_changed' }],
    ['of another actor', { actor: 'other' }],
    ['of another target', { target: 'other' }],
    ['of another organization', {}],
  ])('%s is refused, and waits on', async (_name, fields) => {
    const { admin, admins, context, organization, refused } = await newTenant();
    const { organization: other } = await newOrganization(context);
    await recordOne(context, Object.keys(fields).length === 0 ? other : organization, { ...own, ...fields });
    const taken = await note(context, organization, own);
    expect(await record(context, taken)).toBeUndefined();
    expect(refused()).toBe(1);
    await admins.updateOne({ _id: admin._id }, { $set: withPendingAudit(context, admin, [taken]) });
    await flushPendingAudit(context, admin._id);
    const left = await admins.findOne({ _id: admin._id });
    expect(left?.audit_pending?.notes).toEqual([taken]);
    expect(left?.audit_due_at).toBeNull();
  });

  test('is recorded where the entry is its own, whatever else the request said of it', async () => {
    const { context, organization, refused } = await newTenant();
    const entry = await recordOne(context, organization, own);
    const again = { ...context, request: { id: 'another request', address: null, device: null } };
    expect(await record(again, await note(again, organization, own))).toEqual(entry);
    expect(refused()).toBe(0);
  });
});

test('admins by the hundreds are all looked at', async () => {
  const { context, organization, check, broken, admins } = await newTenant();
  for (let count = 0; count < 700; count++) {
    const _id = context.newId();
    const joined = await note(context, organization, {
      event_id: _id,
      action: 'admin.joined',
      actor: _id,
      target: _id,
    });
    const pending = withPendingAudit(context, { _id, audit_pending: null }, [joined]);
    await insertAdmin(context, organization, { _id, changed_by: _id, ...pending });
    if (count % 2 === 0) await flushPendingAudit(context, _id);
  }
  expect(await check()).toMatchObject({ valid: true, to: 351 });
  const [last] = await admins.find({ organization_id: organization._id }, { sort: { _id: -1 }, limit: 1 });
  await admins.updateOne({ _id: last?._id ?? '' }, { $set: { audit_pending: null } });
  expect((await broken())?.fault).toBe('pending_altered');
});

describe('what waits on the organization', () => {
  async function withOperation() {
    const tenant = await newTenant();
    const operation = await beginMembership(tenant.context, tenant.id, tenant.admin._id);
    if (operation === undefined) throw new Error('Nothing began.');
    const set = (fields: Record<string, unknown>) =>
      tenant.organizations.updateOne({ _id: tenant.id }, { $set: fields as never });
    return { ...tenant, operation, set };
  }

  test('is valid while it waits, with the admin that it changed, and is in the log afterwards', async () => {
    const { check, context, id, operation, admins, admin } = await withOperation();
    expect(await check()).toMatchObject({ valid: true, to: 1 });
    await admins.updateOne({ _id: admin._id }, { $set: { changed_by: operation.id } });
    expect(await check()).toMatchObject({ valid: true, to: 1 });
    await finishMembership(context, id, operation);
    expect(await check()).toMatchObject({ valid: true, to: 2 });
  });

  type Operating = Awaited<ReturnType<typeof withOperation>>;
  const replaced = async ({ context, organization, id }: Operating): Promise<AuditNote> =>
    note(context, organization, { event_id: id, action: 'admin.role_changed' });
  const harms: [string, (tenant: Operating) => Promise<unknown>][] = [
    ['altered', ({ set }) => set({ 'operation.audit.actor': 'somebody else' })],
    ['with another field', ({ set }) => set({ 'operation.audit.more': 1 })],
    ['of another event', async (tenant) => tenant.set({ 'operation.audit': await replaced(tenant) })],
    ['removed', ({ set }) => set({ 'operation.audit': null })],
    ['removed with its operation', ({ set }) => set({ operation: null })],
    [
      'added, forged',
      async ({ set, operation }) => {
        const id = 'forged';
        const audit = { ...operation.audit, event_id: id };
        await set({ operation: { ...operation, id, audit }, changed_by: id });
      },
    ],
    [
      'of another organization',
      async ({ set, context }) => {
        const other = await newOrganization(context);
        await beginMembership(context, other.organization._id, other.admin._id);
        const found = await context.master.organizations.findOne({ _id: other.organization._id });
        await set({ operation: found?.operation, changed_by: found?.changed_by });
      },
    ],
  ];
  for (const [name, harm] of harms) {
    test(`${name}: found before it is recorded, and after`, async () => {
      const tenant = await withOperation();
      await harm(tenant);
      expect(await tenant.broken()).toEqual(ALTERED);
      const { operation } = (await tenant.organizations.findOne({ _id: tenant.id })) ?? {};
      if (operation?.kind !== 'membership' || operation.audit === null) return;
      await finishMembership(tenant.context, tenant.id, operation);
      expect((await tenant.broken())?.fault).toBe('pending_altered');
    });
  }

  describe('as the change of an admin that a rename makes', () => {
    async function withRename() {
      const tenant = await withOperation();
      const { context, organization, admin, operation, set } = tenant;
      const events = [0, 1].map((index) => note(context, organization, { event_id: `${operation.id}:${index}` }));
      const audit = sealChange(context.seals, admin._id, await Promise.all(events));
      const change: AdminChange = { admin_id: admin._id, version: admin.version, set: {}, audit };
      await set({ 'operation.kind': 'rename', 'operation.admin': change });
      const changeNow = async () => {
        const found = await tenant.organizations.findOne({ _id: tenant.id });
        if (found?.operation?.kind !== 'rename' || found.operation.admin === null) throw new Error('No rename.');
        await changeAdmin(context, found.operation.admin);
        await finishMembership(context, tenant.id, operation);
      };
      return { ...tenant, change, changeNow };
    }

    test('is valid while it waits, and in the log afterwards', async () => {
      const { check, changeNow } = await withRename();
      expect(await check()).toMatchObject({ valid: true, to: 1 });
      await changeNow();
      expect(await check()).toMatchObject({ valid: true, to: 4 });
    });

    for (const [name, left] of [
      ['the first note removed', [1]],
      ['the last note removed', [0]],
      ['a note twice', [0, 1, 1]],
    ] as const) {
      test(`${name}: found before the change is made, and after`, async () => {
        const { set, change, broken, changeNow } = await withRename();
        const { notes } = change.audit;
        await set({ 'operation.admin.audit.notes': left.map((index) => notes[index]) });
        expect(await broken()).toEqual(ALTERED);
        await changeNow();
        expect((await broken())?.fault).toBe('pending_altered');
      });
    }
  });

  test('a move is no event, and is valid', async () => {
    const { set, broken, operation } = await withOperation();
    const { id, replaces } = operation;
    const from = { collection: 'org_a' };
    const move = { id, replaces, kind: 'move', step: 'moving', from, to: from, collection_id: null, abandoned: [] };
    await set({ operation: move });
    expect(await broken()).toBeNull();
  });
});

test('a second look is taken before a fault is reported', async () => {
  const { executor, organization, admin, context } = await newTenant();
  await changeAndRecord(context, organization, admin._id);
  await recordOne(context, organization);
  let looks = 0;
  const torn = wrapped(executor, async (command, next) => {
    const result = await next();
    const isEntries = command.op === 'find' && command.collection === 'audit' && command.sort !== undefined;
    // As where the parts of a page are read at different moments.
    return isEntries && looks++ === 0 ? (result as unknown[]).toSpliced(2, 1) : result;
  });
  const instance = auditInstance(torn);
  expect(await verifyAudit(instance, { principal: { organization } })).toMatchObject({ valid: true, to: 4 });
  expect(looks).toBe(2);
});
