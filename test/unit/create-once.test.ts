import { beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import { createOrganizationOnce } from '../../src/domain/idempotency/create-once.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, shuffled, virtualTime } from '../support/instance.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const LEASE_MS = 100;

const request = {
  idempotency_key: 'key',
  organization_name: 'Once',
  email: 'owner@example.com',
  password: 'correct horse battery',
};

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

const organizations = () => context.master.organizations.find({ status: 'active' });

describe('a create with an Idempotency-Key', () => {
  test('gives the same answer again, and makes one organization', async () => {
    const first = await createOrganizationOnce(context, request);
    expect(await createOrganizationOnce(context, request)).toEqual(first);
    expect(await organizations()).toHaveLength(1);
  });

  test('keeps neither the email nor the password', async () => {
    await createOrganizationOnce(context, request);
    const stored = JSON.stringify(await context.master.idempotency.find({}));
    expect(stored).toContain('org_once');
    for (const secret of [request.email, request.password, request.idempotency_key]) {
      expect(stored).not.toContain(`"${secret}"`);
    }
  });

  test('is refused with the key of another request', async () => {
    await createOrganizationOnce(context, request);
    await expect(createOrganizationOnce(context, { ...request, email: 'another@example.com' })).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });

  test('shares its key with nobody at another address, who may use it for a request of their own', async () => {
    const from = (address: string): Context => ({ ...context, request: { id: 'request', address, device: null } });
    const first = await createOrganizationOnce(from('2001:db8::1'), request);
    expect(await createOrganizationOnce(from('2001:db8::2'), request)).toEqual(first);
    for (const stranger of ['2001:db8:0:1::1', '192.0.2.1']) {
      await expect(createOrganizationOnce(from(stranger), request)).rejects.toMatchObject({
        code: 'organization_name_taken',
      });
      await createOrganizationOnce(from(stranger), {
        ...request,
        organization_name: `Of ${stranger.replaceAll(':', ' ')}`,
      });
    }
    expect(await organizations()).toHaveLength(3);
  });

  test('gives its first answer to a repeat with another password, and keeps the first password', async () => {
    const first = await createOrganizationOnce(context, request);
    expect(await createOrganizationOnce(context, { ...request, password: 'another battery staple' })).toEqual(first);
    const admin = await context.master.admins.findOne({ _id: first.admin_id });
    expect(admin?.password_hash).toBe(`plain:${request.password}`);
  });

  test('may use its key again after a refusal, and after a day', async () => {
    await createOrganizationOnce(context, request);
    const taken = { ...request, idempotency_key: 'another key' };
    for (const _ of ['first', 'again']) {
      await expect(createOrganizationOnce(context, taken)).rejects.toMatchObject({ code: 'organization_name_taken' });
    }
    await createOrganizationOnce(context, { ...taken, organization_name: 'Another' });
    time.advance(DAY_MS);
    await createOrganizationOnce(context, { ...request, organization_name: 'A third' });
    expect(await organizations()).toHaveLength(3);
  });

  test('makes one organization when it is sent many times at once', async () => {
    const answers = await Promise.allSettled(
      Array.from({ length: 8 }, (_, seed) => createOrganizationOnce(open(shuffled(executor, seed)).context, request)),
    );
    const [organization, ...others] = await organizations();
    expect(others).toEqual([]);
    for (const answer of answers) {
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'idempotency_key_in_use' });
      else expect(answer.value.organization_id).toBe(organization?._id);
    }
  });

  test('makes one organization when it is sent again after a crash at any store call', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const again = { ...request, idempotency_key: `${when} ${call}`, organization_name: `Crash ${when} ${call}` };
        const died = await createOrganizationOnce(open(goneAt(executor, call, when)).context, again).then(
          () => false,
          () => true,
        );
        time.advance(LEASE_MS + 1);
        const answer = await createOrganizationOnce(context, again);
        const made = (await organizations()).filter(({ name }) => name === again.organization_name);
        expect(made.map(({ _id }) => _id)).toEqual([answer.organization_id]);
        const [admin, ...others] = await context.master.admins.find({ organization_id: answer.organization_id });
        expect(others).toEqual([]);
        expect(admin).toMatchObject({ _id: answer.admin_id, email: answer.admin_email });
        if (!died) break;
      }
    }
  });

  test('waits for the first request as long as its organization may still be created', async () => {
    await expect(createOrganizationOnce(open(goneAt(executor, 4, 'after')).context, request)).rejects.toThrow();
    const [creating] = await context.master.organizations.find({ status: 'creating' });
    time.advance(LEASE_MS + 1);
    const due_at = new Date(time.clock().getTime() + LEASE_MS);
    await context.master.organizations.updateOne({ _id: creating?._id ?? '' }, { $set: { due_at } });
    await expect(createOrganizationOnce(context, request)).rejects.toMatchObject({ code: 'idempotency_key_in_use' });
    time.advance(LEASE_MS + 1);
    await createOrganizationOnce(context, request);
  });

  test('goes on when the reply to the write of its key was lost', async () => {
    let lost = 0;
    const losing: Executor = {
      limits: executor.limits,
      close: () => executor.close(),
      execute: async (command) => {
        const result = await executor.execute(command);
        const { op, collection }: { op: string; collection?: string } = command;
        if (op !== 'insertOne' || collection !== 'idempotency_keys' || lost > 0) return result;
        lost++;
        throw new StoreError('OutcomeUnknown', 'The reply was lost.');
      },
    };
    const answer = await createOrganizationOnce(open(losing).context, request);
    expect(lost).toBe(1);
    expect((await organizations()).map(({ _id }) => _id)).toEqual([answer.organization_id]);
  });
});
