import { describe, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import type { AuditAction } from '../../src/domain/audit/schema.ts';
import type { Master } from '../../src/domain/master.ts';
import { hasSecondFactor } from '../../src/domain/second-factor/schema.ts';
import { parseRefreshToken } from '../../src/domain/session/refresh-token.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { findAuditViolations } from '../support/audit-invariants.ts';
import { createInstance, keptMails, virtualTime } from '../support/instance.ts';
import type { Random } from '../support/random.ts';
import { createRandom } from '../support/random.ts';
import { readAll } from '../support/read-all.ts';
import { codeOf } from '../support/second-factor.ts';

/**
 * A thief who got hold of one thing, and calls every route with all that the thief knows: in no sequence of calls does
 * the thief come to a refresh token of another's account, to another's data, or to a change that the audit log does
 * not show. The app is the real one, over an embedded store in memory; passwords are compared and not hashed.
 */

const SEQUENCES = Number(process.env['TEST_THIEF_SEQUENCES'] ?? 400);
const CALLS = 12;
const SEED = Number(process.env['TEST_THIEF_SEED'] ?? 1);

const MINUTE_MS = 60_000;

/** A sign-in is fresh for a quarter of an hour: what was stolen is older. */
const STOLEN_AFTER_MS = 16 * MINUTE_MS;

const OFF = Object.fromEntries(
  ['LOGIN_ADDRESS', 'LOGIN_ACCOUNT', 'CREATE', 'MAIL', 'REFRESH'].map((name) => [`LIMIT_${name}`, 'off']),
);

/** What the thief got hold of. Each is of the victim, but for the last. */
const LOOT = [
  'an access token',
  'an ended access token',
  'a refresh token that was used',
  'a device cookie',
  'a verification token that was used',
  'a reset token that was used',
  'an undo token that was used',
  'the password of an account with a second factor',
  'nothing but an own account',
] as const;

type Loot = (typeof LOOT)[number];

type Answer = { readonly status: number; readonly text: string; readonly json: Json; readonly cookie: string };
// biome-ignore lint/suspicious/noExplicitAny: answers of every route
type Json = any;

type Call = {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>> | undefined;
  readonly headers: Readonly<Record<string, string>>;
};

/** Values by the names of the fields that take them. */
class Known extends Map<string, unknown[]> {
  /** What was learned last: a thief tries it at once. */
  newest = '';
}

/** Where values of these fields fit, beside fields of their own names. */
const FITS: Readonly<Record<string, readonly string[]>> = {
  organization_name: ['organization_name', 'new_organization_name'],
  organization: ['organization_name'],
  email: ['email'],
  admin_email: ['email'],
  password: ['password', 'new_password', 'current_password'],
  mailed_token: ['token'],
};

function learn(known: Known, field: string, value: unknown): void {
  for (const name of FITS[field] ?? [field]) {
    const values = known.get(name) ?? [];
    if (values.includes(value)) continue;
    known.set(name, [...values, value]);
    known.newest = name;
  }
}

describe('a thief with one stolen thing', () => {
  const time = virtualTime();
  let kept: ReturnType<typeof keptMails>;
  let services: ReturnType<typeof createInstance>;
  let send: (call: Call, from: string) => Promise<Answer>;
  let operations: readonly { readonly method: string; readonly path: string; readonly operation: Json }[];
  let master: Master;

  /** A service with a database of its own: what one sequence leaves does not slow the next one down. */
  async function open(): Promise<void> {
    kept = keptMails();
    services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), OFF, { time, ...kept.platform });
    master = services.context.master;
    let address = '';
    const app = createApp(services, () => ({ remote: { address } }));
    send = async ({ method, path, query, body, headers }, from) => {
      address = from;
      const url = new URL(path, 'http://localhost');
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
      const response = await app.request(url, {
        method,
        headers: { ...(body && { 'Content-Type': 'application/json' }), ...headers },
        ...(body && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      await kept.settled();
      const cookie = response.headers.get('Set-Cookie')?.split(';', 1)[0] ?? '';
      return { status: response.status, text, json: text.startsWith('{') ? JSON.parse(text) : {}, cookie };
    };
    operations ??= await describedOperations();
  }

  async function describedOperations() {
    const { json } = await send(plain('GET', '/openapi.json'), '192.0.2.1');
    return Object.entries<Record<string, Json>>(json.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
    );
  }

  const plain = (method: string, path: string, rest: Partial<Call> = {}): Call => ({
    ...{ method, path, query: {}, body: undefined, headers: {} },
    ...rest,
  });
  const post = (path: string, body: Record<string, unknown>, from: string) => send(plain('POST', path, { body }), from);

  async function openAccount(name: string, from: string) {
    const email = `${name}@example.com`;
    const password = `the password of ${name}`;
    const created = await post('/org/create', { organization_name: `Company of ${name}`, email, password }, from);
    expect(created.status, created.text).toBe(200);
    const signedIn = await post('/admin/login', { email, password }, from);
    expect(signedIn.status, signedIn.text).toBe(200);
    const { access_token: token, refresh_token: refreshToken } = signedIn.json;
    return { ...created.json, email, password, token, refreshToken, cookie: signedIn.cookie };
  }

  /** Takes the thing from the victim, and says what field it fits. */
  async function steal(loot: Loot, victim: Json, from: string): Promise<readonly [field: string, value: string][]> {
    switch (loot) {
      case 'an access token':
        return [['access_token', victim.token]];
      case 'an ended access token':
        await send(plain('POST', '/admin/logout-all', bearer(victim.token)), from);
        return [['access_token', victim.token]];
      case 'a refresh token that was used':
        await post('/admin/refresh', { refresh_token: victim.refreshToken }, from);
        return [['refresh_token', victim.refreshToken]];
      case 'a device cookie':
        return [['cookie', victim.cookie]];
      case 'a verification token that was used': {
        const token = kept.tokenMailedTo(victim.email);
        expect((await post('/admin/verify-email', { token }, from)).status).toBe(204);
        return [['mailed_token', token]];
      }
      case 'a reset token that was used': {
        await post('/admin/password/forgot', { email: victim.email }, from);
        const token = kept.tokenMailedTo(victim.email);
        const reset = await post('/admin/password/reset', { token, password: 'another one of the victim' }, from);
        expect(reset.status, reset.text).toBe(204);
        return [['mailed_token', token]];
      }
      case 'an undo token that was used': {
        const body = { email: `moved-${victim.email}`, current_password: victim.password };
        await send(plain('PUT', '/org/update', { ...bearer(victim.token), body }), from);
        const token = kept.tokenMailedTo(victim.email);
        const undone = await post('/admin/undo', { token }, from);
        expect(undone.status, undone.text).toBe(204);
        return [['mailed_token', token]];
      }
      case 'the password of an account with a second factor': {
        const begin = { ...bearer(victim.token), body: { current_password: victim.password } };
        const { json } = await send(plain('POST', '/admin/second-factor', begin), from);
        const code = codeOf(json.secret, { at: time.clock().getTime() });
        const confirm = { ...bearer(victim.token), body: { code } };
        const set = await send(plain('POST', '/admin/second-factor/confirm', confirm), from);
        expect(set.status, set.text).toBe(200);
        return [['password', victim.password]];
      }
      case 'nothing but an own account':
        return [];
    }
  }

  const bearer = (token: string): Partial<Call> => ({ headers: { Authorization: `Bearer ${token}` } });

  function nextCall(random: Random, known: Known): Call {
    const taking = operations.filter(({ operation }) => propertiesOf(operation).includes(known.newest));
    const { method, path, operation } = random.pick(taking.length > 0 && random.chance(0.5) ? taking : operations);
    const value = (name: string, schema: Json): unknown => {
      if (schema?.enum !== undefined && random.chance(0.9)) return random.pick(schema.enum);
      const values = known.get(name) ?? ['', '0', 'something else'];
      return random.chance(0.4) ? values.at(-1) : random.pick(values);
    };
    const query: Record<string, string> = {};
    const headers: Record<string, string> = {};
    for (const { in: place, name, required, schema } of operation.parameters ?? []) {
      if (!required && random.chance(0.6)) continue;
      if (place === 'query') query[name] = String(value(name, schema));
      if (place === 'header') headers[name] = String(value(name, schema)) || 'x';
    }
    const schema = operation.requestBody?.content['application/json'].schema;
    const body = schema && {
      ...Object.fromEntries(
        Object.entries<Json>(schema.properties ?? {}).flatMap(([name, field]) =>
          schema.required?.includes(name) || random.chance(0.5) ? [[name, value(name, field)]] : [],
        ),
      ),
    };
    if (random.chance(0.85)) headers['Authorization'] = `Bearer ${value('access_token', undefined)}`;
    if (random.chance(0.5)) headers['Cookie'] = String(value('cookie', undefined));
    return { method, path, query, body, headers };
  }

  /** What the thief learns from an answer, and from the mails to the thief's own addresses. */
  function learnFrom(known: Known, text: string, ownAddresses: readonly string[]): void {
    const walk = (value: Json, field: string): void => {
      if (Array.isArray(value)) for (const item of value) walk(item, field);
      else if (typeof value === 'object' && value !== null)
        for (const [name, inner] of Object.entries(value)) walk(inner, name);
      else if (typeof value === 'string') learn(known, field, value);
    };
    if (text.startsWith('{')) walk(JSON.parse(text), '');
    for (const { to } of kept.mails) {
      if (ownAddresses.includes(to)) learn(known, 'mailed_token', kept.tokenMailedTo(to));
    }
  }

  const snapshot = async () => ({
    organizations: await readAll(master.organizations),
    admins: await readAll(master.admins),
    sessions: await readAll(master.sessions),
  });

  test.each(LOOT)('%s leads nowhere', { timeout: 300_000 }, async (loot) => {
    const each = Math.ceil(SEQUENCES / LOOT.length);
    for (let sequence = 0; sequence < each; sequence++) {
      const seed = SEED + LOOT.indexOf(loot) * 1_000_000 + sequence;
      await open();
      await play(loot, seed);
      await services.close();
    }
  });

  test('an access token that is not fresh gives nobody power, so nobody signs in with it', async () => {
    await open();
    const victim = await openAccount('victim', '192.0.2.10');
    time.advance(STOLEN_AFTER_MS);
    const elsewhere = '198.51.100.7';
    const [email, password] = ['thief@example.com', 'a password of the thief'];
    const body = { email, role: 'owner' };
    const invited = await send(plain('POST', '/org/invites', { ...bearer(victim.token), body }), elsewhere);
    const token = kept.tokenMailedTo(email);
    const accepted = await post('/admin/accept-invite', { token, password }, elsewhere);
    const signedIn = await post('/admin/login', { email, password }, elsewhere);
    expect([invited, accepted, signedIn].map(({ json }) => json.code)).toEqual([
      'reauthentication_required',
      // No mail came.
      'invalid_input',
      'invalid_credentials',
    ]);
    await services.close();
  });

  /** One sequence. */
  async function play(loot: Loot, seed: number): Promise<void> {
    const random = createRandom(seed);
    const [atHome, elsewhere] = ['192.0.2.10', '198.51.100.7'] as const;
    const victim = await openAccount(`victim-${seed}`, atHome);
    const other = await openAccount(`other-${seed}`, atHome);
    const thief = await openAccount(`thief-${seed}`, elsewhere);
    const stolen = await steal(loot, victim, atHome);
    time.advance(STOLEN_AFTER_MS);
    const fresh = await post('/admin/login', { email: thief.email, password: thief.password }, elsewhere);
    const before = await snapshot();
    const logged = new Set((await readAll(master.audit)).map(({ _id }) => _id));

    const known = new Known();
    const ownAddresses = [thief.email, `thief-${seed}-again@example.com`];
    for (const { email, organization_name, organization_id } of [victim, other, thief]) {
      learn(known, 'email', email);
      learn(known, 'organization_name', organization_name);
      learn(known, 'organization_id', organization_id);
    }
    learn(known, 'email', ownAddresses[1]);
    learn(known, 'organization_name', `Taken over ${seed}`);
    learn(known, 'password', thief.password);
    learn(known, 'password', 'a password of the thief');
    learn(known, 'access_token', fresh.json.access_token);
    learn(known, 'refresh_token', fresh.json.refresh_token);
    learn(known, 'cookie', fresh.cookie);
    for (const [field, value] of stolen) learn(known, field, value);

    const holdsToken = loot === 'an access token';
    const private_ = await privateValues(holdsToken ? [other] : [other, victim]);
    const made: string[] = [];
    for (let count = 0; count < CALLS; count++) {
      const call = nextCall(random, known);
      const answer = await send(call, elsewhere);
      made.push(`${shortened(call)} -> ${answer.status} ${answer.text.slice(0, 200)}`);
      const story = `${loot}, seed ${seed}:\n${made.join('\n')}`;
      expect(answer.status, story).not.toBe(500);
      const sent = JSON.stringify(call);
      const shown = private_.filter((value) => answer.text.includes(value) && !sent.includes(value));
      expect(shown, story).toEqual([]);
      if (typeof answer.json.refresh_token === 'string') {
        const owner = await ownerOf(answer.json.refresh_token);
        expect([victim.organization_id, other.organization_id], story).not.toContain(owner?.organization_id);
      }
      learnFrom(known, answer.text, ownAddresses);
    }

    const story = `${loot}, seed ${seed}:\n${made.join('\n')}`;
    expect(await findAuditViolations(master, services.context.seals), story).toEqual([]);
    const entries = (await readAll(master.audit)).filter(({ _id }) => !logged.has(_id));
    const hidden = changes(before, await snapshot()).filter(
      ({ organization, shownBy }) =>
        !entries.some(({ organization_id, action }) => organization_id === organization && shownBy.includes(action)),
    );
    expect(hidden, story).toEqual([]);
    if (!holdsToken) {
      const touched = entries.filter(
        ({ organization_id, outcome }) =>
          [victim.organization_id, other.organization_id].includes(organization_id) && outcome === 'success',
      );
      expect(touched, story).toEqual([]);
    }
  }

  /** Values that only the organization's own admins see. */
  async function privateValues(accounts: readonly Json[]): Promise<string[]> {
    const ids = accounts.map(({ organization_id }) => organization_id);
    const { admins, sessions } = await snapshot();
    return [...admins, ...sessions].flatMap(({ _id, organization_id }) => (ids.includes(organization_id) ? [_id] : []));
  }

  async function ownerOf(refreshToken: string): Promise<AdminDocument | undefined> {
    const session = await master.sessions.findOne({ _id: parseRefreshToken(refreshToken)?.sessionId ?? '' });
    return master.admins.findOne({ _id: session?.admin_id ?? '' });
  }
});

const propertiesOf = ({ requestBody }: Json): string[] =>
  Object.keys(requestBody?.content['application/json'].schema.properties ?? {});

/** A call as a failure tells it: of tokens the end only. */
const shortened = (call: Call): string => JSON.stringify(call).replace(/[\w.-]{48,}(?=[\w.-]{12})/g, '...');

type Snapshot = {
  readonly organizations: readonly Json[];
  readonly admins: readonly Json[];
  readonly sessions: readonly Json[];
};

type Change = { readonly organization: string; readonly what: string; readonly shownBy: readonly AuditAction[] };

const SHOWN_BY: Readonly<Record<string, readonly AuditAction[]>> = {
  name: ['organization.renamed', 'organization.deleted'],
  status: ['organization.deleted', 'organization.restored'],
  email: ['admin.email_changed', 'admin.email_change_undone', 'organization.deleted'],
  email_verified: [
    ...(['admin.email_verified', 'admin.password_reset', 'admin.email_changed'] as const),
    ...(['admin.email_change_undone', 'organization.deleted'] as const),
  ],
  password_hash: [
    ...(['admin.password_changed', 'admin.password_reset', 'organization.deleted'] as const),
    ...(['admin.email_change_undone', 'admin.second_factor_disabled'] as const),
  ],
  role: ['admin.role_changed', 'organization.deleted'],
  has_second_factor: ['admin.second_factor_enabled', 'admin.second_factor_disabled', 'organization.deleted'],
  removed_admin: ['admin.removed', 'organization.deleted'],
  new_admin: ['admin.joined'],
  ended_session: [
    ...(['session.ended', 'session.signed_out', 'session.signed_out_everywhere', 'session.refresh_reused'] as const),
    ...(['admin.password_changed', 'admin.email_changed', 'admin.password_reset', 'admin.role_changed'] as const),
    ...(['admin.second_factor_enabled', 'admin.second_factor_disabled', 'admin.email_change_undone'] as const),
    ...(['admin.removed', 'organization.deleted'] as const),
  ],
  new_session: ['session.signed_in'],
};

/** What is another way than before in the organizations that were there before. */
function changes(before: Snapshot, after: Snapshot): Change[] {
  const found: Change[] = [];
  const note = (organization: string, what: string) =>
    found.push({ organization, what, shownBy: SHOWN_BY[what] ?? [] });
  const organizations = new Set(before.organizations.map(({ _id }) => _id));
  const differ = (was: Json, is: Json, fields: readonly string[], organization: string) => {
    for (const field of fields) if (was[field] !== is?.[field]) note(organization, field);
  };
  for (const was of before.organizations) {
    const is = after.organizations.find(({ _id }) => _id === was._id);
    differ(was, is, ['name', 'status'], was._id);
  }
  for (const was of before.admins) {
    const is = after.admins.find(({ _id }) => _id === was._id);
    if (is === undefined) note(was.organization_id, 'removed_admin');
    else {
      const { organization_id } = was;
      differ(was, is, ['email', 'email_verified', 'password_hash', 'role'], organization_id);
      if (hasSecondFactor(was) !== hasSecondFactor(is)) note(organization_id, 'has_second_factor');
    }
  }
  for (const was of before.sessions) {
    if (!after.sessions.some(({ _id }) => _id === was._id)) note(was.organization_id, 'ended_session');
  }
  const isNew = (is: Json, all: readonly Json[]) =>
    organizations.has(is.organization_id) && !all.some(({ _id }) => _id === is._id);
  for (const is of after.admins) if (isNew(is, before.admins)) note(is.organization_id, 'new_admin');
  for (const is of after.sessions) if (isNew(is, before.sessions)) note(is.organization_id, 'new_session');
  return found;
}
