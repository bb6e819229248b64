import { beforeEach, describe, expect, test } from 'vitest';
import { changeRole, removeAdmin } from '../../src/domain/admin/membership.ts';
import type { Context } from '../../src/domain/context.ts';
import type { Role } from '../../src/domain/roles.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, ownerOf, principalOf, shuffled, virtualTime } from '../support/instance.ts';

const RACES = 150;
const LEASE_MS = 100;
/** A lease that does not run out while others wait for its operation. */
const LONG_LEASE = { LEASE_MS: '60000' };

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let context: Context;

/** An instance of its own over the same store. */
const open = (over: Executor, env: Readonly<Record<string, string>> = {}) => createInstance(over, env, { time });

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  const services = open(executor);
  await services.prepare();
  context = services.context;
});

/** Another admin of the organization. */
async function addAdmin(context: Context, { organization, admin }: Principal, role: Role): Promise<Principal> {
  const _id = context.newId();
  const email = `${_id}@example.com`;
  await context.master.admins.insertOne({ ...admin, _id, email, email_key: email, role });
  return principalOf(context, organization._id, _id);
}

const owners = (context: Context, { organization }: Principal) =>
  context.master.admins.count({ organization_id: organization._id, role: 'owner' });

describe('the last owner', () => {
  test('cannot be removed, nor become anything else', async () => {
    const owner = await ownerOf(context, 'Alone');
    await addAdmin(context, owner, 'admin');
    const admin_id = owner.admin._id;
    await expect(removeAdmin(context, { principal: owner, admin_id })).rejects.toMatchObject({ code: 'last_owner' });
    for (const role of ['admin', 'viewer'] as const) {
      const fresh = await principalOf(context, owner.organization._id, admin_id);
      await expect(changeRole(context, { principal: fresh, admin_id, role })).rejects.toMatchObject({
        code: 'last_owner',
      });
    }
    expect(await principalOf(context, owner.organization._id, admin_id)).toMatchObject({
      admin: { role: 'owner', epoch: 1 },
      organization: { operation: null, status: 'active' },
    });
  });

  test(`stays, when owners remove and demote one another at once (${RACES} interleavings)`, async () => {
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= RACES; seed++) {
      const first = await ownerOf(context, `Race ${seed}`);
      const second = await addAdmin(context, first, 'owner');
      const one = open(shuffled(executor, seed), LONG_LEASE).context;
      const other = open(shuffled(executor, seed + RACES), LONG_LEASE).context;
      const results = await Promise.allSettled([
        removeAdmin(one, { principal: first, admin_id: second.admin._id }),
        seed % 2 === 0
          ? removeAdmin(other, { principal: second, admin_id: first.admin._id })
          : changeRole(other, { principal: second, admin_id: first.admin._id, role: 'viewer' }),
      ]);
      expect(await owners(context, first), `seed ${seed}`).toBe(1);
      const told = results.map((result) => (result.status === 'fulfilled' ? 'done' : result.reason.code)).join(', ');
      outcomes.set(told, (outcomes.get(told) ?? 0) + 1);
      expect(told.split(', ').filter((outcome) => outcome === 'done')).toHaveLength(1);
    }
    // The later one is no longer an owner, or finds the organization changed.
    for (const told of outcomes.keys())
      expect(told).toMatch(/^(done, )?(forbidden|conflict|admin_not_found)(, done)?$/);
  });
});

test('a removed or demoted admin’s tokens end, and the sessions', async () => {
  const owner = await ownerOf(context, 'Tokens');
  const admin = await addAdmin(context, owner, 'admin');
  const { sessions } = context.master;
  const { organization } = await principalOf(context, owner.organization._id, owner.admin._id);
  const changed = await changeRole(context, {
    principal: { ...owner, organization },
    admin_id: admin.admin._id,
    role: 'viewer',
  });
  expect(changed.role).toBe('viewer');
  expect(await sessions.count({ admin_id: admin.admin._id })).toBe(0);
  const after = await principalOf(context, organization._id, admin.admin._id);
  expect(after.admin).toMatchObject({ role: 'viewer', epoch: admin.admin.epoch + 1 });

  const now = await principalOf(context, organization._id, owner.admin._id);
  await removeAdmin(context, { principal: now, admin_id: admin.admin._id });
  expect(await sessions.count({ admin_id: admin.admin._id })).toBe(0);
  expect(await context.master.admins.count({ organization_id: organization._id })).toBe(1);
});

test('another instance finishes a change of membership after a crash at any store call', async () => {
  let points = 0;
  for (const role of ['viewer', null] as const) {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const owner = await ownerOf(context, `Dies ${role} ${when} ${call}`);
        const target = await addAdmin(context, owner, 'owner');
        const input = { principal: owner, admin_id: target.admin._id };
        const dying = goneAt(executor, call, when);
        const died = await (role === null
          ? removeAdmin(open(dying).context, input)
          : changeRole(open(dying).context, { ...input, role })
        ).then(
          () => false,
          () => true,
        );
        if (!died) break;
        points++;
        time.advance(LEASE_MS + 1);
        await open(executor).reconcile();
        const organization = await context.master.organizations.findOne({ _id: owner.organization._id });
        expect(organization).toMatchObject({ operation: null, status: 'active' });
        const found = await context.master.admins.findOne({ _id: target.admin._id });
        expect(found === undefined ? null : found.role).toBeOneOf([role, 'owner']);
        expect(await owners(context, owner)).toBeGreaterThan(0);
      }
    }
  }
  expect(points).toBeGreaterThan(20);
});
