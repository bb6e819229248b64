import type { Context as HonoContext } from 'hono';
import { beforeEach, describe, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import type { Message } from '../../src/domain/outbox/schema.ts';
import { openSession } from '../../src/domain/session/open-session.ts';
import type { Hasher } from '../../src/platform/hashing/hasher.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Services } from '../../src/services.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { until } from '../support/deadline.ts';
import { createInstance } from '../support/instance.ts';

const PASSWORD = 'correct horse battery';
const OTHER_PASSWORD = 'battery horse correct';

/** The budgets that a test does not look at are off. */
const OFF = { LIMIT_CREATE: 'off', LIMIT_MAIL: 'off', LIMIT_CHANGE: 'off', LIMIT_RENAME: 'off', LIMIT_INSPECT: 'off' };

type Account = {
  readonly name: string;
  readonly email: string;
  readonly organizationId: string;
  readonly token: string;
};

let executor: Executor;
let services: Services;
let context: Context;
let app: ReturnType<typeof createApp>;
/** Passwords that were hashed, or compared with a hash. */
let hashed: number;
/** Those of them that were hashed in the share of the holders of tokens. */
let shared: number;
let sent: Message[];
let made: number;

beforeEach(() => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  hashed = 0;
  shared = 0;
  sent = [];
  made = 0;
});

/** The service with these budgets, and no others. */
async function open(env: Readonly<Record<string, string>>): Promise<void> {
  const hash = async (password: string) => {
    hashed++;
    return `plain:${password}`;
  };
  const hasher: Hasher = {
    hash,
    verify: async (password, of) => (await hash(password)) === of,
    share: (work) => {
      shared++;
      return work();
    },
  };
  const send = async (message: Message) => {
    sent.push(message);
    return 'sent' as const;
  };
  const background = async (work: () => Promise<unknown>) => {
    await work();
  };
  services = createInstance(executor, { ...OFF, ...env }, { hasher, mailer: { send }, background });
  await services.prepare();
  context = services.context;
  app = createApp(services, (c: HonoContext) => ({ remote: { address: c.env.peer } }));
}

async function newAccount(): Promise<Account> {
  const number = ++made;
  const [name, email] = [`Company ${number}`, `owner-${number}@example.com`];
  const created = await createOrganization(context, { organization_name: name, email, password: PASSWORD });
  const { organization_id: organizationId, admin_id: adminId } = created;
  return { name, email, organizationId, token: await newToken(organizationId, adminId) };
}

/** The token of a sign-in, without the budgets of one. */
async function newToken(organizationId: string, adminId: string): Promise<string> {
  const organization = await context.master.organizations.findOne({ _id: organizationId });
  const admin = await context.master.admins.findOne({ _id: adminId });
  if (organization === undefined || admin === undefined) throw new Error('Not there.');
  return (await openSession(context, { organization, admin })).access_token;
}

type Sent = { readonly token?: string; readonly body?: unknown; readonly from?: string };

async function call(route: string, { token, body, from = '192.0.2.1' }: Sent = {}) {
  const [method = '', path = ''] = route.split(' ');
  const init = {
    method,
    headers: {
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  };
  const response = await app.request(path, init, { peer: from });
  const text = await response.text();
  const json = text === '' ? {} : (JSON.parse(text) as Record<string, string>);
  return { status: response.status, headers: response.headers, json };
}

const update = (token: string, body: unknown, from?: string) =>
  call('PUT /org/update', { token, body, ...(from !== undefined && { from }) });

/** Makes the request again and again, each time with the newest token. @returns the statuses */
async function repeat(
  times: number,
  account: Pick<Account, 'token'>,
  make: (token: string, index: number) => ReturnType<typeof call>,
): Promise<number[]> {
  let { token } = account;
  const statuses: number[] = [];
  for (let index = 0; index < times; index++) {
    const { status, json } = await make(token, index);
    statuses.push(status);
    token = json['access_token'] ?? token;
  }
  return statuses;
}

/** The token of the mail to this address. */
const mailed = (to: string, subject: RegExp): Promise<string> =>
  until('the mail', () => {
    const mail = sent.find((message) => message.to === to && subject.test(message.subject));
    return mail && (/^Token: (\S+)$/m.exec(mail.text)?.[1] ?? '');
  });

const audited = async (organizationId: string) =>
  (await context.master.audit.find({ organization_id: organizationId })).map(({ action }) => action);

describe('the changes of one admin', () => {
  test.each<[string, string, (index: number) => unknown]>([
    ['renames', 'PUT /org/update', (index) => ({ new_organization_name: `Renamed ${index}` })],
    ['updates that change nothing', 'PUT /org/update', () => ({ email: 'owner-1@example.com' })],
    ['emails', 'PUT /org/update', (index) => ({ email: `next-${index}@example.com` })],
    ['passwords', 'PUT /org/update', (index) => ({ password: `${OTHER_PASSWORD} ${index}` })],
    ['dry runs', 'PUT /org/update?dry_run=true', (index) => ({ new_organization_name: `Renamed ${index}` })],
    ['dry runs of a delete', 'DELETE /org/delete?organization_name=Company+1&dry_run=true', () => undefined],
    ['invitations', 'POST /org/invites', (index) => ({ email: `guest-${index}@example.com`, role: 'viewer' })],
    ['mails', 'POST /admin/verify-email/resend', () => undefined],
  ])('are bounded, from however many addresses: %s', async (_, route, bodyOf) => {
    await open({ LIMIT_CHANGE: '3/3600' });
    const account = await newAccount();
    const statuses = await repeat(6, account, (token, index) => {
      const body = bodyOf(index);
      return call(route, { token, from: `198.51.100.${index}`, ...(body !== undefined && { body }) });
    });
    expect(statuses.slice(0, 3).filter((status) => status >= 300)).toEqual([]);
    expect(statuses.slice(3)).toEqual([429, 429, 429]);
  });

  test('are counted with the changes of the others of the address, who have four times as many together', async () => {
    await open({ LIMIT_CHANGE: '1/3600' });
    const accounts: Account[] = [];
    while (accounts.length < 5) accounts.push(await newAccount());
    const statuses: number[] = [];
    for (const [index, { token }] of accounts.entries()) {
      statuses.push((await update(token, { new_organization_name: `Renamed ${index}` })).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 429]);
    await open({ LIMIT_CHANGE: '2/3600' });
    const elsewhere = await update(accounts[4]?.token ?? '', { new_organization_name: 'Elsewhere' }, '203.0.113.9');
    expect(elsewhere.status).toBe(200);
  });

  test('that are refused use up nothing of what the others at the address have', async () => {
    await open({ LIMIT_CHANGE: '1/3600' });
    const account = await newAccount();
    const same = () => update(account.token, { email: account.email });
    expect(await repeat(8, account, same)).toEqual([200, ...Array(7).fill(429)]);
    const statuses: number[] = [];
    for (let others = 0; others < 4; others++) {
      const { token } = await newAccount();
      statuses.push((await update(token, { new_organization_name: `Renamed ${others}` })).status);
    }
    expect(statuses).toEqual([200, 200, 200, 429]);
  });

  test('over the budget are refused with the time to wait, and neither hash nor leave an entry', async () => {
    await open({ LIMIT_CHANGE: '1/3600' });
    const account = await newAccount();
    await update(account.token, { email: account.email });
    const [before, entries] = [hashed, await audited(account.organizationId)];
    const body = { new_organization_name: 'Over', password: OTHER_PASSWORD, current_password: PASSWORD };
    const { status, headers, json } = await update(account.token, body);
    expect([status, json['code']]).toEqual([429, 'too_many_requests']);
    expect(Number(headers.get('Retry-After'))).toBeGreaterThan(3500);
    expect(headers.get('RateLimit-Policy')).toMatch(/"change(-address)?";q=1;w=3600/);
    expect([hashed, await audited(account.organizationId)]).toEqual([before, entries]);
  });

  test('may always end sessions and delete: a thief who uses the budget up can be locked out', async () => {
    await open({ LIMIT_CHANGE: '1/3600', LIMIT_LOGIN_ACCOUNT: 'off' });
    const account = await newAccount();
    expect(await repeat(2, account, (token) => update(token, { email: account.email }))).toEqual([200, 429]);
    const { json } = await call('GET /admin/sessions', account);
    const [session] = json['items'] as unknown as { session_id: string }[];
    const other = (await call('POST /admin/login', { body: { email: account.email, password: PASSWORD } })).json;
    const token = other['access_token'] ?? '';
    expect((await call(`DELETE /admin/sessions?session_id=${session?.session_id}`, { token })).status).toBe(204);
    expect((await call('POST /admin/logout-all', { token })).status).toBe(204);
    const last = (await call('POST /admin/login', { body: { email: account.email, password: PASSWORD } })).json;
    const gone = await call('DELETE /org/delete?organization_name=Company+1', { token: last['access_token'] ?? '' });
    expect(gone.status).toBe(200);
  });
});

describe('ends of another admin’s sessions', () => {
  test('count as changes where no session is open: the log grows by no more than sign-ins and changes', async () => {
    await open({ LIMIT_CHANGE: '2/3600' });
    const { organizationId, token } = await newAccount();
    const owner = await context.master.admins.findOne({ organization_id: organizationId });
    if (owner === undefined) throw new Error('Not there.');
    const other = { ...owner, _id: context.newId(), email: 'other@example.com', email_key: 'other@example.com' };
    await context.master.admins.insertOne({ ...other, role: 'viewer' });
    const end = () => call(`DELETE /org/sessions?admin_id=${other._id}`, { token });
    const entries = () => context.master.audit.count({ action: 'session.signed_out_everywhere' });

    for (const status of [204, 204, 429, 429]) expect((await end()).status).toBe(status);
    expect(await entries()).toBe(2);
    await newToken(organizationId, other._id);
    for (const status of [204, 429]) expect((await end()).status).toBe(status);
    expect(await entries()).toBe(3);
  });
});

describe('a token from a mail', () => {
  const ID = '01900000-0000-7000-8000-000000000000';
  const wrong = `${ID}.${'0'.repeat(64)}`;
  const reset = (token: string, password = OTHER_PASSWORD) =>
    call('POST /admin/password/reset', { body: { token, password } });

  test.each([
    ['POST /admin/password/reset', { token: wrong, password: OTHER_PASSWORD }],
    ['POST /admin/verify-email', { token: wrong }],
    ['POST /admin/undo', { token: wrong }],
    ['POST /admin/accept-invite', { token: 'x', password: OTHER_PASSWORD }],
  ])('that is wrong is tried by one address as often as one admin may make changes: %s', async (route, body) => {
    await open({ LIMIT_CHANGE: '2/3600' });
    expect(await repeat(4, { token: '' }, () => call(route, { body }))).toEqual([401, 401, 429, 429]);
    expect((await call(route, { body, from: '203.0.113.1' })).status).toBe(401);
  });

  test('that is correct is not refused, and no change is, whatever strangers at the address tried', async () => {
    await open({ LIMIT_CHANGE: '2/3600' });
    const { email, token } = await newAccount();
    await call('POST /admin/password/forgot', { body: { email } });
    const correct = await mailed(email, /^Choose a new password/);
    expect(await repeat(3, { token: '' }, () => reset(wrong))).toEqual([401, 401, 429]);
    expect((await update(token, { new_organization_name: 'Renamed' })).status).toBe(200);
    expect((await reset(correct)).status).toBe(204);
    expect((await reset(correct)).status).toBe(429);
  });

  test('that is correct is tried a bounded number of times, from however many addresses', async () => {
    await open({ LIMIT_CHANGE: '2/3600' });
    const { email } = await newAccount();
    await call('POST /admin/password/forgot', { body: { email } });
    const token = await mailed(email, /^Choose a new password/);
    const statuses = await repeat(3, { token: '' }, (_, index) =>
      call('POST /admin/password/reset', { body: { token, password: email }, from: `198.51.100.${index}` }),
    );
    expect(statuses).toEqual([422, 422, 429]);
  });
});

describe('the current password', () => {
  test('is guessed in one session a bounded number of times, and the admin gives it in another', async () => {
    await open({ LIMIT_LOGIN_ACCOUNT: '3/60' });
    const { organizationId, token } = await newAccount();
    const body = (current_password: string) => ({ current_password, password: OTHER_PASSWORD });
    const guesses = await repeat(5, { token }, (same) => update(same, body('a guess')));
    expect(guesses).toEqual([403, 403, 403, 429, 429]);
    expect((await update(token, body(PASSWORD))).status).toBe(429);
    const admin = await context.master.admins.findOne({ organization_id: organizationId });
    expect((await update(await newToken(organizationId, admin?._id ?? ''), body(PASSWORD))).status).toBe(200);
  });
});

describe('the renames of one organization', () => {
  test('are bounded, refused ones too, and nothing is hashed for one over the budget', async () => {
    await open({ LIMIT_RENAME: '3/3600' });
    const [account, other] = [await newAccount(), await newAccount()];
    const names = ['One', 'company 2', 'Two', 'Three', 'Four'];
    const statuses = await repeat(names.length, account, (token, index) =>
      update(token, { new_organization_name: names[index] }),
    );
    expect(statuses).toEqual([200, 409, 200, 429, 429]);
    const before = hashed;
    const over = { new_organization_name: 'Five', password: OTHER_PASSWORD, current_password: PASSWORD };
    const { status, headers } = await update(account.token, over);
    expect([status, hashed]).toEqual([429, before]);
    expect(headers.get('RateLimit-Policy')).toBe('"rename";q=3;w=3600');
    expect(await context.master.names.count({ kind: 'name', organization_id: account.organizationId })).toBe(1);
    expect((await update(other.token, { new_organization_name: 'Five' })).status).toBe(200);
  });

  test('do not count where the name is the same, nor other changes', async () => {
    await open({ LIMIT_RENAME: '1/3600' });
    const account = await newAccount();
    const bodies = [
      { new_organization_name: account.name },
      { new_organization_name: account.name, email: 'next@example.com' },
      { new_organization_name: 'Renamed' },
      { new_organization_name: 'Renamed' },
      { new_organization_name: 'RENAMED' },
    ];
    const statuses = await repeat(bodies.length, account, (token, index) => update(token, bodies[index]));
    expect(statuses).toEqual([200, 200, 200, 200, 429]);
  });
});

describe('a name that is taken', () => {
  test('is refused before anything is hashed, mailed or journaled', async () => {
    await open({});
    const [account, other] = [await newAccount(), await newAccount()];
    const mails = await context.master.mails.count({});
    const before = await context.master.organizations.findOne({ _id: account.organizationId });
    const body = { email: 'next@example.com', password: OTHER_PASSWORD, current_password: PASSWORD };
    hashed = 0;
    const refused = await update(account.token, { ...body, new_organization_name: other.name.toUpperCase() });
    expect([refused.status, refused.json['code']]).toEqual([409, 'organization_name_taken']);
    expect(hashed).toBe(0);
    expect(await context.master.mails.count({})).toBe(mails);
    expect(await context.master.organizations.findOne({ _id: account.organizationId })).toEqual(before);
  });

  test('by an organization whose operation died is left to the claim, which ends the operation first', async () => {
    await open({});
    const [account, other] = [await newAccount(), await newAccount()];
    const past = new Date(context.clock().getTime() - 1);
    const operation = { id: 'dead', kind: 'restore', audit: null };
    await context.master.organizations.updateOne({ _id: other.organizationId }, { $set: { operation, due_at: past } });
    await context.master.names.updateOne({ _id: 'name:company 2' }, { $set: { operation_id: 'dead' } });
    expect((await update(account.token, { new_organization_name: other.name })).status).toBe(409);
    const after = await context.master.organizations.findOne({ _id: other.organizationId });
    expect(after?.operation).toBeNull();
  });
});

describe('an update that changes nothing', () => {
  test('hashes nothing, writes nothing and issues nothing', async () => {
    await open({});
    const account = await newAccount();
    const sessions = await context.master.sessions.find({});
    const entries = await audited(account.organizationId);
    hashed = 0;
    const body = { new_organization_name: account.name, email: account.email, current_password: PASSWORD };
    const { status, json } = await update(account.token, body);
    expect([status, hashed, json['access_token']]).toEqual([200, 0, undefined]);
    expect(await context.master.sessions.find({})).toEqual(sessions);
    expect(await audited(account.organizationId)).toEqual(entries);
  });
});

describe('the share of the hasher for those who have a token', () => {
  test.each<[string, number, (account: Account) => Promise<{ status: number }>]>([
    ['an update', 2, ({ token }) => update(token, { current_password: PASSWORD, password: OTHER_PASSWORD })],
    [
      'another password',
      2,
      ({ token }) => {
        const body = { current_password: PASSWORD, new_password: OTHER_PASSWORD };
        return call('POST /admin/password/change', { token, body });
      },
    ],
    [
      'a forgotten password',
      1,
      async ({ email }) => {
        await call('POST /admin/password/forgot', { body: { email } });
        const body = { token: await mailed(email, /^Choose a new password/), password: OTHER_PASSWORD };
        return call('POST /admin/password/reset', { body });
      },
    ],
    [
      'an invitation',
      1,
      async ({ token }) => {
        const email = 'guest@example.com';
        await call('POST /org/invites', { token, body: { email, role: 'viewer' } });
        const body = { token: await mailed(email, /^You are invited/), password: OTHER_PASSWORD };
        return call('POST /admin/accept-invite', { body });
      },
    ],
    [
      'a sign-in, which needs no share',
      0,
      ({ email }) => call('POST /admin/login', { body: { email, password: PASSWORD } }),
    ],
  ])('has every password of theirs: %s', async (_, inShare, make) => {
    await open({});
    const account = await newAccount();
    hashed = 0;
    expect((await make(account)).status).toBeLessThan(300);
    expect([hashed, shared]).toEqual([inShare || 1, inShare]);
  });
});

describe('emails', () => {
  test('that one address changes draw on the mails that it may ask for, whoever it signs in as', async () => {
    await open({ LIMIT_MAIL: '2/3600' });
    const accounts = [await newAccount(), await newAccount(), await newAccount()];
    const statuses: number[] = [];
    for (const [index, { token }] of accounts.entries()) {
      statuses.push((await update(token, { email: `stranger-${index}@example.com` })).status);
    }
    expect(statuses).toEqual([200, 200, 429]);
    const strangers = await context.master.mails.find({ to_key: { $in: ['stranger-2@example.com'] } });
    expect(strangers).toEqual([]);
    const [, , last] = accounts;
    expect((await update(last?.token ?? '', { new_organization_name: 'No Mail' })).status).toBe(200);
  });
});

describe('looks that read much', () => {
  test('are bounded for one address: receipts of erasures, and checks of the log', async () => {
    await open({ LIMIT_INSPECT: '3/60' });
    const account = await newAccount();
    const receipt = () => call(`GET /org/erasure?organization_id=${account.organizationId}`);
    const check = () => call('GET /org/audit/verify', account);
    const statuses = [];
    for (const look of [receipt, check, receipt, check, receipt]) statuses.push((await look()).status);
    expect(statuses).toEqual([404, 200, 404, 429, 429]);
    expect((await call('GET /org/audit', account)).status).toBe(200);
  });

  test.each(['action=admin.removed', 'from=2026-01-01T00:00:00Z', 'to=2036-01-01T00:00:00Z'])(
    'are bounded for one address: the log with a filter, of which each call goes through 1,000 entries (%s)',
    async (filter) => {
      await open({ LIMIT_INSPECT: '2/60' });
      const account = await newAccount();
      const look = () => call(`GET /org/audit?${filter}&cursor=5000`, account);
      const { status, json } = await look();
      expect([status, json['items'], json['next_cursor']]).toEqual([200, [], '4000']);
      for (const expected of [200, 429]) expect((await look()).status).toBe(expected);
      expect((await call('GET /org/audit?limit=1&cursor=5000', account)).status).toBe(200);
    },
  );
});

describe('a route that changes something', () => {
  type Operation = { readonly security?: readonly unknown[]; readonly responses: Readonly<Record<string, unknown>> };

  /** The routes with another method than GET. */
  async function writing() {
    const { json } = await call('GET /openapi.json');
    const paths = json['paths'] as unknown as Record<string, Record<string, Operation>>;
    return Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, { security = [], responses }]) => {
        const route = `${method.toUpperCase()} ${path}`;
        return method === 'get' ? [] : { route, isProtected: security.length > 0, responses };
      }),
    );
  }

  /** They only take away: each needs a sign-in of its own, or a session that is left. */
  const FREE = ['DELETE /admin/sessions', 'DELETE /org/delete', 'DELETE /org/sessions', 'POST /admin/logout-all'];

  test('for an admin draws on the budget of changes, unless it only takes away', async () => {
    await open({ LIMIT_CHANGE: '1/3600' });
    const routes = (await writing()).filter(({ isProtected }) => isProtected);
    expect(routes.length).toBeGreaterThan(FREE.length);
    const free: string[] = [];
    for (const { route } of routes) {
      const { token } = await newAccount();
      const from = `203.0.113.${made}`;
      // Refused or not, each draws on the budget before its input is looked at.
      await call(route, { token, from, body: {} });
      if ((await call(route, { token, from, body: {} })).status !== 429) free.push(route);
    }
    expect(free.sort()).toEqual(FREE);
  });

  /** It ends the session of a refresh token, once. */
  const UNBOUNDED = ['POST /admin/logout'];

  test('for anyone can be refused with 429, unless it only takes away', async () => {
    await open({});
    const routes = (await writing()).filter(({ isProtected, responses }) => !isProtected && !('429' in responses));
    expect(routes.map(({ route }) => route)).toEqual(UNBOUNDED);
  });
});
