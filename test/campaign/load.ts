import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import type { Random } from '../support/random.ts';
import type { Client, Reply, Request } from './client.ts';
import { NOT_LISTENING } from './client.ts';
import type { Alive, Change, TenantRecord } from './journal.ts';
import { aliveStates, certainState, newRecord, record, unique } from './journal.ts';

export type LoadOptions = {
  readonly client: Client;
  readonly random: Random;
  /** The addresses of the services, up or not. */
  readonly urls: readonly string[];
  /** How long a request with an unknown outcome is repeated: longer than the lease of an operation. */
  readonly repeatMs: number;
  /** Plain clients of the database, which write to the tenants' collections; undefined: there are none. */
  readonly writers:
    | {
        readonly client: MongoClient;
        readonly database: string;
        /** Whether they may write to a collection while it is renamed or dropped, and to its old name after it. */
        readonly late: boolean;
      }
    | undefined;
  readonly violation: (description: string, tenant?: TenantRecord) => void;
};

/** Owners, visitors and writers that send requests all the time. */
export type Load = {
  readonly tenants: readonly TenantRecord[];
  documents(): number;
  /** Resolves when no request is under way any more; no new one begins until `resume`. */
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
};

const OWNERS = 5;
const VISITORS = 1;
const WRITERS = 2;

/** How many organizations one owner has at a time. */
const TENANTS_PER_OWNER = 4;

/** Names that several owners ask for. */
const CONTESTED_NAMES = ['Acme', 'Globex', 'Initech', 'Umbrella'];

/** How long a writer uses a collection name, from the moment it asked for it, in milliseconds. */
const NAME_MS = 600;

const RETRY_MS = 250;

const PASSWORD = 'Campaign-Pass-1';

/** The answer to a repeated request whose first try ended the token. */
const TOKEN_ENDED = 'invalid_token';

/** Refusals that say nothing of an earlier try: it may still be under way. */
const MAY_BE_UNDER_WAY = ['operation_in_progress', 'idempotency_key_in_use', 'conflict'];

/** The tokens of an owner's session that no request so far can have ended. */
type Session = { token: string | undefined; refresh: string | undefined };

const codeOf = ({ body }: Reply): string => String(body['code'] ?? '');

/** Starts the load. It goes on until it is stopped, also while services are down. */
export function startLoad(options: LoadOptions): Load {
  const { client, random, urls, repeatMs, writers, violation } = options;
  const tenants: TenantRecord[] = [];
  const sessions = new Map<TenantRecord, Session>();
  let running = true;
  let gate: Promise<void> | undefined;
  let open = () => {};
  let idle = 0;
  let written = 0;

  /** Sends to one of the services; to another one when that is not listening. */
  const send = async (request: Request): Promise<Reply> => {
    for (;;) {
      const reply = await client.send(random.pick(urls), request);
      if (reply.status === 500)
        violation(`${request.method} ${request.path} answered 500, request ${reply.body['request_id']}`);
      if (reply.summary !== NOT_LISTENING || !running) return reply;
      await delay(10);
    }
  };

  const note = (tenant: TenantRecord, request: string, reply: Reply, change: Change = (state) => state) =>
    record(
      tenant,
      { request, invoked: reply.invoked, answered: reply.answered, outcome: reply.outcome, answer: reply.summary },
      change,
    );

  const sessionOf = (tenant: TenantRecord): Session => {
    const known = sessions.get(tenant) ?? { token: undefined, refresh: undefined };
    sessions.set(tenant, known);
    return known;
  };

  /** Repeats a request until its outcome is known, or the time is over. */
  const repeatUntilKnown = async (
    tenant: TenantRecord,
    description: string,
    first: Reply,
    request: Request,
    change: Change,
  ): Promise<Reply> => {
    let reply = first;
    const end = performance.now() + repeatMs;
    const isUnknown = () => reply.outcome === 'unknown' || MAY_BE_UNDER_WAY.includes(codeOf(reply));
    while (running && isUnknown() && performance.now() < end) {
      await delay(RETRY_MS);
      reply = await send(request);
      // An earlier try may still have its effect: a refusal now does not say that it had none.
      note(tenant, `${description}, again`, reply, change);
    }
    return reply;
  };

  const turns = new Map<TenantRecord, Promise<unknown>>();

  /** Where writers must not be late, only one writer or owner works on a tenant at a time. */
  const exclusively = <T>(tenant: TenantRecord, work: () => Promise<T>): Promise<T> => {
    if (writers === undefined || writers.late) return work();
    const turn = (turns.get(tenant) ?? Promise.resolve()).then(work, work);
    turns.set(tenant, turn);
    return turn;
  };

  /** Whether a writer may still use a collection name that it read when the tenant had this name. */
  const isCurrent = (tenant: TenantRecord, name: string): boolean => {
    const certain = certainState(tenant);
    return writers?.late === true || (certain !== undefined && certain !== 'absent' && certain.name === name);
  };

  const isContested = (name: string) => CONTESTED_NAMES.includes(name);

  const checkRefusal = (tenant: TenantRecord, description: string, reply: Reply, allowed: readonly string[]) => {
    if (reply.outcome === 'refused' && reply.status !== 0 && !allowed.includes(codeOf(reply))) {
      violation(`${description} was refused: ${reply.summary}`, tenant);
    }
  };

  const create = async (label: string): Promise<TenantRecord> => {
    const tenant = newRecord(label);
    const state: Alive = {
      name: random.chance(0.25) ? random.pick(CONTESTED_NAMES) : unique('Tenant '),
      email: `${unique('admin-')}@example.com`,
      password: PASSWORD,
    };
    const change: Change = () => state;
    const withKey = random.chance(0.5);
    const request: Request = {
      method: 'POST',
      path: '/org/create',
      headers: withKey ? { 'Idempotency-Key': unique('key-') } : {},
      body: { organization_name: state.name, email: state.email, password: state.password },
    };
    const description = `create ${state.name} <${state.email}>${withKey ? ' with a key' : ''}`;
    tenants.push(tenant);
    const first = await send(request);
    note(tenant, description, first, change);
    if (!isContested(state.name)) checkRefusal(tenant, 'a create under a name of its own', first, []);
    const reply =
      withKey && first.outcome === 'unknown'
        ? await repeatUntilKnown(tenant, description, first, request, change)
        : first;
    if (reply.outcome === 'acknowledged') tenant.organizationId = String(reply.body['organization_id']);
    return tenant;
  };

  const logIn = async (tenant: TenantRecord): Promise<string | undefined> => {
    const certain = certainState(tenant);
    const candidate = certain ?? random.pick(tenant.possible);
    const state = candidate === 'absent' ? aliveStates(tenant)[0] : candidate;
    if (state === undefined) return undefined;
    const { email, password } = state;
    const reply = await send({ method: 'POST', path: '/admin/login', body: { email, password } });
    note(tenant, `login <${email}>`, reply);
    if (reply.outcome === 'acknowledged') {
      // A change whose outcome is unknown may still end the tokens.
      const given = (field: string) => (certain === undefined ? undefined : String(reply.body[field]));
      sessions.set(tenant, { token: given('access_token'), refresh: given('refresh_token') });
      if (certain !== undefined && reply.body['organization'] !== state.name)
        violation('the login answers another name', tenant);
      return String(reply.body['access_token']);
    } else if (certain !== undefined) {
      checkRefusal(tenant, 'the login of an organization that is there', reply, []);
    }
    return undefined;
  };

  const update = async (tenant: TenantRecord, token: string) => {
    const session = sessionOf(tenant);
    const isTokenGood = session.token === token;
    const wasCertain = certainState(tenant) !== undefined;
    const kind = random.pick(['rename', 'rename', 'rename and account', 'account'] as const);
    const name =
      kind === 'account' ? undefined : random.chance(0.25) ? random.pick(CONTESTED_NAMES) : unique('Tenant ');
    const email = kind === 'rename' ? undefined : `${unique('admin-')}@example.com`;
    const password = kind === 'rename' || random.chance(0.5) ? undefined : unique('Pass-');
    const change: Change = (state) =>
      state === 'absent'
        ? state
        : { name: name ?? state.name, email: email ?? state.email, password: password ?? state.password };
    const request: Request = {
      method: 'PUT',
      path: '/org/update',
      token,
      body: {
        ...(name !== undefined && { new_organization_name: name }),
        ...(email !== undefined && { email }),
        ...(password !== undefined && { password }),
      },
    };
    const description = [name && `rename to ${name}`, email && `email <${email}>`, password && 'password']
      .filter(Boolean)
      .join(', ');
    const allowed = [
      'operation_in_progress',
      ...(name !== undefined && isContested(name) ? ['organization_name_taken'] : []),
      ...(wasCertain ? [] : ['conflict']),
    ];
    const first = await send(request);
    note(tenant, description, first, change);
    if (isTokenGood) checkRefusal(tenant, `"${description}"`, first, allowed);
    let reply = first;
    if (first.outcome === 'unknown') {
      // A rename ends no token, whatever comes of it.
      if (kind !== 'rename') sessions.delete(tenant);
      if (random.chance(0.5)) {
        reply = await repeatUntilKnown(tenant, description, first, request, change);
        const more = kind === 'rename' ? [] : [TOKEN_ENDED, 'conflict'];
        if (isTokenGood)
          checkRefusal(tenant, `"${description}", repeated with its token,`, reply, [...allowed, ...more]);
      }
    }
    if (reply.outcome !== 'acknowledged') return;
    // Nothing is answered where nothing changed.
    const given = typeof reply.body['access_token'] === 'string' ? reply.body['access_token'] : token;
    if (certainState(tenant) !== undefined) {
      sessionOf(tenant).token = kind === 'rename' && isTokenGood && random.chance(0.5) ? token : given;
    } else if (kind !== 'rename') sessions.delete(tenant);
  };

  const remove = async (tenant: TenantRecord, token: string) => {
    const isTokenGood = sessionOf(tenant).token === token;
    const certain = certainState(tenant);
    const name = certain === undefined || certain === 'absent' ? (aliveStates(tenant)[0]?.name ?? '') : certain.name;
    const description = `delete ${name}`;
    const change: Change = () => 'absent';
    const request: Request = { method: 'DELETE', path: '/org/delete', token, query: { organization_name: name } };
    const allowed = ['operation_in_progress', ...(certain === undefined ? ['forbidden', 'conflict'] : [])];
    const first = await send(request);
    note(tenant, description, first, change);
    if (isTokenGood) checkRefusal(tenant, `"${description}"`, first, allowed);
    sessions.delete(tenant);
    if (first.outcome !== 'unknown' || random.chance(0.5)) return;
    const reply = await repeatUntilKnown(tenant, description, first, request, change);
    if (!isTokenGood) return;
    checkRefusal(tenant, `"${description}", repeated with its token,`, reply, [...allowed, TOKEN_ENDED]);
    // Nothing else can have ended the token.
    if (codeOf(reply) === TOKEN_ENDED)
      note(tenant, `${description}, done before`, { ...reply, outcome: 'acknowledged' }, change);
  };

  const refresh = async (tenant: TenantRecord) => {
    const session = sessionOf(tenant);
    if (session.refresh === undefined) return;
    const reply = await send({ method: 'POST', path: '/admin/refresh', body: { refresh_token: session.refresh } });
    note(tenant, 'refresh', reply);
    if (reply.status === 0 && reply.outcome === 'refused') return;
    checkRefusal(tenant, 'the refresh of a session that nothing ended', reply, []);
    // A refresh token is good once: after an unknown outcome it is not used again.
    session.refresh = reply.outcome === 'acknowledged' ? String(reply.body['refresh_token']) : undefined;
    if (reply.outcome === 'acknowledged') session.token = String(reply.body['access_token']);
  };

  const get = async (tenant: TenantRecord) => {
    const certain = certainState(tenant);
    const names = aliveStates(tenant).map(({ name }) => name);
    if (names.length === 0) return;
    const name = random.pick(names);
    const reply = await send({ method: 'GET', path: '/org/get', query: { organization_name: name } });
    note(tenant, `get ${name}`, reply);
    if (certain === undefined || reply.outcome === 'unknown') return;
    checkRefusal(tenant, 'the get of an organization that is there', reply, []);
    if (reply.outcome === 'acknowledged' && reply.body['organization_id'] !== tenant.organizationId) {
      violation(`get ${name} answers another organization`, tenant);
    }
  };

  /** Owns a few organizations and sends one request after another, so that the states that each can have are known. */
  const own = async (owner: number) => {
    const owned: TenantRecord[] = [];
    for (let turn = 0; running; turn++) {
      await waitWhilePaused();
      const tenant = owned.length < TENANTS_PER_OWNER || random.chance(0.1) ? undefined : random.pick(owned);
      if (tenant === undefined) {
        owned.push(await create(`${owner}.${turn}`));
        if (owned.length > TENANTS_PER_OWNER) owned.shift();
        continue;
      }
      if (aliveStates(tenant).length === 0) {
        owned.splice(owned.indexOf(tenant), 1);
        continue;
      }
      if (random.chance(0.25)) {
        await get(tenant);
        continue;
      }
      if (random.chance(0.1)) {
        await refresh(tenant);
        continue;
      }
      const stored = random.chance(0.2) ? undefined : sessionOf(tenant).token;
      const token = stored ?? (await logIn(tenant));
      if (token === undefined) continue;
      await exclusively(tenant, () => (random.chance(0.2) ? remove(tenant, token) : update(tenant, token)));
    }
  };

  /** Gets organizations and signs in to them, also while their owners change them. */
  const visit = async () => {
    while (running) {
      await waitWhilePaused();
      const states = tenants.slice(-OWNERS * TENANTS_PER_OWNER).flatMap(aliveStates);
      const state = states.length === 0 ? undefined : random.pick(states);
      if (state === undefined) await delay(20);
      else if (random.chance(0.5)) {
        await send({ method: 'POST', path: '/admin/login', body: { email: state.email, password: state.password } });
      } else await send({ method: 'GET', path: '/org/get', query: { organization_name: state.name } });
    }
  };

  /** A plain client of the database: inserts into the collection whose name it last read. */
  const write = async (writer: number) => {
    if (writers === undefined) return;
    for (let turn = 0; running; turn++) {
      await waitWhilePaused();
      const known = tenants
        .slice(-OWNERS * TENANTS_PER_OWNER)
        .filter((tenant) => tenant.organizationId !== undefined && aliveStates(tenant).length > 0);
      const tenant = known.length === 0 ? undefined : random.pick(known);
      if (tenant === undefined) {
        await delay(20);
        continue;
      }
      const name = random.pick(aliveStates(tenant)).name;
      const reply = await send({ method: 'GET', path: '/org/get', query: { organization_name: name } });
      if (reply.body['organization_id'] !== tenant.organizationId) continue;
      const collection = writers.client
        .db(writers.database)
        .collection<{ _id: string }>(String(reply.body['collection_name']));
      for (let n = 0; performance.now() - reply.invoked < NAME_MS && n < 12; n++) {
        const _id = `${writer}-${turn}-${n}`;
        const continues = await exclusively(tenant, async () => {
          if (!isCurrent(tenant, name)) return false;
          try {
            await collection.insertOne({ _id, tenant: tenant.organizationId } as { _id: string });
            tenant.documents.acknowledged.add(_id);
            written++;
          } catch {
            tenant.documents.unknown.add(_id);
          }
          return true;
        });
        if (!continues) break;
        await delay(random.below(60));
      }
    }
  };

  const waitWhilePaused = async () => {
    if (gate === undefined) return;
    idle++;
    await gate;
    idle--;
  };

  const workers = [
    ...Array.from({ length: OWNERS }, (_, owner) => own(owner)),
    ...Array.from({ length: VISITORS }, visit),
    ...(writers === undefined ? [] : Array.from({ length: WRITERS }, (_, writer) => write(writer))),
  ];

  const resume = () => {
    gate = undefined;
    open();
  };
  return {
    tenants,
    documents: () => written,
    pause: async () => {
      gate = new Promise((resolve) => {
        open = resolve;
      });
      while (idle < workers.length) await delay(20);
    },
    resume,
    stop: async () => {
      running = false;
      resume();
      await Promise.all(workers);
    },
  };
}
