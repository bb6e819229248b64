import { beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import type { OrganizationStatus } from '../../src/domain/organization/schema.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, virtualTime } from '../support/instance.ts';

const PASSWORD = 'correct horse battery';
const EMAIL = 'owner@example.com';
const INVALID = { code: 'invalid_credentials' };

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let context: Context;
let hashed: number;

function open(over: Executor): Context {
  const { context } = createInstance(
    over,
    {},
    {
      time,
      hasher: {
        hash: async (password) => `hash of ${password}`,
        verify: async (password, hash) => {
          hashed++;
          return hash === `hash of ${password}`;
        },
      },
    },
  );
  return { ...context, request: { id: 'test', address: '192.0.2.1', device: null } };
}

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  hashed = 0;
  await createInstance(executor).prepare();
  context = open(executor);
});

const create = (organization_name: string, email = EMAIL) =>
  createOrganization(context, { organization_name, email, password: PASSWORD });

describe('a sign-in', () => {
  test('is refused in every status of the organization but active, after the same work', async () => {
    const { organization_id: _id } = await create('Statuses');
    for (const status of ['creating', 'deleted', 'deleting', 'erased'] satisfies OrganizationStatus[]) {
      await context.master.organizations.updateOne({ _id }, { $set: { status } });
      hashed = 0;
      await expect(logIn(context, { email: EMAIL, password: PASSWORD })).rejects.toMatchObject(INVALID);
      await expect(
        logIn(context, { email: EMAIL, password: PASSWORD, organization_name: 'Statuses' }),
      ).rejects.toMatchObject(INVALID);
      expect(hashed).toBe(2);
      await context.master.budgets.deleteMany({});
    }
    await context.master.organizations.updateOne({ _id }, { $set: { status: 'active' } });
    expect(await logIn(context, { email: EMAIL, password: PASSWORD })).toMatchObject({ organization: 'Statuses' });
  });

  test('hashes and draws on the same budgets whether the account exists or not', async () => {
    await create('Work');
    const costs: unknown[] = [];
    for (const email of [EMAIL, 'nobody@example.com']) {
      for (const organization_name of [undefined, 'Work']) {
        hashed = 0;
        await context.master.budgets.deleteMany({});
        await expect(logIn(context, { email, password: 'wrong', organization_name })).rejects.toMatchObject(INVALID);
        costs.push([hashed, (await context.master.budgets.find({})).map(({ used }) => used)]);
      }
    }
    expect(costs).toEqual(costs.map(() => [1, [1, 1, 1]]));
  });

  test('hashes nothing over a budget', async () => {
    await create('Over');
    for (let attempt = 0; attempt < 40; attempt++) {
      await logIn(context, { email: EMAIL, password: 'wrong' }).catch(() => undefined);
    }
    hashed = 0;
    await expect(logIn(context, { email: EMAIL, password: PASSWORD })).rejects.toMatchObject({
      code: 'too_many_requests',
    });
    expect(hashed).toBe(0);
  });

  test('has its audit entry before its session, at a crash at any store call', async () => {
    const { organization_id, admin_id } = await create('Recorded');
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const died = await logIn(open(goneAt(executor, call, when)), { email: EMAIL, password: PASSWORD }).then(
          () => false,
          () => true,
        );
        const sessions = await context.master.sessions.count({ admin_id });
        const recorded = await context.master.audit.count({ organization_id, action: 'session.signed_in' });
        expect(recorded, `${when} ${call}`).toBeGreaterThanOrEqual(sessions);
        if (!died) break;
      }
    }
    expect(await context.master.sessions.count({ admin_id })).toBeGreaterThan(0);
  });

  test('without an organization lists those that the password fits', async () => {
    for (const name of ['First', 'Second']) await create(name);
    await expect(logIn(context, { email: EMAIL, password: PASSWORD })).rejects.toMatchObject({
      code: 'organization_required',
      organizations: ['First', 'Second'],
    });
    const signedIn = await logIn(context, { email: EMAIL, password: PASSWORD, organization_name: 'second' });
    expect(signedIn.organization).toBe('Second');
  });
});
