import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { changeRole, removeAdmin } from '../../src/domain/admin/membership.ts';
import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import { emailKey } from '../../src/domain/admin/schema.ts';
import type { ListAuditInput } from '../../src/domain/audit/list.ts';
import { listAudit } from '../../src/domain/audit/list.ts';
import type { AuditAction, AuditEntry } from '../../src/domain/audit/schema.ts';
import { checkChain, verifyAudit } from '../../src/domain/audit/verify.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { beginSecondFactor, confirmSecondFactor, removeSecondFactor } from '../../src/domain/second-factor/change.ts';
import { hasSecondFactor } from '../../src/domain/second-factor/schema.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { refreshSession } from '../../src/domain/session/refresh.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { logOut, logOutEverywhere } from '../../src/domain/session/sessions.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor, Update } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { wrapped } from '../support/audit-world.ts';
import { createInstance, goneAt, ownerOf, principalOf, shuffled } from '../support/instance.ts';
import { codeOf, hasDistinctCodes } from '../support/second-factor.ts';

const PASSWORD = 'TestPass123';
const ADDRESS = '198.51.100.7';
const HOUR = 60 * 60 * 1000;
const YEAR = 366 * 24 * HOUR;

/** Deleted organizations are kept. */
const KEPT = { DELETE_RETENTION_DAYS: '30' };

const request = { id: 'the-request', address: ADDRESS, device: null };

const newStore = () => createSqliteExecutor(openSqliteFile(':memory:'));

/** Nobody waits in truth. */
const wait = async (): Promise<void> => void (await nextTurn());

/** An instance that serves one request. */
const serving = (executor: Executor, env = {}): Context => ({
  ...createInstance(executor, env).context,
  request,
  wait,
});

/** Another instance, by when no lease of the first runs any more. */
const later = (executor: Executor, env: Record<string, string>, ms: number): Context => ({
  ...createInstance(executor, env).context,
  wait,
  clock: () => new Date(Date.now() + ms),
});

type Tenant = {
  readonly executor: Executor;
  readonly context: Context;
  readonly owner: Principal;
  readonly other: Principal;
};

/** More rounds than anything takes to come to rest. */
async function settle(context: Context): Promise<void> {
  for (let round = 0; round < 3; round++) await reconcile(context, round);
}

/** An organization with two owners. */
async function newTenant(env: Record<string, string>): Promise<Tenant> {
  const executor = newStore();
  const services = createInstance(executor, env);
  await services.prepare();
  const context = { ...services.context, request, wait };
  const owner = await ownerOf(context, 'TestCo');
  const email = 'other@example.com';
  const second = { ...owner.admin, _id: context.newId(), email, email_key: emailKey(email) };
  await context.master.admins.insertOne(second);
  const other = await principalOf(context, owner.organization._id, second._id);
  return { executor, context, owner, other };
}

const entriesOf = ({ master }: Context, organizationId: string): Promise<AuditEntry[]> =>
  master.audit.find({ organization_id: organizationId }, { sort: { _id: 1 } });

const credentials = ({ admin, organization }: Principal) => ({
  organization_name: organization.name,
  email: admin.email,
  password: PASSWORD,
});

type Scenario = {
  readonly name: string;
  readonly env?: Record<string, string>;
  /** What comes before, undisturbed. */
  readonly before?: (tenant: Tenant) => Promise<unknown>;
  readonly act: (context: Context, tenant: Tenant) => Promise<unknown>;
  /** Whether the change is there, once everything has come to rest. */
  readonly isDone: (context: Context, tenant: Tenant) => Promise<boolean>;
  readonly actions: readonly AuditAction[];
  /** When the others come, in milliseconds from now. */
  readonly othersCome?: number;
};

const organizationOf = ({ master }: Context, { owner }: Pick<Tenant, 'owner'>) =>
  master.organizations.findOne({ _id: owner.organization._id });
const adminOf = ({ master }: Context, { admin }: Principal) => master.admins.findOne({ _id: admin._id });

/** Of the second factor, and the admin as it waits or is in force. */
let code = '';
let current: AdminDocument | undefined;

const scenarios: readonly Scenario[] = [
  {
    name: 'a rename with another email and password',
    act: (context, { owner }) =>
      updateOrganization(context, {
        principal: owner,
        new_organization_name: 'New Co',
        email: 'new@x.org',
        password: 'NewPass456',
      }),
    isDone: async (context, tenant) => (await organizationOf(context, tenant))?.name === 'New Co',
    actions: ['organization.renamed', 'admin.email_changed', 'admin.password_changed'],
  },
  {
    name: 'another email and password',
    act: (context, { owner }) =>
      updateOrganization(context, {
        principal: owner,
        email: 'new@x.org',
        password: 'NewPass456',
      }),
    isDone: async (context, { owner }) => (await adminOf(context, owner))?.email === 'new@x.org',
    actions: ['admin.email_changed', 'admin.password_changed'],
  },
  {
    name: 'another role',
    act: (context, { owner, other }) =>
      changeRole(context, { principal: owner, admin_id: other.admin._id, role: 'viewer' }),
    isDone: async (context, { other }) => (await adminOf(context, other))?.role === 'viewer',
    actions: ['admin.role_changed'],
  },
  {
    name: 'a removal',
    act: (context, { owner, other }) => removeAdmin(context, { principal: owner, admin_id: other.admin._id }),
    isDone: async (context, { other }) => (await adminOf(context, other)) === undefined,
    actions: ['admin.removed'],
  },
  {
    name: 'a delete',
    act: (context, { owner }) => deleteOrganization(context, { principal: owner, organization_name: 'TestCo' }),
    isDone: async (context, tenant) => (await organizationOf(context, tenant))?.status === 'erased',
    actions: ['organization.deleted'],
  },
  {
    name: 'a delete that can be undone',
    env: KEPT,
    act: (context, { owner }) => deleteOrganization(context, { principal: owner, organization_name: 'TestCo' }),
    isDone: async (context, tenant) => (await organizationOf(context, tenant))?.status === 'deleted',
    actions: ['organization.deleted'],
  },
  {
    name: 'a restore',
    env: KEPT,
    before: ({ context, owner }) => deleteOrganization(context, { principal: owner, organization_name: 'TestCo' }),
    act: (context, { owner }) => restoreOrganization(context, credentials(owner)),
    isDone: async (context, tenant) => (await organizationOf(context, tenant))?.status === 'active',
    actions: ['organization.restored'],
  },
  {
    name: 'a purge',
    env: KEPT,
    before: ({ context, owner }) => deleteOrganization(context, { principal: owner, organization_name: 'TestCo' }),
    act: (context) => settle({ ...context, clock: () => new Date(Date.now() + YEAR) }),
    isDone: async (context, tenant) => (await organizationOf(context, tenant))?.status === 'erased',
    actions: ['organization.purged'],
    othersCome: YEAR + HOUR,
  },
  {
    name: 'a sign-out everywhere',
    act: (context, { owner }) => logOutEverywhere(context, { principal: owner }),
    isDone: async (context, { owner }) => (await adminOf(context, owner))?.epoch === owner.admin.epoch + 1,
    actions: ['session.signed_out_everywhere'],
  },
  {
    name: 'a second factor put in force',
    before: async ({ context, owner }) => {
      const begun = await beginSecondFactor(context, { principal: owner, current_password: PASSWORD });
      code = codeOf(begun.secret);
      current = await adminOf(context, owner);
    },
    act: (context, { owner }) =>
      confirmSecondFactor(context, { principal: { ...owner, admin: current ?? owner.admin }, code }),
    isDone: async (context, { owner }) => hasSecondFactor((await adminOf(context, owner)) ?? {}),
    actions: ['admin.second_factor_enabled'],
  },
  {
    name: 'a second factor turned off',
    before: async ({ context, owner }) => {
      const begin = () => beginSecondFactor(context, { principal: owner, current_password: PASSWORD });
      let begun = await begin();
      while (!hasDistinctCodes(begun.secret)) begun = await begin();
      const admin = await adminOf(context, owner);
      const principal = { ...owner, admin: admin ?? owner.admin };
      await confirmSecondFactor(context, { principal, code: codeOf(begun.secret) });
      code = codeOf(begun.secret, { steps: 1 });
      current = await adminOf(context, owner);
    },
    act: (context, { owner }) => {
      const principal = { ...owner, admin: current ?? owner.admin };
      return removeSecondFactor(context, { principal, current_password: PASSWORD, code });
    },
    isDone: async (context, { owner }) => !hasSecondFactor((await adminOf(context, owner)) ?? {}),
    actions: ['admin.second_factor_disabled'],
  },
  {
    name: 'an owner’s end to another admin’s sessions',
    act: (context, { owner, other }) => logOutEverywhere(context, { principal: owner, admin_id: other.admin._id }),
    isDone: async (context, { other }) => (await adminOf(context, other))?.epoch === other.admin.epoch + 1,
    actions: ['session.signed_out_everywhere'],
  },
];

describe('a change is in the log if it was made, and once, wherever the instance that made it died', () => {
  for (const { name, env = {}, before, act, isDone, actions, othersCome = HOUR } of scenarios) {
    test(name, async () => {
      let points = 0;
      for (const when of ['before', 'after'] as const) {
        for (let call = 1; ; call++) {
          const tenant = await newTenant(env);
          await before?.(tenant);
          const dying = goneAt(tenant.executor, call, when);
          await act(serving(dying, env), tenant).catch(() => undefined);
          const context = later(tenant.executor, env, othersCome);
          await settle(context);

          const entries = await entriesOf(context, tenant.owner.organization._id);
          const made = entries.filter(({ action }) => actions.includes(action)).map(({ action }) => action);
          const expected = (await isDone(context, tenant)) ? [...actions] : [];
          expect(made.sort(), `${when} call ${call}`).toEqual(expected.sort());
          expect(await verifyAudit(context, { principal: tenant.owner }), `${when} call ${call}`).toMatchObject({
            valid: true,
          });
          if (dying.calls() < call) {
            expect(made.length).toBe(actions.length);
            break;
          }
          points++;
        }
      }
      expect(points).toBeGreaterThan(4);
    });
  }

  test('a create', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const executor = newStore();
        await createInstance(executor).prepare();
        const dying = goneAt(executor, call, when);
        const ids = {
          organizationId: '01900000-0000-7000-8000-000000000001',
          adminId: '01900000-0000-7000-8000-000000000002',
        };
        const input = { organization_name: 'TestCo', email: 'a@x.org', password: PASSWORD };
        await createOrganization(serving(dying), { ...input, ids }).catch(() => undefined);
        const context = later(executor, {}, HOUR);
        await settle(context);
        const organization = await context.master.organizations.findOne({ _id: ids.organizationId });
        const entries = await entriesOf(context, ids.organizationId);
        const expected = organization?.status === 'active' ? ['organization.created'] : [];
        expect(
          entries.map(({ action }) => action),
          `${when} call ${call}`,
        ).toEqual(expected);
        const check = await checkChain(context, ids.organizationId, 0);
        expect(check, `${when} call ${call}`).toMatchObject({ valid: true, to: expected.length });
        if (dying.calls() < call) break;
      }
    }
  });
});

test('a change that comes while another is being recorded is in the log too, though its instance died', async () => {
  const { executor, owner } = await newTenant({});
  let second: Promise<unknown> | undefined;
  const interrupted = wrapped(executor, async (command, next) => {
    const { op, update } = command as { op: string; update?: Update };
    if (second === undefined && op === 'updateOne' && update?.$set?.['audit_pending'] === null) {
      // Its third call is the change itself.
      const admin = { ...owner.admin, epoch: owner.admin.epoch + 1, version: owner.admin.version + 1 };
      const principal = { ...owner, admin };
      second = logOutEverywhere(serving(goneAt(executor, 2, 'after')), { principal }).catch(() => undefined);
      await second;
    }
    return next();
  });
  await logOutEverywhere(serving(interrupted), { principal: owner });
  const context = later(executor, {}, HOUR);
  await settle(context);
  const epoch = (await adminOf(context, owner))?.epoch;
  const entries = await entriesOf(context, owner.organization._id);
  const recorded = entries.filter(({ action }) => action === 'session.signed_out_everywhere').length;
  expect([epoch, recorded]).toEqual([owner.admin.epoch + 2, 2]);
});

describe('what the log says', () => {
  test('who did what to what, from where, in which request, and never a name, an email or a secret', async () => {
    const { context, owner, other } = await newTenant(KEPT);
    const id = owner.organization._id;
    await logIn(context, credentials(owner));
    await updateOrganization(context, {
      principal: owner,
      new_organization_name: 'Renamed Co',
    });
    const entries = await entriesOf(context, id);
    expect(
      entries.map(({ actor, action, target, request_id, outcome }) => [actor, action, target, request_id, outcome]),
    ).toEqual([
      [owner.admin._id, 'organization.created', id, 'the-request', 'success'],
      [owner.admin._id, 'session.signed_in', owner.admin._id, 'the-request', 'success'],
      [owner.admin._id, 'organization.renamed', id, 'the-request', 'success'],
    ]);
    const { items } = await listAudit(context, { principal: owner, limit: 100 });
    expect(items.map(({ sequence, address }) => [sequence, address])).toEqual(
      [3, 2, 1].map((sequence) => [sequence, ADDRESS]),
    );
    const everything = JSON.stringify(entries).toLowerCase();
    for (const word of ['testco', 'renamed co', owner.admin.email, other.admin.email, PASSWORD, ADDRESS]) {
      expect(everything.includes(word.toLowerCase()), word).toBe(false);
    }
  });

  test('after an erasure: all of it but the addresses, which nothing can tell any more', async () => {
    const { context, owner } = await newTenant({});
    const id = owner.organization._id;
    const key = (await organizationOf(context, { owner }))?.address_key;
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    await deleteOrganization(context, { principal: owner, organization_name: 'TestCo' });
    expect((await entriesOf(context, id)).map(({ action }) => action)).toEqual([
      'organization.created',
      'organization.deleted',
    ]);
    expect(await verifyAudit(context, { principal: owner })).toMatchObject({ valid: true, to: 2 });
    const erased = await organizationOf(context, { owner });
    if (erased === undefined) throw new Error('There is no stub.');
    const { items } = await listAudit(context, { principal: { organization: erased }, limit: 100 });
    expect(items.map(({ address }) => address)).toEqual([null, null]);
    for (const { name } of await context.master.database.listCollections()) {
      const everything = JSON.stringify(await context.master.database.collection(name).find({}));
      expect(everything.includes(ADDRESS), name).toBe(false);
      expect(everything.includes(key ?? ''), name).toBe(false);
    }
  });

  test('a refresh token that is used again, once, by a sign-out too; a sign-out, once', async () => {
    const { context, owner, executor } = await newTenant({});
    const { refresh_token: spent } = await logIn(context, credentials(owner));
    await refreshSession(context, { refresh_token: spent });
    await Promise.all(
      Array.from({ length: 10 }, (_, seed) =>
        refreshSession(serving(shuffled(executor, seed)), { refresh_token: spent }).catch(() => undefined),
      ),
    );
    const { refresh_token } = await logIn(context, credentials(owner));
    await Promise.all(
      Array.from({ length: 10 }, (_, seed) => logOut(serving(shuffled(executor, seed)), { refresh_token })),
    );
    const { refresh_token: used } = await logIn(context, credentials(owner));
    await refreshSession(context, { refresh_token: used });
    await logOut(context, { refresh_token: used });
    const actions = (await entriesOf(context, owner.organization._id)).map(({ action }) => action);
    expect(actions.filter((action) => action === 'session.refresh_reused')).toHaveLength(2);
    expect(actions.filter((action) => action === 'session.signed_out')).toHaveLength(1);
  });

  test('failed sign-ins, counted together, none lost and none twice, while others look', async () => {
    const unlimited = { LIMIT_LOGIN_ADDRESS: 'off', LIMIT_LOGIN_ACCOUNT: 'off' };
    const { context, owner, executor } = await newTenant(unlimited);
    const wrong = { ...credentials(owner), password: 'WrongPass123' };
    const fail = (seed: number) => logIn(serving(shuffled(executor, seed), unlimited), wrong).catch(() => undefined);
    const look = (seed: number) => listAudit(serving(shuffled(executor, seed)), { principal: owner, limit: 100 });
    await Promise.all(Array.from({ length: 60 }, (_, seed) => (seed % 6 === 0 ? look(seed) : fail(seed))));
    const { items } = await listAudit(context, { principal: owner, limit: 100, action: 'session.sign_in_failed' });
    expect(items.reduce((sum, { count }) => sum + count, 0)).toBe(50);
    expect(items.length).toBeLessThan(20);
    for (const { actor, target, outcome, address } of items) {
      expect([actor, target, outcome, address]).toEqual(['anonymous', owner.admin._id, 'failure', ADDRESS]);
    }
    expect(await context.master.signInFailures.count({})).toBe(0);
  });

  test('failed sign-ins, counted right wherever the one who records them dies', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const { context, owner, executor } = await newTenant({});
        const fail = () => logIn(context, { ...credentials(owner), password: 'WrongPass123' }).catch(() => undefined);
        await fail();
        await fail();
        const dying = goneAt(executor, call, when);
        await listAudit(serving(dying), { principal: owner, limit: 100 }).catch(() => undefined);
        await fail();
        const { items } = await listAudit(context, { principal: owner, limit: 100, action: 'session.sign_in_failed' });
        expect(
          items.reduce((sum, { count }) => sum + count, 0),
          `${when} call ${call}`,
        ).toBe(3);
        if (dying.calls() < call) break;
      }
    }
  });

  test('a failure for an account that is not there costs what one for an account that is there costs', async () => {
    const { owner, executor } = await newTenant({});
    const callsOf = async (input: { organization_name: string; email: string }) => {
      const counting = goneAt(executor, Number.POSITIVE_INFINITY, 'before');
      await logIn(serving(counting), { ...input, password: 'WrongPass123' }).catch(() => undefined);
      return counting.calls();
    };
    const known = await callsOf(credentials(owner));
    expect(await callsOf({ ...credentials(owner), email: 'nobody@example.com' })).toBe(known);
    expect(await callsOf({ ...credentials(owner), organization_name: 'Nobody Co' })).toBe(known);
  });

  test('pages through all of it, the newest first, and by action and time', async () => {
    const { context, owner } = await newTenant({});
    for (let count = 0; count < 25; count++) {
      await logIn(context, credentials(owner));
      await logIn(context, { ...credentials(owner), password: 'WrongPass123' }).catch(() => undefined);
      if (count % 5 === 0) await listAudit(context, { principal: owner, limit: 1 });
    }
    await listAudit(context, { principal: owner, limit: 1 });
    const all = async (filter: Partial<ListAuditInput>) => {
      const found: number[] = [];
      let cursor: number | undefined;
      for (;;) {
        const page = await listAudit(context, { principal: owner, ...filter, cursor, limit: 7 });
        found.push(...page.items.map(({ sequence }) => sequence));
        if (page.next_cursor === null) return found;
        cursor = Number(page.next_cursor);
      }
    };
    const entries = await entriesOf(context, owner.organization._id);
    const newestFirst = entries.map(({ sequence }) => sequence).reverse();
    expect(await all({})).toEqual(newestFirst);
    const failed = entries.filter(({ action }) => action === 'session.sign_in_failed').map(({ sequence }) => sequence);
    expect(await all({ action: 'session.sign_in_failed' })).toEqual(failed.reverse());
    const from = entries[10]?.at ?? new Date();
    const since = entries.filter(({ at }) => at >= from).map(({ sequence }) => sequence);
    expect(await all({ from })).toEqual(since.reverse());
    expect(await all({ to: new Date(0) })).toEqual([]);
  });
});
