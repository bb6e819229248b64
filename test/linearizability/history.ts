import { createApp } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import type { Context } from '../../src/domain/context.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import type { AccessClaims, AccessTokens } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createServices } from '../../src/services.ts';
import type { Command, CommandOf, Executor, Op, Results } from '../../src/store/port.ts';
import { READS, StoreError } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { Verdict } from '../support/linearizable.ts';
import { checkLinearizable } from '../support/linearizable.ts';
import type { Random } from '../support/random.ts';
import { createRandom } from '../support/random.ts';
import type { FaultRates, Scheduler } from '../support/scheduler.ts';
import { createScheduler } from '../support/scheduler.ts';
import type { Call, NamesOptions, Reply, Request, Token } from './names.ts';
import { createNamesSpecification, tokenOf } from './names.ts';

/** Few of each, so that they meet. Two spellings of one name are one name. */
const NAMES = ['Acme', 'ACME', 'Borg', 'Cyber'];
const EMAILS = ['a@example.com', 'b@example.com'];
const PASSWORDS = ['first-password', 'second-password'];

const INSTANCES = 2;
const LEASE_MS = 2000;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Calls after the clients have ended, one at a time, that look at what they left behind. */
const AUDITOR = 'auditor';

/** Turns a command into the one that is done instead of it. */
export type Sabotage = (command: Command) => Command;

export type History = {
  readonly seed: number;
  readonly options: NamesOptions;
  readonly rates: FaultRates;
  readonly calls: readonly Call[];
  /** Every step that happened, in order. */
  readonly trace: readonly string[];
};

export type CheckedHistory = History & { readonly verdict: Verdict<Call> };

/** The history of a seed, and whether it is linearizable. The same seed gives the same history. */
export async function checkHistory(seed: number, sabotage?: Sabotage): Promise<CheckedHistory> {
  const history = await recordHistory(seed, sabotage);
  return {
    ...history,
    verdict: checkLinearizable(history.calls, createNamesSpecification(history.calls, history.options)),
  };
}

async function recordHistory(seed: number, sabotage: Sabotage = (command) => command): Promise<History> {
  const random = createRandom(seed);
  const rates = faultRatesOf(random);
  const options = { leased: random.chance(0.25), kept: random.chance(0.25) };
  const scheduler = createScheduler(random, rates);
  const store = createSqliteExecutor(openSqliteFile(':memory:'));
  const world = createWorld(scheduler, random, interleaved(store, scheduler, sabotage), options);
  await world.prepare();

  // Most calls are about an organization that is there.
  for (let prelude = random.below(3); prelude > 0; prelude--) await world.found();

  const clients = Array.from({ length: 3 + random.below(2) }, async (_, index) => {
    for (let calls = 4 + random.below(2); calls > 0; calls--) await world.call(`client ${index + 1}`);
  });
  const reconcilers = Array.from({ length: 1 + random.below(2) }, async () => {
    for (let rounds = 3; rounds > 0; rounds--) await world.reconcile();
  });
  const all = Promise.all([...clients, ...reconcilers]);
  await scheduler.run();
  await all;
  await world.auditEnd();
  await store.close();
  return { seed, options, rates, calls: world.calls(), trace: scheduler.trace };
}

/** A third of the histories has no faults, a third pauses and clocks that leap, a third everything. */
function faultRatesOf(random: Random): FaultRates {
  const kind = random.below(3);
  return {
    freeze: kind === 0 ? 0.02 : 0.04,
    leap: kind === 0 ? 0 : 0.03,
    crash: kind === 2 ? 0.006 : 0,
    fault: kind === 2 ? 0.01 : 0,
  };
}

/** The store as it is for code whose every command waits for its turn. */
function interleaved(store: Executor, scheduler: Scheduler, sabotage: Sabotage): Executor {
  return {
    ...store,
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      const run = () => store.execute<O>(sabotage(command) as CommandOf<O>);
      const fate = await scheduler.turn(describe(command), { write: !READS.has(command.op) });
      switch (fate) {
        case 'unavailable':
          throw new StoreError('Unavailable', 'Made to fail.');
        case 'void':
          throw unknownOutcome();
        case 'late':
          scheduler.later(describe(command), run);
          throw unknownOutcome();
        case 'lost':
          await run().catch(() => undefined);
          throw unknownOutcome();
        case 'crash-after':
          await run().catch(() => undefined);
          return scheduler.end();
        default:
          return run();
      }
    },
  };
}

const unknownOutcome = () => new StoreError('OutcomeUnknown', 'Made to be lost.');

/** Fields with keys and salts that no seed decides, and with what is made with them. */
const RANDOM: ReadonlySet<string> = new Set(['address', 'address_key', 'seal', 'previous', 'entry', 'salt', 'hash']);

function describe(command: Command): string {
  const { op, database: _, collection, ...rest } = { database: '', collection: '', ...command };
  // Everything else is the same for a seed.
  const text = JSON.stringify(rest, (field, value) => (RANDOM.has(field) ? undefined : value));
  return `${op} ${collection} ${text.replace(/[0-9a-f]{64}/g, '…')}`.slice(0, 300);
}

type World = {
  prepare(): Promise<void>;
  /** Makes one call of a client, by chance, and notes what came of it. */
  call(client: string): Promise<void>;
  /** Makes an organization and signs its admin in, before the clients begin. */
  found(): Promise<void>;
  reconcile(): Promise<void>;
  /** Brings everything to its end and looks at what is there. */
  auditEnd(): Promise<void>;
  calls(): readonly Call[];
};

function createWorld(scheduler: Scheduler, random: Random, executor: Executor, options: NamesOptions): World {
  let ids = 0;
  /** As UUIDv7 in shape and order. */
  const newId = () => `00000000-0000-7000-8000-${String(++ids).padStart(12, '0')}`;
  const createdIds = new Map<object, string>();
  const instances = Array.from({ length: INSTANCES }, () =>
    createInstance(scheduler, random, noting(executor), newId, options),
  );
  const instance = (index: number) => instances[index % INSTANCES] as Instance;

  const calls: Call[] = [];
  const tokens: Token[] = [];
  const accounts: { name: string; email: string; password: string }[] = [];
  /** Requests whose outcome is not known, to be made again by their client. */
  const lost = new Map<string, Request>();
  let quietAt = Number.POSITIVE_INFINITY;

  function noting(inner: Executor): Executor {
    return {
      ...inner,
      execute: <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
        const task = scheduler.current();
        const seen: Command = command;
        if (task !== undefined && seen.op === 'insertOne' && seen.collection === 'organizations') {
          createdIds.set(task, seen.document._id);
        }
        return inner.execute(command);
      },
    };
  }

  const account = () => (accounts.length > 0 && random.chance(0.8) ? random.pick(accounts.slice(-4)) : newAccount());
  const newAccount = () => ({ name: random.pick(NAMES), email: random.pick(EMAILS), password: random.pick(PASSWORDS) });
  const token = () => (random.chance(0.7) ? tokens.at(-1) : random.pick(tokens)) as Token;

  const newRequest = (): Request => {
    const kinds = ['create', 'create', 'get', 'login', 'login'];
    if (options.kept) kinds.push('restore');
    if (tokens.length > 0) kinds.push('rename', 'rename', 'rename', 'change', 'both', 'delete', 'delete');
    switch (random.pick(kinds)) {
      case 'create':
        return { kind: 'create', ...newAccount() };
      case 'get':
        return { kind: 'get', name: random.pick(NAMES) };
      case 'login':
        return { kind: 'login', ...account(), ...(random.chance(0.2) && { name: undefined }) };
      case 'restore':
        return { kind: 'restore', ...account() };
      case 'rename':
        return newUpdate(true, false);
      case 'change':
        return newUpdate(false, true);
      case 'both':
        return newUpdate(true, true);
      default:
        return { kind: 'delete', token: token() };
    }
  };
  const newUpdate = (renames: boolean, changes: boolean): Request => {
    const used = token();
    const part = random.below(3);
    return {
      kind: 'update',
      token: used,
      name: renames ? random.pick(NAMES.filter((name) => name !== used.organization)) : undefined,
      email: changes && part !== 0 ? random.pick(EMAILS) : undefined,
      password: changes && part !== 1 ? random.pick(PASSWORDS) : undefined,
    };
  };

  const make = async (client: string, request: Request, index: number): Promise<void> => {
    const task = { name: `${client} ${request.kind}`, instance: index % INSTANCES };
    let invoked = 0;
    let current: object | undefined;
    const ended = await scheduler.start(task, async () => {
      invoked = scheduler.tick();
      current = scheduler.current();
      return send(instance(index), request);
    });
    if (invoked === 0) return;
    const reply = ended?.value;
    const call = {
      id: calls.length + 1,
      client,
      request,
      reply,
      invoked,
      returned: reply === undefined ? Number.POSITIVE_INFINITY : scheduler.tick(),
      unknown: reply === undefined,
      createdId: current && createdIds.get(current),
    };
    calls.push(call);
    learn(call);
    if (reply === undefined) lost.set(client, request);
    else lost.delete(client);
  };

  const makeAlone = async (client: string, request: Request): Promise<Reply | undefined> => {
    const made = make(client, request, 0);
    await scheduler.run();
    await made;
    return calls.at(-1)?.reply;
  };

  const learn = ({ request, reply }: Call): void => {
    if (reply?.code !== 'ok') return;
    if (reply.token !== undefined) tokens.push(reply.token);
    if (request.kind === 'create') {
      const { name, email, password } = request;
      accounts.push({ name, email, password });
    }
    if (request.kind === 'update') {
      const last = accounts.at(-1) ?? newAccount();
      accounts.push({
        name: request.name ?? reply.name ?? last.name,
        email: request.email ?? last.email,
        password: request.password ?? last.password,
      });
    }
  };

  let rounds = 0;
  const reconcileOnce = async (index: number) => {
    await reconcile(instance(index).context, rounds++).catch((error: unknown) => {
      if (!(error instanceof StoreError)) throw error;
    });
  };

  return {
    calls: () => calls.map((call) => ({ ...call, returned: call.unknown ? quietAt : call.returned })),
    prepare: async () => {
      for (const { prepare } of instances) await prepare();
    },
    found: async () => {
      scheduler.calm(true);
      const account = newAccount();
      await makeAlone('founder', { kind: 'create', ...account });
      await makeAlone('founder', { kind: 'login', ...account });
      scheduler.calm(false);
    },
    call: async (client) => {
      const again = lost.get(client);
      const request = again !== undefined && random.chance(0.5) ? again : newRequest();
      await make(client, request, random.below(INSTANCES));
    },
    reconcile: async () => {
      const index = random.below(INSTANCES);
      await scheduler.start({ name: 'reconciler', instance: index }, async () => {
        await scheduler.wait(random.below(LEASE_MS));
        await reconcileOnce(index);
      });
    },
    auditEnd: async () => {
      scheduler.calm(true);
      for (let round = 0; round < 3; round++) {
        await scheduler.wait(2 * LEASE_MS);
        await reconcileOnce(round);
      }
      quietAt = scheduler.tick();
      const audit = (request: Request) => makeAlone(AUDITOR, request);
      for (const name of NAMES.filter((name) => name !== 'ACME')) {
        const found = await audit({ kind: 'get', name });
        if (found?.code === 'ok') {
          for (const email of EMAILS) {
            for (const password of PASSWORDS) await audit({ kind: 'login', name, email, password });
          }
        } else {
          await audit({ kind: 'create', name, email: 'z@example.com', password: 'third-password' });
        }
      }
    },
  };
}

type Instance = {
  readonly context: Context;
  prepare(): Promise<void>;
  request(
    path: string,
    init: RequestInit & { readonly headers?: Record<string, string> },
  ): Response | Promise<Response>;
};

/** An instance of the service on the shared store, with a cheap hasher and the scheduler's time. */
function createInstance(
  scheduler: Scheduler,
  random: Random,
  executor: Executor,
  newId: () => string,
  { leased, kept }: NamesOptions,
): Instance {
  const config = parseConfig({
    LEASE_MS: String(LEASE_MS),
    NAME_LEASE_DAYS: leased ? '365' : '0',
    DELETE_RETENTION_DAYS: kept ? '365' : '0',
    LIMIT_CREATE: 'off',
    LIMIT_CHANGE: 'off',
    LIMIT_RENAME: 'off',
    LIMIT_MAIL: 'off',
    LIMIT_MAIL_RECIPIENT: 'off',
    LIMIT_LOGIN_ADDRESS: 'off',
    LIMIT_LOGIN_ACCOUNT: 'off',
  });
  const services = createServices(config, {
    executor,
    hasher: {
      hash: async (password) => {
        await scheduler.turn('hashes', { write: false });
        return `hash of ${password}`;
      },
      verify: async (password, hash) => {
        await scheduler.turn('hashes', { write: false });
        return hash === `hash of ${password}`;
      },
    },
    jwtSecret: 'a secret of the tests, and of more than 32 bytes',
    log: () => {},
  });
  const context: Context = {
    ...services.context,
    clock: () => scheduler.now(),
    // What the service takes by chance, a short wait, is by the seed here.
    wait: (ms) => scheduler.wait(ms < 100 ? random.below(100) : ms),
    newId,
    tokens: plainTokens(newId, scheduler),
  };
  const app = createApp(
    {
      ...services,
      context,
      contextFor: ({ request, noteBudget }) => ({ ...context, request, noteBudget }),
      // No real time: a request takes as long as it is made to wait.
      requestMs: 2 ** 31 - 1,
    },
    () => ({ remote: { address: '127.0.0.1' } }),
  );
  return {
    context,
    prepare: services.prepare,
    request: (path, init) => app.request(path, init),
  };
}

/** Tokens that are not signed: the calls here forge none. */
function plainTokens(newId: () => string, scheduler: Scheduler): AccessTokens {
  const lifetimeSeconds = DAY_MS / 1000;
  return {
    lifetimeSeconds,
    issue: async (claims) => {
      const exp = claims.exp ?? Math.floor(scheduler.now().getTime() / 1000) + lifetimeSeconds;
      const all: AccessClaims = { ...claims, exp, jti: newId() };
      const payload = Buffer.from(JSON.stringify(all)).toString('base64url');
      return { token: `plain.${payload}.${scheduler.now().getTime()}`, expiresIn: lifetimeSeconds };
    },
    verify: async (token) => claimsOf(token),
    publicKeys: async () => [],
  };
}

const claimsOf = (token: string): AccessClaims =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as AccessClaims;

/** Undefined where the outcome is unknown. */
async function send({ request }: Instance, asked: Request): Promise<Reply | undefined> {
  const response = await request(...over(asked));
  // biome-ignore lint/suspicious/noExplicitAny: read as the contract has it, and compared with what must be there.
  const body = (await response.json()) as any;
  if (response.status === 503) return undefined;
  if (response.status === 308) {
    const location = new URL(response.headers.get('Location') ?? '', 'http://localhost');
    return { code: body.code, name: location.searchParams.get('organization_name') ?? undefined };
  }
  if (!response.ok) return { code: body.code };
  const text: string | undefined = body.access_token;
  const token = text === undefined ? undefined : toToken(text);
  return {
    code: 'ok',
    organizationId: body.organization_id ?? token?.organizationId,
    name: body.organization_name ?? body.organization,
    token,
  };
}

function toToken(text: string): Token {
  const { org_id, organization, epoch, jti } = claimsOf(text);
  return { text, organizationId: org_id, organization, epoch, jti };
}

function over(request: Request): Parameters<Instance['request']> {
  const json = (method: string, body: Record<string, string | undefined>, token?: Token) => ({
    method,
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token.text}` }) },
    body: JSON.stringify(body),
  });
  const query = (name: string) => `?${new URLSearchParams({ organization_name: name })}`;
  switch (request.kind) {
    case 'create':
    case 'restore': {
      const { kind, name, email, password } = request;
      return [`/org/${kind}`, json('POST', { organization_name: name, email, password })];
    }
    case 'get':
      return [`/org/get${query(request.name)}`, {}];
    case 'login': {
      const { name, email, password } = request;
      return ['/admin/login', json('POST', { organization_name: name, email, password })];
    }
    case 'update': {
      const { token, name, email, password } = request;
      return ['/org/update', json('PUT', { new_organization_name: name, email, password }, token)];
    }
    case 'delete': {
      const { token } = request;
      const headers = { Authorization: `Bearer ${token.text}` };
      return [`/org/delete${query(token.organization)}`, { method: 'DELETE', headers }];
    }
  }
}

/** The history as a person can read it: calls by the time they were made, then every step. */
export function printHistory({ seed, options, rates, calls, trace, verdict }: CheckedHistory): string {
  const line = ({ id, client, request, reply, invoked, returned }: Call): string => {
    const { kind, token: _, ...input } = { token: undefined, ...request };
    const token = tokenOf({ request } as Call);
    const by = token === undefined ? '' : ` by ${short(token.organizationId)} epoch ${token.epoch}`;
    const answer =
      reply === undefined
        ? 'unknown'
        : `${reply.code}${'organizationId' in reply ? ` ${short(reply.organizationId)}` : ''} ${reply.name ?? ''}${
            'token' in reply && reply.token !== undefined ? ` epoch ${reply.token.epoch}` : ''
          }`;
    return `  #${id} ${client} [${invoked}, ${returned}] ${kind} ${JSON.stringify(input)}${by} -> ${answer}`;
  };
  const order = verdict.linearizable ? [] : verdict.longest.map(({ id }) => `#${id}`);
  return [
    `seed ${seed}: ${JSON.stringify({ ...options, ...rates })}`,
    'calls:',
    ...[...calls].sort((a, b) => a.invoked - b.invoked).map(line),
    'steps:',
    ...trace.map((step) => `  ${step}`),
    ...(verdict.linearizable ? ['linearizable'] : [`NOT LINEARIZABLE; the longest order: ${order.join(' ')}`]),
  ].join('\n');
}

const short = (id: string | undefined): string => id?.slice(-4) ?? '';
