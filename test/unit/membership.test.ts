import { describe, expect, test } from 'vitest';
import { changeRole, removeAdmin } from '../../src/domain/admin/membership.ts';
import type { Role } from '../../src/domain/authorization.ts';
import type { Context } from '../../src/domain/context.ts';
import type { Principal } from '../../src/domain/session/authenticate.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { until } from '../support/deadline.ts';
import { createInstance, goneAt, ownerOf, principalOf, shuffled } from '../support/instance.ts';

const RACES = 150;

async function prepared(): Promise<{ executor: Executor; context: Context }> {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  const { context, prepare } = createInstance(executor);
  await prepare();
  return { executor, context };
}

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
    const { context } = await prepared();
    const owner = await ownerOf(context, 'Alone');
    await addAdmin(context, owner, 'admin');
    const admin_id = owner.admin._id;
    await expect(removeAdmin(context, owner, { admin_id })).rejects.toMatchObject({ code: 'last_owner' });
    for (const role of ['admin', 'viewer'] as const) {
      const fresh = await principalOf(context, owner.organization._id, admin_id);
      await expect(changeRole(context, fresh, { admin_id, role })).rejects.toMatchObject({ code: 'last_owner' });
    }
    expect(await principalOf(context, owner.organization._id, admin_id)).toMatchObject({
      admin: { role: 'owner', epoch: 1 },
      organization: { operation: null, status: 'active' },
    });
  });

  test(`stays, when owners remove and demote one another at once (${RACES} interleavings)`, async () => {
    const { executor, context } = await prepared();
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= RACES; seed++) {
      const first = await ownerOf(context, `Race ${seed}`);
      const second = await addAdmin(context, first, 'owner');
      const one = createInstance(shuffled(executor, seed)).context;
      const other = createInstance(shuffled(executor, seed + RACES)).context;
      const results = await Promise.allSettled([
        removeAdmin(one, first, { admin_id: second.admin._id }),
        seed % 2 === 0
          ? removeAdmin(other, second, { admin_id: first.admin._id })
          : changeRole(other, second, { admin_id: first.admin._id, role: 'viewer' }),
      ]);
      expect(await owners(context, first), `seed ${seed}`).toBe(1);
      const told = results.map((result) => (result.status === 'fulfilled' ? 'done' : result.reason.code)).join(', ');
      outcomes.set(told, (outcomes.get(told) ?? 0) + 1);
      expect(told.split(', ').filter((outcome) => outcome === 'done')).toHaveLength(1);
    }
    // Whoever is later finds itself no owner any more, or the organization changed.
    for (const told of outcomes.keys())
      expect(told).toMatch(/^(done, )?(forbidden|conflict|admin_not_found)(, done)?$/);
  });
});

test('a removed or demoted admin’s tokens end, and the sessions', async () => {
  const { context } = await prepared();
  const owner = await ownerOf(context, 'Tokens');
  const admin = await addAdmin(context, owner, 'admin');
  const { sessions } = context.master;
  const { organization } = await principalOf(context, owner.organization._id, owner.admin._id);
  const changed = await changeRole(context, { ...owner, organization }, { admin_id: admin.admin._id, role: 'viewer' });
  expect(changed.role).toBe('viewer');
  expect(await sessions.count({ admin_id: admin.admin._id })).toBe(0);
  const after = await principalOf(context, organization._id, admin.admin._id);
  expect(after.admin).toMatchObject({ role: 'viewer', epoch: admin.admin.epoch + 1 });

  const now = await principalOf(context, organization._id, owner.admin._id);
  await removeAdmin(context, now, { admin_id: admin.admin._id });
  expect(await sessions.count({ admin_id: admin.admin._id })).toBe(0);
  expect(await context.master.admins.count({ organization_id: organization._id })).toBe(1);
});

test('a change of membership that an instance died in is carried on, at every store call', async () => {
  const { executor, context } = await prepared();
  let points = 0;
  for (const role of ['viewer', null] as const) {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const owner = await ownerOf(context, `Dies ${role} ${when} ${call}`);
        const target = await addAdmin(context, owner, 'owner');
        const input = { admin_id: target.admin._id };
        const dying = goneAt(executor, call, when);
        const died = await (role === null
          ? removeAdmin(createInstance(dying).context, owner, input)
          : changeRole(createInstance(dying).context, owner, { ...input, role })
        ).then(
          () => false,
          () => true,
        );
        if (!died) break;
        points++;
        const healed = createInstance(executor);
        const organization = await until('the operation to end', async () => {
          await healed.reconcile({ thorough: false });
          const found = await context.master.organizations.findOne({ _id: owner.organization._id });
          return found?.operation === null ? found : undefined;
        });
        expect(organization.status).toBe('active');
        const found = await context.master.admins.findOne({ _id: target.admin._id });
        expect(found === undefined ? null : found.role).toBeOneOf([role, 'owner']);
        expect(await owners(context, owner)).toBeGreaterThan(0);
      }
    }
  }
  expect(points).toBeGreaterThan(20);
});
