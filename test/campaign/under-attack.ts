import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { variableTable } from '../../src/config.ts';
import type { AuditEntry } from '../../src/domain/audit/schema.ts';
import { MASTER_COLLECTIONS } from '../../src/domain/master.ts';
import type { MailDocument } from '../../src/domain/outbox/schema.ts';
import type { SessionDocument } from '../../src/domain/session/schema.ts';
import { GaveUp, until } from '../support/deadline.ts';
import { awaitMail, directoryMailbox, tokenIn } from '../support/mailbox.ts';
import { createRandom } from '../support/random.ts';
import type { RunningService, StoreChoice } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { countStored, readStored } from '../support/stored.ts';
import type { Account, AnswerBody, AttackCall, Attacker, AttackerOptions } from './attacker.ts';
import { createAttacker } from './attacker.ts';
import { documentBounds, mailBound, sessionBound, victimAuditBound } from './derived-bounds.ts';

export type BoundsOptions = {
  readonly runtime: 'node' | 'bun';
  readonly store: StoreChoice;
  /** How long each phase of the attack takes, and how often the owner signs in meanwhile. */
  readonly seconds: number;
  readonly ownerSeconds: number;
  readonly connections: number;
  /** The attackers of the last phase. */
  readonly addresses: number;
  readonly seed: number;
  /** Variables beside the defaults. */
  readonly env?: Readonly<Record<string, string>>;
  readonly progress: (line: string) => void;
};

/** What was measured, beside its bound. */
export type Measured = {
  readonly phase: string;
  readonly what: string;
  readonly measured: number;
  readonly bound: number;
  /** Time and memory are the machine's too; counts are not. */
  readonly kind: 'count' | 'milliseconds' | 'megabytes';
};

export type BoundsReport = {
  readonly measured: readonly Measured[];
  /** How many answers of each status every operation of /openapi.json gave, by phase. */
  readonly answers: Readonly<Record<string, Answers>>;
  /** Answers that no attack should get: 5xx other than 503 busy, and none at all. */
  readonly unexpected: readonly string[];
  readonly owner: { readonly signIns: number; readonly refusals: readonly string[]; readonly p99: number };
};

type Answers = Record<string, Record<string, number>>;

type Answer = { readonly status: number; readonly body: AnswerBody };

/** An owner waits no longer for a sign-in. */
const SIGN_IN_MS = 2000;

/**
 * What attacks add to the memory of a new process at most. Node lets its heap grow before it collects garbage: after a
 * minute it grows no further. With a heap of at most 96 MB (--max-old-space-size), it is 40 MB.
 */
const GROWTH_MB = 384;
const MB = 1024 * 1024;

/** Tries of the owner that are refused because the service is busy, before the owner gives up. */
const TRIES = 30;

const SETUP_ADDRESS = '198.51.100.9';
const HOLDER_ADDRESS = '203.0.113.1';

/** An empty variable is one that is left out: the limits are those of the defaults. */
const DEFAULT_LIMITS = Object.fromEntries(
  variableTable().flatMap(({ name }) => (name.startsWith('LIMIT_') ? [[name, '']] : [])),
);

/** Attacks a service of its own in three phases, and measures what grows. */
export async function measureUnderAttack(options: BoundsOptions): Promise<BoundsReport> {
  const { runtime, store, env } = options;
  const service = await startService({
    runtime,
    store,
    env: { ...DEFAULT_LIMITS, TRUSTED_PROXIES: '127.0.0.1', ...env },
  });
  try {
    return await attackInPhases(service, options);
  } finally {
    await service.stop();
  }
}

async function attackInPhases(service: RunningService, options: BoundsOptions): Promise<BoundsReport> {
  const start = performance.now();
  const call = createClient(service);
  const word = randomBytes(4).toString('hex');
  const owner = await createOwner(call, service, word);
  const holder = await createHolder(call, service, word);
  const description = (await (await fetch(`${service.url}/openapi.json`)).json()) as AttackerOptions['description'];
  const random = createRandom(options.seed);
  const strangers = ['one', 'two', 'three'].map((name) => `${name}-${word}@victim.example`);
  const known = { random, description, victims: [owner.account.email, ...strangers], names: [owner.account.name] };

  const withOneToken = createAttacker({ ...known, only: holder });
  const first = withOneToken.next();
  const { status, body } = await call(first, HOLDER_ADDRESS);
  withOneToken.learn(first, status, body);

  const blocks = Array.from({ length: options.addresses }, (_, index) => `2001:db8:7:${index.toString(16)}::1`);
  const phases = [
    { name: 'one address', attacker: createAttacker(known), addresses: ['192.0.2.1'], isNeighbourhood: false },
    { name: 'one token', attacker: withOneToken, addresses: [HOLDER_ADDRESS], isNeighbourhood: false },
    { name: 'a /48', attacker: createAttacker(known), addresses: blocks, isNeighbourhood: true },
  ];
  const measured: Measured[] = [];
  const answers: Record<string, Answers> = {};
  const unexpected: string[] = [];
  const memoryAtStart = service.residentBytes() / MB;
  let auditOfAttackers = 0;
  for (const { name: phase, attacker, addresses, isNeighbourhood } of phases) {
    const before = await countStored(service);
    const began = performance.now();
    const ends = began + options.seconds * 1000;
    const signInsBefore = owner.times.length;
    const counts: Answers = {};
    answers[phase] = counts;
    let memory = 0;
    const sampling = setInterval(() => {
      memory = Math.max(memory, service.residentBytes() / MB);
    }, 500);
    await Promise.all([
      owner.signInUntil(ends, options.ownerSeconds),
      ...Array.from({ length: options.connections }, async () => {
        while (performance.now() < ends) {
          const address = random.pick(addresses);
          const problem = await attackOnce(call, attacker, address, counts);
          if (problem !== undefined) unexpected.push(`${phase}: ${problem}`);
        }
      }),
    ]);
    clearInterval(sampling);
    await until(
      'mails to be sent',
      async () =>
        (await readStored<MailDocument>(service, 'mails')).every(({ due_at }) => due_at === null) || undefined,
      { ms: 120_000, every: 500 },
    );
    const times = owner.times.slice(signInsBefore);
    const after = await countStored(service);
    const attack = {
      ms: performance.now() - began,
      addresses: addresses.length,
      isNeighbourhood,
      ownerSignIns: times.length,
    };
    const bounds = documentBounds(attack);
    for (const collection of Object.keys(MASTER_COLLECTIONS)) {
      const grown = (after[collection] ?? 0) - (before[collection] ?? 0);
      const bound = bounds[collection] ?? 0;
      measured.push({ phase, what: `new documents in ${collection}`, measured: grown, bound, kind: 'count' });
    }
    auditOfAttackers += bounds['audit'] ?? 0;
    const slowest = Math.max(...times);
    measured.push(
      { phase, what: 'the slowest sign-in of the owner', measured: slowest, bound: SIGN_IN_MS, kind: 'milliseconds' },
      { phase, what: 'memory', measured: memory, bound: memoryAtStart + GROWTH_MB, kind: 'megabytes' },
    );
    options.progress(`${phase}: ${Math.round(attack.ms / 1000)} s`);
  }

  const phase = 'all';
  const add = (what: string, found: number, bound: number) =>
    measured.push({ phase, what, measured: found, bound, kind: 'count' });
  const audit = tally(await readStored<AuditEntry>(service, 'audit'), ({ organization_id, at }) =>
    JSON.stringify([organization_id === owner.organizationId, organization_id, at.toISOString().slice(0, 13)]),
  );
  const ofOwner = [...audit].flatMap(([key, count]) => (key.startsWith('[true') ? [count] : []));
  const ofOthers = [...audit].flatMap(([key, count]) => (key.startsWith('[true') ? [] : [count]));
  const signIns = owner.times.length;
  add('audit entries of the owner’s organization in an hour', Math.max(...ofOwner), victimAuditBound(signIns));
  add('audit entries of another organization in an hour', Math.max(...ofOthers), auditOfAttackers);
  const sessions = tally(await readStored<SessionDocument>(service, 'sessions'), ({ admin_id }) => admin_id);
  add('sessions of one admin', Math.max(...sessions.values()), sessionBound(options.connections));
  const mails = tally(await outboxOf(service).all(), ({ to }) => to.replace(/\+[^@]*@/, '@'));
  add('mails to one mailbox', Math.max(...mails.values()), mailBound(performance.now() - start));
  const sorted = owner.times.toSorted((a, b) => a - b);
  const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  return { measured, answers, unexpected, owner: { signIns, refusals: owner.refusals, p99 } };
}

const outboxOf = ({ dataDirectory }: RunningService) => directoryMailbox(join(dataDirectory, 'outbox'));

function tally<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

type Client = (call: AttackCall, address: string) => Promise<Answer>;

/** Calls from an address, as a trusted proxy says it. */
const createClient =
  ({ url }: RunningService): Client =>
  async ({ operation, query = {}, headers, body }, address) => {
    const [method = '', path = ''] = operation.split(' ');
    const response = await fetch(`${url}${path}?${new URLSearchParams(query)}`, {
      method,
      headers: {
        'X-Forwarded-For': address,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    return { status: response.status, body: text.startsWith('{') ? (JSON.parse(text) as AnswerBody) : {} };
  };

/** @returns what is wrong with the answer */
async function attackOnce(
  call: Client,
  attacker: Attacker,
  address: string,
  counts: Answers,
): Promise<string | undefined> {
  const next = attacker.next();
  const count = (answer: string | number) => {
    const ofOperation = counts[next.operation] ?? {};
    ofOperation[answer] = (ofOperation[answer] ?? 0) + 1;
    counts[next.operation] = ofOperation;
  };
  try {
    const { status, body } = await call(next, address);
    count(status);
    attacker.learn(next, status, body);
    const isBusy = status === 503 && body['code'] === 'busy';
    return status < 500 || isBusy ? undefined : `${next.operation}: ${status} ${JSON.stringify(body)}`;
  } catch (error) {
    count('none');
    attacker.learn(next, 0, {});
    return `${next.operation}: ${String(error)}`;
  }
}

async function expectOk(call: Client, given: AttackCall): Promise<AnswerBody> {
  const { status, body } = await call(given, SETUP_ADDRESS);
  if (status >= 300) throw new GaveUp(`${given.operation}: ${status} ${JSON.stringify(body)}`);
  return body;
}

async function createAccount(call: Client, account: Account): Promise<AnswerBody> {
  const { name: organization_name, email, password } = account;
  return expectOk(call, { operation: 'POST /org/create', body: { organization_name, email, password } });
}

/** An owner with a verified email, who signs in from another address on a new device each time. */
async function createOwner(call: Client, service: RunningService, word: string) {
  const account = { name: `Owned ${word}`, email: `owner-${word}@example.com`, password: `Pw-${word}-of-the-owner` };
  const { organization_id } = await createAccount(call, account);
  const mail = await awaitMail(outboxOf(service), account.email, /./);
  await expectOk(call, { operation: 'POST /admin/verify-email', body: { token: tokenIn(mail) } });
  const { email, password } = account;
  const times: number[] = [];
  const refusals: string[] = [];
  const signIn = async () => {
    const began = performance.now();
    const address = `198.18.${times.length % 256}.${1 + Math.floor(times.length / 256)}`;
    for (let tries = 1; ; tries++) {
      const { status, body } = await call({ operation: 'POST /admin/login', body: { email, password } }, address);
      if (status === 200) break;
      refusals.push(`${status} ${String(body['code'])}`);
      if (status !== 503 || tries === TRIES)
        throw new GaveUp(`The owner cannot sign in: ${status} ${JSON.stringify(body)}`);
      await delay(100);
    }
    times.push(performance.now() - began);
  };
  return {
    account,
    organizationId: String(organization_id),
    times,
    refusals,
    signInUntil: async (ends: number, everySeconds: number) => {
      do {
        await signIn();
        await delay(Math.max(0, Math.min(everySeconds * 1000, ends - performance.now())));
      } while (performance.now() < ends);
    },
  };
}

/** An account of the attacker's own, in an organization with another admin. */
async function createHolder(call: Client, service: RunningService, word: string) {
  const account = {
    name: `Held ${word}`,
    email: `holder-${word}@attacker.example`,
    password: `Pw-${word}-of-the-holder`,
  };
  const { name, email, password } = account;
  await createAccount(call, account);
  const signedIn = await expectOk(call, {
    operation: 'POST /admin/login',
    body: { email, password, organization_name: name },
  });
  const other = `other-${word}@attacker.example`;
  await expectOk(call, {
    operation: 'POST /org/invites',
    headers: { Authorization: `Bearer ${String(signedIn['access_token'])}` },
    body: { email: other, role: 'admin' },
  });
  const token = tokenIn(await awaitMail(outboxOf(service), other, /./));
  const accepted = await expectOk(call, {
    operation: 'POST /admin/accept-invite',
    body: { token, password: `Pw-${word}-of-the-other` },
  });
  return { account, otherAdminId: String(accepted['admin_id']) };
}
