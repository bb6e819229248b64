import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import type { Random } from '../support/random.ts';
import type { Client, Reply, Request } from './client.ts';
import { NOBODY_LISTENS } from './client.ts';
import type { Alive, Change, TenantRecord } from './journal.ts';
import { aliveStates, definite, newRecord, record, unique } from './journal.ts';

export type LoadOptions = {
  readonly client: Client;
  readonly random: Random;
  /** The addresses of the services, up or not. */
  readonly urls: readonly string[];
  /** Longer than an operation that died stays with its instance. */
  readonly settleMs: number;
  /** Where plain clients of the database write, and in which database; undefined: nobody does. */
  readonly writers:
    | {
        readonly client: MongoClient;
        readonly database: string;
        /** Whether they may write to a collection while it is renamed or dropped, and to its old name after it. */
        readonly late: boolean;
      }
    | undefined;
  readonly violation: (what: string, tenant?: TenantRecord) => void;
};

/** Callers, visitors and writers at work. */
export type Load = {
  readonly tenants: readonly TenantRecord[];
  documents(): number;
  /** Resolves when nothing is under way any more; nothing new begins until `resume`. */
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
};

const OWNERS = 5;
const VISITORS = 1;
const WRITERS = 2;

/** Organizations of one owner at a time. */
const PLOTS = 4;

/** Names that several owners want. */
const WANTED = ['Acme', 'Globex', 'Initech', 'Umbrella'];

/** How long a writer trusts the collection name that it read, from the moment it asked for it, in milliseconds. */
const TRUST_MS = 600;

const RETRY_MS = 250;

const PASSWORD = 'Campaign-Pass-1';

/** What a delete is answered that was done before. */
const TOKEN_ENDED = 'invalid_token';

type Session = { token: string | undefined; refresh: string | undefined };

/** Starts the load. It goes on until it is stopped, also while services are down. */
export function startLoad(options: LoadOptions): Load {
  const { client, random, urls, settleMs, writers, violation } = options;
  const tenants: TenantRecord[] = [];
  const sessions = new Map<TenantRecord, Session>();
  let running = true;
  let gate: Promise<void> | undefined;
  let open = () => {};
  let idle = 0;
  let written = 0;

  /** Sends to one of the services, or the next where nobody listens just now. */
  const send = async (request: Request): Promise<Reply> => {
    for (;;) {
      const reply = await client.send(random.pick(urls), request);
      if (reply.status === 500) violation(`${request.method} ${request.path} answered 500`);
      if (reply.told !== NOBODY_LISTENS || !running) return reply;
      await delay(10);
    }
  };

  const note = (tenant: TenantRecord, what: string, reply: Reply, change: Change = (state) => state) =>
    record(
      tenant,
      { what, invoked: reply.invoked, answered: reply.answered, outcome: reply.outcome, answer: reply.told },
      change,
    );

  const sessionOf = (tenant: TenantRecord): Session => {
    const known = sessions.get(tenant) ?? { token: undefined, refresh: undefined };
    sessions.set(tenant, known);
    return known;
  };

  /** Keeps tokens that nothing still open can end. An update gives no refresh token: that of the session stays good. */
  const keep = (tenant: TenantRecord, { body }: Reply) => {
    const session = sessionOf(tenant);
    const sure = definite(tenant) !== undefined;
    const tokenIn = (field: string) => (typeof body[field] === 'string' ? body[field] : undefined);
    session.token = sure ? tokenIn('access_token') : undefined;
    session.refresh = sure ? (tokenIn('refresh_token') ?? session.refresh) : undefined;
  };

  /** Asks again until the answer is a definite one, or the time is over: what a careful caller does. */
  const insist = async (tenant: TenantRecord, what: string, first: Reply, request: Request, change: Change) => {
    let reply = first;
    const end = performance.now() + settleMs;
    const isDefinite = () => reply.outcome === 'acknowledged' || reply.body['code'] === TOKEN_ENDED;
    while (running && !isDefinite() && performance.now() < end) {
      await delay(RETRY_MS);
      reply = await send(request);
      // An earlier try may still have its effect: a refusal now does not say that it had none.
      note(tenant, `${what}, again`, reply, change);
    }
    return reply;
  };

  const turns = new Map<TenantRecord, Promise<unknown>>();

  /** Where writers must not be late: one thing at a time is done to a tenant. */
  const inTurn = <T>(tenant: TenantRecord, work: () => Promise<T>): Promise<T> => {
    if (writers === undefined || writers.late) return work();
    const turn = (turns.get(tenant) ?? Promise.resolve()).then(work, work);
    turns.set(tenant, turn);
    return turn;
  };

  /** Whether a writer may still use a collection name that it read when the tenant had this name. */
  const isCurrent = (tenant: TenantRecord, name: string): boolean => {
    const sure = definite(tenant);
    return writers?.late === true || (sure !== undefined && sure !== 'absent' && sure.name === name);
  };

  const isWanted = (name: string) => WANTED.includes(name);

  const expectRefusal = (tenant: TenantRecord, what: string, reply: Reply, allowed: readonly string[]) => {
    const code = String(reply.body['code'] ?? '');
    if (reply.outcome === 'refused' && reply.status !== 0 && !allowed.includes(code)) {
      violation(`${what} was refused: ${reply.told}`, tenant);
    }
  };

  const create = async (label: string): Promise<TenantRecord> => {
    const tenant = newRecord(label);
    const state: Alive = {
      name: random.chance(0.25) ? random.pick(WANTED) : unique('Tenant '),
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
    const what = `create ${state.name} <${state.email}>${withKey ? ' with a key' : ''}`;
    tenants.push(tenant);
    const first = await send(request);
    note(tenant, what, first, change);
    if (!isWanted(state.name)) expectRefusal(tenant, 'a create under a name of its own', first, []);
    const reply = withKey && first.outcome === 'unknown' ? await insist(tenant, what, first, request, change) : first;
    if (reply.outcome === 'acknowledged') tenant.organizationId = String(reply.body['organization_id']);
    return tenant;
  };

  const logIn = async (tenant: TenantRecord): Promise<string | undefined> => {
    const sure = definite(tenant);
    const candidate = sure ?? random.pick(tenant.possible);
    const state = candidate === 'absent' ? aliveStates(tenant)[0] : candidate;
    if (state === undefined) return undefined;
    const { email, password } = state;
    const reply = await send({ method: 'POST', path: '/admin/login', body: { email, password } });
    note(tenant, `login <${email}>`, reply);
    if (reply.outcome === 'acknowledged') {
      keep(tenant, reply);
      if (sure !== undefined && reply.body['organization'] !== state.name)
        violation('login tells another name', tenant);
      return String(reply.body['access_token']);
    } else if (sure !== undefined) {
      expectRefusal(tenant, 'the login of an organization that is there', reply, []);
    }
    return undefined;
  };

  const update = async (tenant: TenantRecord, token: string) => {
    const session = sessionOf(tenant);
    const wasDefinite = definite(tenant) !== undefined;
    const kind = random.pick(['rename', 'rename', 'rename and account', 'account'] as const);
    const name = kind === 'account' ? undefined : random.chance(0.25) ? random.pick(WANTED) : unique('Tenant ');
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
    const what = [name && `rename to ${name}`, email && `email <${email}>`, password && 'password']
      .filter(Boolean)
      .join(', ');
    const first = await send(request);
    note(tenant, what, first, change);
    if (wasDefinite && first.outcome === 'refused') {
      expectRefusal(
        tenant,
        `"${what}"`,
        first,
        name !== undefined && isWanted(name) ? ['organization_name_taken'] : [],
      );
    }
    let reply = first;
    if (first.outcome === 'unknown') {
      session.refresh = undefined;
      session.token = undefined;
      if (kind === 'rename' && random.chance(0.5)) reply = await insist(tenant, what, first, request, change);
      if (reply !== first && wasDefinite && !isWanted(name ?? '')) {
        expectRefusal(tenant, `"${what}", asked for again with its token,`, reply, []);
      }
    }
    if (reply.outcome === 'acknowledged') keep(tenant, reply);
  };

  const remove = async (tenant: TenantRecord, token: string) => {
    const sure = definite(tenant);
    const name = sure === undefined || sure === 'absent' ? (aliveStates(tenant)[0]?.name ?? '') : sure.name;
    const change: Change = () => 'absent';
    const request: Request = { method: 'DELETE', path: '/org/delete', token, query: { organization_name: name } };
    const first = await send(request);
    note(tenant, `delete ${name}`, first, change);
    if (sure !== undefined) expectRefusal(tenant, 'a delete by its admin', first, []);
    sessions.delete(tenant);
    if (first.outcome === 'unknown' && random.chance(0.5)) {
      const reply = await insist(tenant, `delete ${name}`, first, request, change);
      if (sure !== undefined) expectRefusal(tenant, 'a delete, asked for again with its token,', reply, [TOKEN_ENDED]);
    }
  };

  const refresh = async (tenant: TenantRecord) => {
    const session = sessionOf(tenant);
    if (session.refresh === undefined) return;
    const reply = await send({ method: 'POST', path: '/admin/refresh', body: { refresh_token: session.refresh } });
    note(tenant, 'refresh', reply);
    if (reply.status === 0 && reply.outcome === 'refused') return;
    session.refresh = reply.outcome === 'acknowledged' ? String(reply.body['refresh_token']) : undefined;
    if (definite(tenant) !== undefined) expectRefusal(tenant, 'the refresh of a session that nothing ended', reply, []);
  };

  const look = async (tenant: TenantRecord) => {
    const sure = definite(tenant);
    const names = aliveStates(tenant).map(({ name }) => name);
    if (names.length === 0) return;
    const name = random.pick(names);
    const reply = await send({ method: 'GET', path: '/org/get', query: { organization_name: name } });
    note(tenant, `get ${name}`, reply);
    if (sure === undefined || reply.outcome === 'unknown') return;
    expectRefusal(tenant, 'the get of an organization that is there', reply, []);
    if (reply.outcome === 'acknowledged' && reply.body['organization_id'] !== tenant.organizationId) {
      violation(`get ${name} tells another organization`, tenant);
    }
  };

  /** Owns a few organizations and asks one thing after another, so that what each must be like is known. */
  const own = async (owner: number) => {
    const plots: TenantRecord[] = [];
    for (let turn = 0; running; turn++) {
      await atGate();
      const tenant = plots.length < PLOTS || random.chance(0.1) ? undefined : random.pick(plots);
      if (tenant === undefined) {
        plots.push(await create(`${owner}.${turn}`));
        if (plots.length > PLOTS) plots.shift();
        continue;
      }
      if (aliveStates(tenant).length === 0) {
        plots.splice(plots.indexOf(tenant), 1);
        continue;
      }
      if (random.chance(0.25)) {
        await look(tenant);
        continue;
      }
      if (random.chance(0.1)) {
        await refresh(tenant);
        continue;
      }
      const token = sessionOf(tenant).token ?? (await logIn(tenant));
      if (token === undefined) continue;
      sessionOf(tenant).token = undefined;
      await inTurn(tenant, () => (random.chance(0.2) ? remove(tenant, token) : update(tenant, token)));
    }
  };

  /** Comes by: looks and signs in, whatever is under way there. */
  const visit = async () => {
    while (running) {
      await atGate();
      const states = tenants.slice(-OWNERS * PLOTS).flatMap(aliveStates);
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
      await atGate();
      const known = tenants
        .slice(-OWNERS * PLOTS)
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
      for (let n = 0; performance.now() - reply.invoked < TRUST_MS && n < 12; n++) {
        const _id = `${writer}-${turn}-${n}`;
        const goesOn = await inTurn(tenant, async () => {
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
        if (!goesOn) break;
        await delay(random.below(60));
      }
    }
  };

  const atGate = async () => {
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
