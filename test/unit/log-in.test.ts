import { beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import type { DomainError } from '../../src/domain/errors.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import type { OrganizationStatus } from '../../src/domain/organization/schema.ts';
import type { Remaining } from '../../src/domain/rate-limit/schema.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, virtualTime } from '../support/instance.ts';
import { countingExecutor } from '../support/store-calls.ts';

const PASSWORD = 'correct horse battery';
const BAIT = 'the password of a bait';
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

const create = (organization_name: string, email = EMAIL, password = PASSWORD) =>
  createOrganization(context, { organization_name, email, password });

const verify = (_id: string) => context.master.admins.updateOne({ _id }, { $set: { email_verified: true } });

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

  test('without an organization lists the verified accounts that the password fits', async () => {
    for (const name of ['First', 'Second']) await verify((await create(name)).admin_id);
    await create('Unverified');
    await verify((await create('Other', EMAIL, 'another password')).admin_id);
    await expect(logIn(context, { email: EMAIL, password: PASSWORD })).rejects.toMatchObject({
      code: 'organization_required',
      organizations: ['First', 'Second'],
    });
    const signedIn = await logIn(context, { email: EMAIL, password: PASSWORD, organization_name: 'second' });
    expect(signedIn.organization).toBe('Second');
  });

  test('without an organization is to the oldest account that is active, and to the verified ones once there are any', async () => {
    const [first, second, third] = [await create('First'), await create('Second'), await create('Third')];
    const signIn = async () => (await logIn(context, { email: EMAIL, password: PASSWORD })).organization;
    expect(await signIn()).toBe('First');
    const ended = { $set: { status: 'deleted' } } as const;
    await context.master.organizations.updateOne({ _id: first.organization_id }, ended);
    expect(await signIn()).toBe('Second');
    await verify(third.admin_id);
    expect(await signIn()).toBe('Third');
    await context.master.organizations.updateOne({ _id: third.organization_id }, ended);
    expect(await signIn()).toBe('Second');
    await verify(second.admin_id);
    expect(await signIn()).toBe('Second');
  });

  test('of an email that others have registered goes through, however often they did and with whatever password', async () => {
    await create('Owned');
    for (let bait = 1; bait <= 12; bait++) await create(`Bait ${bait}`, EMAIL, bait % 2 === 0 ? PASSWORD : BAIT);
    hashed = 0;
    expect((await logIn(context, { email: EMAIL, password: PASSWORD })).organization).toBe('Owned');
    expect(hashed).toBe(1);
  });

  test('of an owner who has verified the email goes through, also where others registered it before', async () => {
    for (let bait = 1; bait <= 12; bait++) await create(`Bait ${bait}`, EMAIL, BAIT);
    await verify((await create('Owned')).admin_id);
    expect((await logIn(context, { email: EMAIL, password: PASSWORD })).organization).toBe('Owned');
  });

  test.each([
    ['an IPv4 address', '192.0.2.1'],
    ['an IPv6 address', '2001:db8::1'],
  ])('from %s costs the same and tells the same, whatever accounts there are', async (_, address) => {
    await create('One', 'one@example.com');
    await create('Owned', 'owned@example.com');
    for (const who of ['owned', 'bait']) {
      for (let bait = 1; bait <= 9; bait++) await create(`Bait ${bait} of ${who}`, `${who}@example.com`, BAIT);
    }
    await verify((await create('Verified', 'verified@example.com')).admin_id);
    await create('Bait of verified', 'verified@example.com', BAIT);
    const ended = await create('Ended', 'ended@example.com');
    await context.master.organizations.updateOne({ _id: ended.organization_id }, { $set: { status: 'deleted' } });
    const tried = ['nobody', 'one', 'owned', 'bait', 'verified', 'ended'];
    const costs = new Map<string, unknown>();
    for (const who of tried) {
      await context.master.budgets.deleteMany({});
      const noted: string[] = [];
      const counting = countingExecutor(executor);
      const request = { id: 'test', address, device: null, deviceCookies: ['a.b.c'] };
      const over = { ...open(counting), request, noteBudget: ({ name }: Remaining) => noted.push(name) };
      const cost: unknown[] = [];
      // Ten are tried, and the next ones are refused before.
      for (let attempt = 1; attempt <= 12; attempt++) {
        hashed = 0;
        const email = `${who}@example.com`;
        const input = { email, password: 'wrong' };
        const signIn = () => logIn(over, input).catch(({ code, message }: DomainError) => [code, message]);
        const { result, calls } = await counting.measure(signIn);
        cost.push([result, hashed, calls.rounds.map((round) => [...round].sort())]);
      }
      const budgets = await context.master.budgets.find({});
      costs.set(who, [cost, noted, budgets.map(({ used }) => used).sort()]);
    }
    for (const who of tried) expect(costs.get(who), who).toEqual(costs.get('nobody'));
  });
});
