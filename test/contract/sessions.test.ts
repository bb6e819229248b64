import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { refreshSession } from '../../src/domain/session/refresh.ts';
import { endSession, listSessions, logOut, logOutEverywhere } from '../../src/domain/session/sessions.ts';
import type { Tokens } from '../../src/domain/session/tokens.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createServices } from '../../src/services.ts';
import { createMongoExecutor } from '../../src/store/mongo/executor.ts';
import type { Executor } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';

const TIMEOUT_MS = 10_000;
const DAY_MS = 24 * 60 * 60 * 1000;
const PASSWORD = 'correct horse battery';

const stores: Record<string, (() => Executor) | undefined> = {
  'the embedded store': () => createSqliteExecutor(openSqliteFile(':memory:')),
  SecantusDB: atUri(inject('secantusUri')),
};

function atUri(uri: string | undefined): (() => Executor) | undefined {
  return uri === undefined ? undefined : () => createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS });
}

describe.each(Object.entries(stores))('sessions on %s', (_, open) => {
  let executor: Executor;
  let context: Context;
  let close: () => Promise<void>;
  /** What the clock shows before the real one. */
  let ahead = 0;
  /** Set: the next update of a session goes through, and its reply is lost. */
  let loseReply = false;

  beforeAll(async () => {
    if (open === undefined) return;
    executor = open();
    const losing: Executor = {
      limits: executor.limits,
      close: () => executor.close(),
      execute: async (command) => {
        const result = await executor.execute(command);
        const { op, collection }: { op: string; collection?: string } = command;
        if (loseReply && op === 'updateOne' && collection === 'sessions') {
          loseReply = false;
          throw new StoreError('OutcomeUnknown', 'The reply was lost.');
        }
        return result;
      },
    };
    const config = parseConfig({ MASTER_DB: `sessions_${randomBytes(6).toString('hex')}` });
    const services = createServices(config, {
      executor: losing,
      time: {
        clock: () => new Date(Date.now() + ahead),
        wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      },
      // Hashing is no part of this.
      hasher: {
        hash: async (password) => `hash of ${password}`,
        verify: async (password, hash) => hash === `hash of ${password}`,
      },
      jwtSecret: randomBytes(32).toString('hex'),
      log: () => undefined,
    });
    await services.prepare();
    context = services.context;
    close = async () => {
      await services.context.master.database.drop();
      await services.close();
    };
  });

  afterAll(() => close?.());

  type Account = { organization_name: string; email: string; password: string };

  const newAccount = async (name = `Org ${randomBytes(6).toString('hex')}`): Promise<Account> => {
    const account = {
      organization_name: name,
      email: `${randomBytes(6).toString('hex')}@example.com`,
      password: PASSWORD,
    };
    await createOrganization(context, account);
    return account;
  };
  const signIn = (account: Account): Promise<Tokens> => logIn(context, account);
  const refresh = (tokens: Tokens): Promise<Tokens> => refreshSession(context, { refresh_token: tokens.refresh_token });
  const principalOf = (tokens: Tokens) => authenticate(context, tokens.access_token);

  const expectGood = async (tokens: Tokens) => {
    await expect(principalOf(tokens)).resolves.toBeDefined();
  };
  const expectEnded = async (tokens: Tokens) => {
    await expect(principalOf(tokens)).rejects.toMatchObject({ code: 'invalid_token' });
    await expect(refresh(tokens)).rejects.toMatchObject({ code: 'invalid_token' });
  };

  const promise = test.skipIf(open === undefined);

  promise('a refresh token is good once, and each gives the next', async () => {
    let tokens = await signIn(await newAccount());
    for (let turn = 0; turn < 3; turn++) {
      tokens = await refresh(tokens);
      await expectGood(tokens);
    }
  });

  promise('a spent refresh token, however old, ends the session with all its tokens', async () => {
    const account = await newAccount();
    for (const turns of [1, 3]) {
      const first = await signIn(account);
      const other = await signIn(account);
      let newest = first;
      for (let turn = 0; turn < turns; turn++) newest = await refresh(newest);
      await expectEnded({ ...newest, refresh_token: first.refresh_token, access_token: 'a.b.c' });
      await expectEnded(newest);
      await expectGood(other);
    }
  });

  promise('a made-up token for a session that is known ends nothing', async () => {
    const tokens = await signIn(await newAccount());
    const [id, family = '', secret = ''] = tokens.refresh_token.split('.');
    const stranger = 'f'.repeat(family.length);
    const refused = { code: 'invalid_token' };
    for (const made of [`${id}.${stranger}.${secret}`, `${id}.${stranger}.${'0'.repeat(secret.length)}`]) {
      await expect(refreshSession(context, { refresh_token: made })).rejects.toMatchObject(refused);
      await logOut(context, { refresh_token: made });
    }
    for (const made of [`${id}..`, `${id}`]) {
      await expect(refreshSession(context, { refresh_token: made })).rejects.toMatchObject(refused);
      await expect(logOut(context, { refresh_token: made })).rejects.toMatchObject(refused);
    }
    await expectGood(await refresh(tokens));
  });

  promise('of ten refreshes of one token at once exactly one wins', async () => {
    const tokens = await signIn(await newAccount());
    const answers = await Promise.allSettled(Array.from({ length: 10 }, () => refresh(tokens)));
    const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason.code] : []));
    expect(refused).toEqual(Array.from({ length: 9 }, () => 'invalid_token'));
    // Nobody can tell a thief among the ten: the session has ended.
    for (const answer of answers) if (answer.status === 'fulfilled') await expectEnded(answer.value);
  });

  promise('a refresh whose reply from the store was lost gives tokens that are good', async () => {
    const tokens = await signIn(await newAccount());
    loseReply = true;
    const next = await refresh(tokens);
    expect(loseReply).toBe(false);
    await expectGood(await refresh(next));
  });

  promise('a logout ends its session alone, also with a token that was spent', async () => {
    const account = await newAccount();
    const other = await signIn(account);
    for (const spent of [false, true]) {
      const first = await signIn(account);
      const newest = spent ? await refresh(first) : first;
      await logOut(context, { refresh_token: first.refresh_token });
      await logOut(context, { refresh_token: first.refresh_token });
      await expectEnded(newest);
    }
    await expectGood(other);
  });

  promise('a logout from everywhere ends all sessions, and the next sign-in is good', async () => {
    const account = await newAccount();
    const stranger = await signIn(await newAccount());
    const before = [await signIn(account), await signIn(account), await refresh(await signIn(account))];
    const principal = await principalOf(before[0] as Tokens);
    await logOutEverywhere(context, { principal });
    for (const tokens of before) await expectEnded(tokens);
    await expectGood(await refresh(await signIn(account)));
    await expectGood(stranger);
  });

  promise('a session ends when it was idle for too long, and when its days are over', async () => {
    const account = await newAccount();
    const { absolute, idle } = context.settings.sessionSeconds;
    const idleDays = (idle * 1000) / DAY_MS;
    const days = (absolute * 1000) / DAY_MS;
    try {
      const unused = await signIn(account);
      let used = await signIn(account);
      for (let day = idleDays - 1; day < days; day += idleDays - 1) {
        ahead = day * DAY_MS;
        used = await refresh(used);
        if (day > idleDays) await expectEnded(unused);
      }
      ahead = days * DAY_MS;
      await expectEnded(used);
    } finally {
      ahead = 0;
    }
  });

  promise('a rename ends nothing, and gives an access token that ends when the old one would', async () => {
    const account = await newAccount();
    const [tokens, other] = [await signIn(account), await signIn(account)];
    const principal = await principalOf(tokens);
    const new_organization_name = `${account.organization_name} 2`;
    const renamed = await updateOrganization(context, { principal, new_organization_name });
    const { claims, session } = await authenticate(context, renamed.access_token ?? '');
    expect(claims).toMatchObject({ exp: principal.claims.exp, organization: new_organization_name });
    expect(session).toEqual(principal.session);
    for (const good of [tokens, other]) await expectGood(await refresh(good));
  });

  promise('another password or email ends all other sessions, and this one keeps its refresh token', async () => {
    const account = await newAccount();
    let tokens = await signIn(account);
    for (const change of [{ password: `${PASSWORD} 2` }, { email: `new-${account.email}` }]) {
      const other = await signIn(account);
      const principal = await principalOf(tokens);
      const changed = await updateOrganization(context, { principal, ...change });
      await expect(principalOf(tokens)).rejects.toMatchObject({ code: 'invalid_token' });
      await expectEnded(other);
      const { claims, session } = await authenticate(context, changed.access_token ?? '');
      expect([claims.exp, session._id]).toEqual([principal.claims.exp, principal.session._id]);
      tokens = await refresh(tokens);
      await expectGood(tokens);
      Object.assign(account, change);
    }
  });

  promise('a change by a session that was ended meanwhile gives no token that is good', async () => {
    const account = await newAccount();
    const tokens = await signIn(account);
    const principal = await principalOf(tokens);
    await logOut(context, { refresh_token: tokens.refresh_token });
    const changed = await updateOrganization(context, { principal, password: `${PASSWORD} 2` });
    await expectEnded({ ...tokens, access_token: changed.access_token ?? '' });
  });

  promise('a deleted organization’s tokens end, also when another takes its name', async () => {
    const account = await newAccount();
    const tokens = await signIn(account);
    const { organization_name } = account;
    await deleteOrganization(context, { principal: await principalOf(tokens), organization_name });
    await expectEnded(tokens);
    const successor = await signIn(await newAccount(organization_name));
    await expectEnded(tokens);
    await expectGood(successor);
  });

  promise('an admin sees and ends their own sessions only', async () => {
    const account = await newAccount();
    const stranger = await signIn(await newAccount());
    const devices = ['one', 'two', 'three'];
    const tokens: Tokens[] = [];
    for (const device of devices) {
      tokens.push(await logIn({ ...context, request: { id: 'test', address: '192.0.2.7', device } }, account));
    }
    const principal = await principalOf(tokens[1] as Tokens);
    const first = await listSessions(context, { principal, limit: 2 });
    const second = await listSessions(context, { principal, limit: 2, cursor: first.next_cursor ?? '' });
    expect(second.next_cursor).toBeNull();
    const items = [...first.items, ...second.items];
    expect(items.map(({ device, address, current }) => [device, address, current])).toEqual([
      ['one', '192.0.2.7', false],
      ['two', '192.0.2.7', true],
      ['three', '192.0.2.7', false],
    ]);

    const theirs = await principalOf(stranger);
    await endSession(context, { principal, session_id: theirs.session._id });
    await expectGood(stranger);
    await endSession(context, { principal, session_id: items[2]?.session_id ?? '' });
    await expectEnded(tokens[2] as Tokens);
    await expectGood(tokens[0] as Tokens);
    expect((await listSessions(context, { principal, limit: 9 })).items).toHaveLength(2);
  });

  promise(
    'an admin has 50 sessions at most: a further sign-in ends the one that was not used for longest',
    async () => {
      const account = await newAccount();
      let used = await signIn(account);
      const unused = await signIn(account);
      const others: Tokens[] = [];
      for (let count = 2; count < 50; count++) others.push(await signIn(account));
      used = await refresh(used);
      await expectGood(unused);
      const last = await signIn(account);
      await expectEnded(unused);
      for (const tokens of [used, others[0] as Tokens, last]) await expectGood(tokens);
    },
  );
});
