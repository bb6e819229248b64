import { beforeEach, describe, expect, test } from 'vitest';
import { changeAdmin, updateAdmin } from '../../src/domain/admin/credentials.ts';
import type { AdminChange } from '../../src/domain/admin/schema.ts';
import { verifyEmail } from '../../src/domain/admin/verify-email.ts';
import { auditNote } from '../../src/domain/audit/note.ts';
import type { AuditNote } from '../../src/domain/audit/schema.ts';
import { sealChange } from '../../src/domain/audit/sealing.ts';
import type { Context } from '../../src/domain/context.ts';
import { changeCredentials } from '../../src/domain/organization/update.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { logOutEverywhere } from '../../src/domain/session/sessions.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, ownerOf, principalOf, shuffled, virtualTime } from '../support/instance.ts';

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let context: Context;

const open = (over: Executor) => createInstance(over, {}, { time });

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  const services = open(executor);
  await services.prepare();
  context = services.context;
});

const noteFor = ({ organization, admin }: Principal, event_id = context.newId()): Promise<AuditNote> =>
  auditNote(context, organization, {
    event_id,
    action: 'admin.password_changed',
    actor: admin._id,
    target: admin._id,
  });

const changeFor = async (principal: Principal, password_hash: string): Promise<AdminChange> => ({
  admin_id: principal.admin._id,
  version: principal.admin.version,
  set: { password_hash },
  audit: sealChange(context.seals, principal.admin._id, [await noteFor(principal)]),
});

const reload = ({ organization, admin }: Principal) => principalOf(context, organization._id, admin._id);
const recorded = (note: AuditNote | undefined) => context.master.audit.count({ event_id: note?.event_id ?? '' });

describe('a change of an admin', () => {
  test('is made once, raises version and epoch, and is recorded', async () => {
    const owner = await ownerOf(context, 'Once');
    const change = await changeFor(owner, 'hash one');
    for (const _ of ['first', 'again']) expect(await changeAdmin(context, change)).toBeUndefined();
    const { admin } = await reload(owner);
    expect(admin).toMatchObject({
      password_hash: 'hash one',
      version: owner.admin.version + 1,
      epoch: owner.admin.epoch + 1,
      changed_by: change.audit.notes[0]?.event_id,
      audit_pending: null,
    });
    expect(await recorded(change.audit.notes[0])).toBe(1);
  });

  test('of a version that the admin no longer has is refused', async () => {
    const owner = await ownerOf(context, 'Late');
    const [one, other] = [await changeFor(owner, 'hash one'), await changeFor(owner, 'hash two')];
    expect(await changeAdmin(context, one)).toBeUndefined();
    expect(await changeAdmin(context, other)).toMatchObject({ code: 'conflict' });
    expect((await reload(owner)).admin.password_hash).toBe('hash one');
    expect(await recorded(other.audit.notes[0])).toBe(0);
  });

  test('to an email that another admin has is refused, for every instance and for good', async () => {
    const owner = await ownerOf(context, 'Taken');
    const taken = 'taken@example.com';
    const other = { ...owner.admin, _id: context.newId(), email: taken, email_key: taken };
    await context.master.admins.insertOne(other);
    const change: AdminChange = { ...(await changeFor(owner, 'hash')), set: { email: taken, email_key: taken } };
    expect(await changeAdmin(context, change)).toMatchObject({ code: 'admin_email_taken' });
    await context.master.admins.deleteOne({ _id: other._id });
    expect(await changeAdmin(context, change)).toMatchObject({ code: 'conflict' });
    expect((await reload(owner)).admin.email).toBe(owner.admin.email);
  });

  test('of many at once is one', async () => {
    const owner = await ownerOf(context, 'Many');
    const changes = await Promise.all([1, 2, 3, 4, 5, 6].map((number) => changeFor(owner, `hash ${number}`)));
    const refusals = await Promise.all(
      changes.map((change, index) => changeAdmin(open(shuffled(executor, index)).context, change)),
    );
    expect(refusals.filter((refusal) => refusal === undefined)).toHaveLength(1);
    const { admin } = await reload(owner);
    expect(admin.password_hash).toBe(`hash ${refusals.indexOf(undefined) + 1}`);
    expect(admin.version).toBe(owner.admin.version + 1);
  });

  test('after a crash at any store call is made with its note, or not at all', async () => {
    const outcomes = new Set<boolean>();
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const owner = await ownerOf(context, `Crash ${when} ${call}`);
        const change = await changeFor(owner, 'a new hash');
        const died = await changeAdmin(open(goneAt(executor, call, when)).context, change).then(
          () => false,
          () => true,
        );
        const { admin } = await reload(owner);
        const isMade = admin.password_hash === 'a new hash';
        outcomes.add(isMade);
        const waiting = admin.audit_pending?.notes.filter(({ event_id }) => event_id === admin.changed_by) ?? [];
        const kept = waiting.length + (await recorded(change.audit.notes[0]));
        if (isMade) expect(kept, `${when} ${call}`).toBeGreaterThan(0);
        else expect(kept, `${when} ${call}`).toBe(0);
        if (isMade) expect(await changeAdmin(context, change)).toBeUndefined();
        if (!died) break;
      }
    }
    expect(outcomes).toEqual(new Set([true, false]));
  });

  test('keeps the notes that wait on the admin already', async () => {
    const owner = await ownerOf(context, 'Waiting');
    const earlier = await noteFor(owner);
    const dying = open(goneAt(executor, 2, 'before')).context;
    const update = { isNeeded: () => true, set: { email_verified: true }, raiseEpoch: false, audit: earlier };
    await expect(updateAdmin(dying, owner.admin, update)).rejects.toMatchObject({ code: 'Unavailable' });
    const waiting = await reload(owner);
    expect(waiting.admin.audit_pending?.notes).toHaveLength(1);
    const change = await changeFor(waiting, 'hash');
    expect(await changeAdmin(context, change)).toBeUndefined();
    expect([await recorded(earlier), await recorded(change.audit.notes[0])]).toEqual([1, 1]);
    expect((await reload(owner)).admin.audit_pending).toBeNull();
  });
});

describe('a logout from everywhere', () => {
  test('raises the epoch, records it and leaves no session, for each of those who ask at once', async () => {
    const owner = await ownerOf(context, 'Everywhere');
    await Promise.all(
      [1, 2, 3].map((seed) => logOutEverywhere(open(shuffled(executor, seed)).context, { principal: owner })),
    );
    const admin = await context.master.admins.findOne({ _id: owner.admin._id });
    expect(admin).toMatchObject({ epoch: owner.admin.epoch + 3, version: owner.admin.version + 3 });
    expect(await context.master.audit.count({ action: 'session.signed_out_everywhere' })).toBe(3);
    expect(await context.master.sessions.count({ admin_id: owner.admin._id })).toBe(0);
  });

  test('ends the session of a thief who changes the account at the same time', async () => {
    const ends = { thiefFirst: 0, ownerFirst: 0 };
    for (let seed = 1; seed <= 60; seed++) {
      const owner = await ownerOf(context, `Thief ${seed}`);
      const { organization, admin } = owner;
      const thief = await principalOf(context, organization._id, admin._id);
      const email = admin.email.toUpperCase();
      const [stolen] = await Promise.all([
        changeCredentials(open(shuffled(executor, seed)).context, { principal: thief, email }).catch(() => undefined),
        logOutEverywhere(open(shuffled(executor, -seed)).context, { principal: owner }),
      ]);
      ends[stolen === undefined ? 'ownerFirst' : 'thiefFirst']++;
      if (stolen !== undefined) {
        await expect(authenticate(context, stolen.access_token)).rejects.toMatchObject({ code: 'invalid_token' });
      }
      expect(await context.master.sessions.count({ admin_id: admin._id }), `seed ${seed}`).toBe(0);
      const event = { organization_id: organization._id, action: 'session.signed_out_everywhere' };
      expect(await context.master.audit.count(event), `seed ${seed}`).toBe(1);
    }
    // Both orders came, or the seeds prove nothing.
    expect(Math.min(ends.thiefFirst, ends.ownerFirst)).toBeGreaterThan(0);
  });

  test('and another change of the admin at once are both made', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const owner = await ownerOf(context, `Both ${seed}`);
      const audit = await noteFor(owner);
      const verify = { isNeeded: () => true, set: { email_verified: true }, raiseEpoch: false, audit };
      await Promise.all([
        logOutEverywhere(open(shuffled(executor, seed)).context, { principal: owner }),
        updateAdmin(open(shuffled(executor, -seed)).context, owner.admin, verify),
      ]);
      const admin = await context.master.admins.findOne({ _id: owner.admin._id });
      expect(admin).toMatchObject({
        email_verified: true,
        epoch: owner.admin.epoch + 1,
        version: owner.admin.version + 2,
      });
      expect(await recorded(audit)).toBe(1);
    }
  });
});

test('a verification with an unknown token is refused', async () => {
  await expect(verifyEmail(context, { token: 'x.y' })).rejects.toMatchObject({ code: 'invalid_one_time_token' });
});
