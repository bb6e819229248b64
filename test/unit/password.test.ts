import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import { checkNewPassword } from '../../src/domain/admin/password-policy.ts';
import type { Context } from '../../src/domain/context.ts';
import { DomainError } from '../../src/domain/errors.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Bound, Hasher } from '../../src/platform/hashing/hasher.ts';
import { createHasher, HasherBusyError, queue, queues, slots } from '../../src/platform/hashing/hasher.ts';
import { createWorkerHasher } from '../../src/platform/hashing/worker.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createServices } from '../../src/services.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { until } from '../support/deadline.ts';
import { createInstance, ownerOf } from '../support/instance.ts';

const PASSWORD = 'TestPass123';
const hashAt = (cost: number) => `$2b$${String(cost).padStart(2, '0')}$${'x'.repeat(53)}`;

describe('the work of comparing a password', () => {
  const COST = 12;

  test.each([
    ['a hash of the configured cost', PASSWORD, hashAt(COST)],
    ['a hash from before the cost was raised', PASSWORD, hashAt(10)],
    ['a hash from before it was raised by one', PASSWORD, hashAt(11)],
    ['no hash', PASSWORD, ''],
    ['a malformed hash', PASSWORD, hashAt(COST).slice(1)],
    ['a password of 73 bytes', 'x'.repeat(73), hashAt(COST)],
    ['a password of 73 bytes and an old hash', 'x'.repeat(73), hashAt(10)],
    ['a password with a NUL', 'abcdefgh\0', hashAt(COST)],
  ])('is the same for %s', async (_, password, hash) => {
    let rounds = 0;
    const { verify } = createHasher(
      {
        hash: async () => '',
        compare: async (_password, compared) => {
          rounds += 2 ** Number(compared.slice(4, 6));
          return false;
        },
      },
      { cost: COST, bound: queue(1, 1, 1000) },
    );
    expect(await verify(password, hash)).toBe(false);
    expect(rounds).toBe(2 ** COST);
  });
});

describe('the rules for a new password', () => {
  const refusalOf = (password: string, owner = {}, env = {}): string | undefined => {
    const { context } = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), env);
    try {
      checkNewPassword(context, password, 'password', owner);
    } catch (error) {
      if (error instanceof DomainError) return error.issues[0]?.message;
      throw error;
    }
    return undefined;
  };

  test('take what few would guess', () => {
    const owner = { email: 'admin@testco.com', organizationName: 'TestCo' };
    for (const password of [PASSWORD, 'AnotherPass456', 'x'.repeat(72), '\u{1F600}'.repeat(8), 'testco is no name']) {
      expect(refusalOf(password, owner), password).toBe(undefined);
    }
  });

  test('refuse what many use and one’s own names, in whatever case and with whatever between the letters', () => {
    const owner = { email: 'Jo.Smith-Jones@example.com', organizationName: 'Ｂig & Büro' };
    for (const password of ['password', 'QwertyUiop', 'jo.smith-jones@EXAMPLE.com', 'JoSmithJones', 'big-büro']) {
      expect(refusalOf(password, owner), password).toContain('attackers try');
    }
    expect(refusalOf('--------', { organizationName: 'a' })).toBe(undefined);
  });

  test('say how long a password is that is too long', () => {
    expect(refusalOf('é'.repeat(37))).toContain('this has 74');
  });

  test('take what many use with PASSWORD_BLOCKLIST=off, and neither a short one nor the owner’s names', () => {
    const off = { PASSWORD_BLOCKLIST: 'off' };
    const owner = { email: 'admin@testco.com', organizationName: 'TestCo Ltd' };
    for (const password of ['password', 'QwertyUiop']) {
      expect(refusalOf(password, owner, off), password).toBe(undefined);
      for (const blocklist of ['common', 'breached']) {
        expect(refusalOf(password, owner, { PASSWORD_BLOCKLIST: blocklist }), password).toContain('most used');
      }
    }
    for (const password of ['1234567', 'testco-ltd', 'x'.repeat(73), 'a NUL is\0in it']) {
      expect(refusalOf(password, owner, off), password).not.toBe(undefined);
    }
  });
});

describe('a sign-in when the cost was raised', () => {
  let executor: Executor;
  let context: Context;
  /** What happens while a password is hashed anew. */
  let meanwhile: () => Promise<void> = async () => {};

  beforeAll(async () => {
    executor = createSqliteExecutor(openSqliteFile(':memory:'));
    context = contextAt(12);
    await services(12).prepare();
  });

  afterAll(() => executor.close());

  const services = (cost: number) => {
    const hasher: Hasher = {
      hash: async () => {
        await meanwhile();
        return hashAt(cost);
      },
      verify: async (password) => password === PASSWORD,
    };
    return createServices(parseConfig({ BCRYPT_COST: String(cost) }), {
      executor,
      hasher,
      jwtSecret: 'for tests only: 32 bytes and more of it',
      log: () => {},
    });
  };
  const contextAt = (cost: number) => services(cost).context;

  const signIn = (at: Context, email: string, password = PASSWORD) => logIn(at, { email, password });

  /** An account whose hash was made at cost 10. */
  const account = async () => {
    meanwhile = async () => {};
    const email = `${context.newId()}@example.com`;
    const input = { organization_name: email, email, password: PASSWORD };
    const { admin_id } = await createOrganization(contextAt(10), input);
    return {
      email,
      admin_id,
      stored: async () => (await context.master.admins.findOne({ _id: admin_id }))?.password_hash,
    };
  };

  test('hashes the password anew, once, and ends no session for it', async () => {
    const { email, stored } = await account();
    const before = await signIn(contextAt(10), email);
    expect(await stored()).toBe(hashAt(10));
    await expect(signIn(context, email, 'wrong password')).rejects.toThrow(DomainError);
    expect(await stored()).toBe(hashAt(10));
    await signIn(context, email);
    expect(await stored()).toBe(hashAt(12));
    // A cost that was lowered again changes nothing back.
    await signIn(contextAt(11), email);
    expect(await stored()).toBe(hashAt(12));
    expect((await context.tokens.verify(before.access_token))?.admin_email).toBe(email);
  });

  test('leaves a password alone that was changed meanwhile', async () => {
    const { email, admin_id, stored } = await account();
    meanwhile = async () => {
      await context.master.admins.updateOne({ _id: admin_id }, { $set: { password_hash: 'of another password' } });
    };
    await signIn(context, email);
    expect(await stored()).toBe('of another password');
  });

  test('goes through when there is no time to hash', async () => {
    const { email, stored } = await account();
    meanwhile = async () => {
      throw new HasherBusyError();
    };
    expect((await signIn(context, email)).admin_email).toBe(email);
    expect(await stored()).toBe(hashAt(10));
  });
});

describe('sign-ins at once', () => {
  test('over the bound are 503 with Retry-After, and those within it are answered', async () => {
    const executor = createSqliteExecutor(openSqliteFile(':memory:'));
    const held: (() => void)[] = [];
    const hasher = createHasher(
      {
        hash: async () => hashAt(10),
        compare: () => new Promise((resolve) => held.push(() => resolve(false))),
      },
      { cost: 10, bound: queue(2, 3, 60_000) },
    );
    const services = createServices(parseConfig({}), {
      executor,
      hasher,
      jwtSecret: 'for tests only: 32 bytes and more of it',
      log: () => {},
    });
    const app = createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
    let answered = 0;
    const answers = Array.from({ length: 9 }, async (_, index) => {
      const body = JSON.stringify({ email: `admin-${index}@example.com`, password: PASSWORD });
      const init = { method: 'POST', body, headers: { 'Content-Type': 'application/json' } };
      const response = await app.request('/admin/login', init);
      answered++;
      return response;
    });
    await until('the refusals', () => (answered === 4 ? true : undefined));
    const readiness = await app.request('/health/live');
    expect(readiness.status).toBe(200);
    await until('the others', () => {
      for (const finish of held.splice(0)) finish();
      return answered === 9 ? true : undefined;
    });
    const statuses = [];
    for (const response of await Promise.all(answers)) {
      statuses.push(response.status);
      expect(response.headers.has('Retry-After')).toBe(response.status === 503);
      expect(((await response.json()) as { code: string }).code).toBe(
        response.status === 503 ? 'busy' : 'invalid_credentials',
      );
    }
    expect(statuses.sort()).toEqual([401, 401, 401, 401, 401, 503, 503, 503, 503]);
    await executor.close();
  });

  const nobody = { email: 'nobody@example.com', password: PASSWORD };

  test.each([
    ['sign-in', (context: Context) => logIn(context, nobody)],
    ['restore', (context: Context) => restoreOrganization(context, { ...nobody, organization_name: 'None' })],
  ])('over the bound of sign-ins are refused without a store call: a %s', async (_, enter) => {
    const executor = createSqliteExecutor(openSqliteFile(':memory:'));
    const calls: string[] = [];
    const counting: Executor = {
      ...executor,
      execute: (command) => {
        calls.push(command.op);
        return executor.execute(command);
      },
    };
    const held: (() => void)[] = [];
    const services = createServices(parseConfig({}), {
      executor: counting,
      hasher: {
        hash: async () => hashAt(10),
        verify: () => new Promise((resolve) => held.push(() => resolve(false))),
        admit: slots(1, 5000),
      },
      jwtSecret: 'for tests only: 32 bytes and more of it',
      log: () => {},
    });
    const signIn = () => enter(services.context);
    const first = signIn();
    const finish = await until('the first to hash', () => held[0]);
    calls.length = 0;
    await expect(signIn()).rejects.toThrow(HasherBusyError);
    expect(calls).toEqual([]);
    finish();
    await expect(first).rejects.toMatchObject({ code: 'invalid_credentials' });
    await executor.close();
  });

  test('on Workers take half of the slots for one /48 of addresses: others sign in beside them', async () => {
    const executor = createSqliteExecutor(openSqliteFile(':memory:'));
    const services = createInstance(executor, {}, { hasher: createWorkerHasher({ cost: 10 }) });
    const finish: (() => void)[] = [];
    const signIn = (address: string) => {
      const { passwords } = services.contextFor({
        request: { id: 'test', address, device: null },
        noteBudget: () => {},
      });
      return passwords.admit(() => new Promise<void>((resolve) => finish.push(resolve)));
    };
    const signIns = [1, 2, 3, 4, 5, 6].map((network) => signIn(`2001:db8:bad:${network}::1`));
    const others = [1, 2, 3, 4].map((network) => signIn(`192.0.${network}.1`));
    await expect(signIn('203.0.113.1')).rejects.toThrow(HasherBusyError);
    for (const end of finish) end();
    const [held, beside] = [await Promise.allSettled(signIns), await Promise.allSettled(others)];
    const admitted = (all: typeof held) => all.filter(({ status }) => status === 'fulfilled').length;
    expect([admitted(held), admitted(beside)]).toEqual([4, 4]);
    const again = signIn('2001:db8:bad:1::1');
    finish.at(-1)?.();
    await again;
    await executor.close();
  });

  test('of one email with several verified accounts hash one password at a time', async () => {
    const executor = createSqliteExecutor(openSqliteFile(':memory:'));
    let verified = 0;
    const alone = slots(1, 5000);
    const { context } = createServices(parseConfig({}), {
      executor,
      hasher: {
        hash: async () => hashAt(10),
        verify: () =>
          alone(async () => {
            await nextTurn();
            verified++;
            return true;
          }),
      },
      jwtSecret: 'for tests only: 32 bytes and more of it',
      log: () => {},
    });
    const email = 'owner@example.com';
    for (const organization_name of ['First', 'Second']) {
      const created = await createOrganization(context, { organization_name, email, password: PASSWORD });
      await context.master.admins.updateOne({ _id: created.admin_id }, { $set: { email_verified: true } });
    }
    await expect(logIn(context, { email, password: PASSWORD })).rejects.toMatchObject({
      code: 'organization_required',
    });
    expect(verified).toBe(2);
    await executor.close();
  });
});

describe('one who is signed in and hashes as fast as possible', () => {
  test.each([
    ['on Node and Bun', queues(4), 2],
    ['on Workers', { bound: slots(2, 60_000), share: slots(1, 60_000) }, 1],
  ])('takes half of the slots, and others sign in: %s', async (_, { bound, share }, half) => {
    const executor = createSqliteExecutor(openSqliteFile(':memory:'));
    /** What is being compared, in the order in which it began. */
    const held: ((matches: boolean) => void)[] = [];
    const bcrypt = {
      hash: async () => hashAt(10),
      compare: () => new Promise<boolean>((resolve) => held.push(resolve)),
    };
    const hasher = { ...createHasher(bcrypt, { cost: 10, bound }), share };
    const env = { LIMIT_LOGIN_ACCOUNT: 'off' };
    const { context, prepare } = createInstance(executor, env, { hasher });
    await prepare();
    const principal = await ownerOf(context, 'Greedy');
    const other = { organization_name: 'Other', email: 'other@example.com', password: PASSWORD };
    await createOrganization(context, other);

    let answered = 0;
    const changes = Array.from({ length: 100 }, async () => {
      const input = { principal, new_organization_name: 'Greedier', current_password: PASSWORD };
      const [change] = await Promise.allSettled([updateOrganization(context, input)]);
      answered++;
      return change;
    });
    const waiting = half === 1 ? 0 : 32;
    await until('the refusals', () => (answered === 100 - half - waiting ? true : undefined));
    expect(held).toHaveLength(half);
    const signIn = logIn(context, { email: other.email, password: PASSWORD });
    const finish = await until('the sign-in to hash', () => held[half]);
    expect(held).toHaveLength(half + 1);
    finish(true);
    expect((await signIn).organization).toBe('Other');

    await until('the changes', () => {
      for (const end of held.splice(0)) end(false);
      return answered === 100 ? true : undefined;
    });
    const refusals = (await Promise.all(changes)).filter((change) => change?.status === 'rejected');
    expect(refusals.filter(({ reason }) => reason instanceof HasherBusyError).length).toBeGreaterThanOrEqual(
      100 - half - waiting,
    );
    await executor.close();
  });
});

describe('the bounds of hashing', () => {
  const HOLD_MS = 5000;

  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  test('refuse what has waited too long for its turn, and hash what comes after it', async () => {
    const bound = queue(1, 2, 1000);
    let finish = () => {};
    const first = bound(() => new Promise<void>((resolve) => (finish = resolve)));
    let hashed = 0;
    const work = async () => hashed++;
    const waiting = [bound(work), bound(work)];
    vi.advanceTimersByTime(1001);
    finish();
    await first;
    for (const result of await Promise.allSettled(waiting)) {
      expect(result).toMatchObject({ status: 'rejected', reason: expect.any(HasherBusyError) });
    }
    expect(hashed).toBe(0);
    await bound(work);
    expect(hashed).toBe(1);
  });

  /** Holds the only place of a queue until it is called. */
  const occupy = (bound: Bound) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    return { held: bound(() => promise), finish: resolve };
  };

  test('let callers take turns: one with many requests delays another by one', async () => {
    const bound = queue(1, 64, 1000);
    const { held, finish } = occupy(bound);
    const order: string[] = [];
    const calls = ['many', 'many', 'many', 'other', 'third', 'other'].map((caller) =>
      bound(async () => order.push(caller), caller),
    );
    finish();
    await Promise.all([held, ...calls]);
    expect(order).toEqual(['many', 'other', 'third', 'many', 'other', 'many']);
  });

  test('keep places for others: over the bound, the caller who has most of them loses the last one', async () => {
    const bound = queue(1, 4, 1000);
    const { held, finish } = occupy(bound);
    const callers = ['many', 'many', 'many', 'many', 'many', 'other', 'other', 'other', 'third'];
    const calls = callers.map((caller) => bound(async () => caller, caller));
    finish();
    await held;
    const done = (await Promise.allSettled(calls)).flatMap((call) => (call.status === 'fulfilled' ? [call.value] : []));
    expect(done).toEqual(['many', 'other', 'other', 'third']);
  });

  /** Work whose request was dropped by the runtime: it never ends. */
  const dropped = () => new Promise<never>(() => {});

  test('over the bound is refused at once, and a slot is free when its work has ended', async () => {
    const bound = slots(2, HOLD_MS);
    const finish: (() => void)[] = [];
    const held = [0, 1].map(() => bound(() => new Promise<void>((resolve) => finish.push(resolve))));
    await expect(bound(async () => 'done')).rejects.toThrow(HasherBusyError);
    finish[0]?.();
    await held[0];
    expect(await bound(async () => 'done')).toBe('done');
    await expect(
      bound(async () => {
        throw new RangeError('Refused.');
      }),
    ).rejects.toThrow(RangeError);
    expect(await bound(async () => 'done')).toBe('done');
  });

  test('gives the slots of dropped requests back after a time', async () => {
    const bound = slots(2, HOLD_MS);
    for (let request = 0; request < 80; request++) {
      void bound(dropped).catch((error: unknown) => expect(error).toBeInstanceOf(HasherBusyError));
    }
    await expect(bound(async () => 'done')).rejects.toThrow(HasherBusyError);
    vi.advanceTimersByTime(HOLD_MS);
    expect(await bound(async () => 'done')).toBe('done');
  });
});
