import { beforeEach, describe, expect, test, vi } from 'vitest';
import { firstCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import { insertMail } from '../../src/domain/outbox/outbox.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { GatewayNamespace } from '../../src/store/gateway/executor.ts';
import { replyTo } from '../../src/store/gateway/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf } from '../support/instance.ts';

vi.mock('cloudflare:workers', () => ({ DurableObject: class {} }));
const printed = vi.spyOn(console, 'log').mockImplementation(() => {});

const { default: worker } = await import('../../src/entry/worker.ts');

type Env = Parameters<typeof worker.fetch>[1];

/** What the runtime makes of a call whose request has ended: nothing, ever. */
const never = () => new Promise<never>(() => {});

describe('an isolate', () => {
  let executor: Executor;
  /** What happens before a call of the gateway. */
  let beforeCall: () => Promise<void>;
  let env: Env;
  let kept: Promise<unknown>[];

  beforeEach(() => {
    executor = createSqliteExecutor(openSqliteFile(':memory:'));
    beforeCall = async () => {};
    kept = [];
    const object: ReturnType<GatewayNamespace<{ secret(): Promise<string> }>['getByName']> = {
      execute: async (command) => {
        await beforeCall();
        return replyTo(executor, command);
      },
      secret: async () => {
        await beforeCall();
        return 'for tests only: 32 bytes and more of it';
      },
    };
    const variables: Record<string, string> = { STORE_TIMEOUT_MS: '100' };
    env = { ...variables, STORE_GATEWAY: { getByName: () => object } } as unknown as Env;
  });

  const get = (path: string) =>
    worker.fetch(new Request(`http://localhost${path}`), env, {
      waitUntil: (work: Promise<unknown>) => void kept.push(work),
      passThroughOnException: () => {},
    } as never);

  test.each([
    ['for the secret', 0],
    ['for the database', 1],
  ])('serves later requests when the first one never got an answer %s', async (_, answered) => {
    let calls = 0;
    beforeCall = async () => {
      if (calls++ >= answered) await never();
    };
    const first = get('/org/get?organization_name=TestCo');
    await vi.waitFor(() => expect(calls).toBe(answered + 1));
    beforeCall = async () => {};
    expect((await get('/org/get?organization_name=TestCo')).status).toBe(404);
    expect((await get('/health/ready')).status).toBe(200);
    void first;
  });

  test.each([
    ['for the secret', 0],
    ['for the database', 1],
  ])('serves later requests when the store was away %s at the first one', async (_, answered) => {
    let calls = 0;
    beforeCall = async () => {
      if (calls++ >= answered) throw new Error('Away.');
    };
    expect((await get('/org/get?organization_name=TestCo')).status).toBe(503);
    beforeCall = async () => {};
    expect((await get('/org/get?organization_name=TestCo')).status).toBe(404);
  });

  test('keeps the work of a request whose caller got 503 going, to its end', async () => {
    expect((await get('/health/ready')).status).toBe(200);
    kept = [];
    let goOn = () => {};
    beforeCall = () =>
      new Promise((resolve) => {
        goOn = resolve;
      });
    expect((await get('/org/get?organization_name=TestCo')).status).toBe(503);
    expect(kept).toHaveLength(1);
    goOn();
    await kept[0];
  });

  test('logs an error that comes after the 503, once, and leaves no rejection to the runtime', async () => {
    expect((await get('/health/ready')).status).toBe(200);
    kept = [];
    let fail = () => {};
    beforeCall = () =>
      new Promise((_, reject) => {
        fail = () => reject(new Error('Away.'));
      });
    const response = await get('/org/get?organization_name=TestCo');
    expect(response.status).toBe(503);
    await response.text();
    printed.mockClear();
    fail();
    await expect(kept[0]).resolves.toBeUndefined();
    expect(printed.mock.calls.map(([line]) => JSON.parse(String(line)))).toMatchObject([
      {
        level: 'warn',
        event: 'request.failed_late',
        request_id: response.headers.get('X-Request-Id'),
        error: { code: 'Unavailable' },
      },
    ]);
  });

  test('says which store it runs on, once', async () => {
    printed.mockClear();
    for (let request = 0; request < 2; request++) await get('/health/live');
    const events = printed.mock.calls.map(([line]) => JSON.parse(String(line)));
    expect(events.filter(({ event }) => event === 'service.started')).toMatchObject([{ store: 'embedded' }]);
  });

  test('does a bounded part of a backlog of every kind in a run, and sends mails meanwhile', async () => {
    const BACKLOG = 300;
    // A quarter of what the runtime allows; it refuses the calls after that.
    const SUBREQUESTS = 2500;
    const { context } = createInstance(executor, { MASTER_DB: 'master_db' });
    await worker.scheduled(undefined, env);
    const { organization, admin } = await ownerOf(context, 'Busy');
    const { organizations, collections, signInFailures, checkpoints, mails } = context.master;
    const past = new Date(Date.now() - 3 * 60 * 60_000);
    for (let item = 0; item < BACKLOG; item++) {
      const id = context.newId();
      const own = { _id: id, organization_id: id, due_at: past };
      const stub = { ...organization, ...own, status: 'erased', key: '', name: '', erased_at: past } as const;
      await organizations.insertOne(stub);
      const placement = { ...organization.placement, collection: `org_${item}` };
      const left = { state: 'dropped', asides: {}, version: 1, quiet_since: past, operation_id: id } as const;
      await collections.insertOne({ ...own, ...left, kind: 'collection', placement });
      const failures = { event_id: id, count: 1, address: null, request_id: '', first_at: past, last_at: past };
      const account = { organization_id: organization._id, admin_id: admin._id };
      await signInFailures.insertOne({ ...failures, ...account, _id: id, action: 'session.sign_in_failed' });
      await checkpoints.insertOne({ ...firstCheckpoint(context, id), due_at: past });
      const mail = { ...account, kind: 'password_changed', to: admin.email, to_key: admin.email_key } as const;
      await insertMail(context, { ...mail, _id: id });
      await mails.updateOne({ _id: id }, { $set: { due_at: past } });
    }
    let calls = 0;
    beforeCall = async () => {
      if (++calls > SUBREQUESTS) throw new Error('Too many subrequests.');
    };
    await worker.scheduled(undefined, env);
    expect(calls).toBeLessThan(SUBREQUESTS);
    const left = await Promise.all([
      organizations.count({ status: 'erased', due_at: past }),
      collections.count({ kind: 'collection', due_at: past }),
      signInFailures.count({}),
      checkpoints.count({ due_at: past }),
      mails.count({ due_at: past }),
    ]);
    // Four rounds: of 20 of each kind, and of 100 names that late writes are looked for at.
    const rest = BACKLOG - 80;
    expect(left).toEqual([rest, 0, rest, rest, rest]);
  });

  test('does not serve with an invalid variable, and its log names the variable', async () => {
    printed.mockClear();
    Object.assign(env, { MONGO_URI: 'mongodb://', JWT_SECRET: 'for tests only: 32 bytes and more of it' });
    const response = await get('/health/live');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: 'unavailable' });
    const [line] = printed.mock.calls.at(-1) ?? [];
    expect(JSON.parse(String(line))).toMatchObject({
      event: 'service.not_started',
      problems: [expect.stringMatching(/^MONGO_URI /)],
    });
  });
});
