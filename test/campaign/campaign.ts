import { setTimeout as delay } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import type { Seals } from '../../src/domain/audit/schema.ts';
import type { Master } from '../../src/domain/master.ts';
import { createSeals } from '../../src/platform/seals.ts';
import type { Document } from '../../src/store/port.ts';
import type { Collection } from '../../src/store/store.ts';
import { findAuditViolations } from '../support/audit-invariants.ts';
import type { Snapshot } from '../support/invariants.ts';
import { findViolations } from '../support/invariants.ts';
import { createRandom } from '../support/random.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { openDatabase, readDatabase } from '../support/tenant-store.ts';
import { startMongo } from '../support/wire-server.ts';
import type { Client } from './client.ts';
import { createClient } from './client.ts';
import type { TenantRecord } from './journal.ts';
import { lastEvents } from './journal.ts';
import type { Load } from './load.ts';
import { startLoad } from './load.ts';
import { compare } from './verify.ts';

export type CampaignOptions = {
  readonly runtime: 'node' | 'bun';
  readonly store: 'embedded' | 'mongo';
  /** SIGKILLs of a service. */
  readonly kills: number;
  /** SIGKILLs of the database server; 0 with the embedded store. */
  readonly databaseKills: number;
  /** Chooses moments and victims. */
  readonly seed: number;
  readonly progress: (line: string) => void;
};

export type CampaignReport = {
  readonly kills: number;
  /** Kills while requests waited for an answer. */
  readonly killsUnderWay: number;
  readonly databaseKills: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly tenants: number;
  readonly documents: number;
  readonly checks: number;
  readonly seconds: number;
  readonly violations: readonly string[];
};

const INSTANCES = 2;

const LEASE_MS = 5000;
const RECONCILE_MS = 500;
const STORE_TIMEOUT_MS = 8000;

/** How long the services may take to bring everything in order once nothing disturbs them. */
const ORDER_MS = 90_000;

/** The whole database is checked after this many kills of a service. */
const KILLS_A_CHECK = 30;

/** The shortest and the longest wait from one kill to the next, in milliseconds. */
const SHORTEST_MS = 50;
const LONGEST_MS = 1000;

/** A kill waits until fewer effects than this were acknowledged since the last one, and this many milliseconds at most. */
const EFFECTS = 8;
const EFFECTS_MS = 5000;

/**
 * Runs two instances of the service on one store under a mixed load, kills them and the database server at random
 * moments, and checks repeatedly that no acknowledged effect is lost and every invariant holds. The seed chooses
 * victims and moments; it does not choose which requests they meet.
 */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { runtime, store, seed, progress } = options;
  const random = createRandom(seed);
  const started = performance.now();
  const database = store === 'mongo' ? await startMongo({ durable: true }) : undefined;
  if (store === 'mongo' && database === undefined) throw new Error('There is no MongoDB to kill: see above.');
  const services: RunningService[] = [];
  const violations: string[] = [];
  const violation = (description: string, tenant?: TenantRecord) => {
    const events = tenant === undefined ? '' : `\n${lastEvents(tenant)}`;
    const subject = tenant === undefined ? '' : `tenant ${tenant.label} (${tenant.organizationId}): `;
    violations.push(`${subject}${description}${events}`);
    progress(`VIOLATION ${violations.at(-1)}`);
  };
  let kills = 0;
  let killsUnderWay = 0;
  let databaseKills = 0;
  let checks = 0;
  /** The first violations, which the services' log was added to. */
  let logged = 0;

  const env = {
    LEASE_MS: String(LEASE_MS),
    RECONCILE_MS: String(RECONCILE_MS),
    STORE_TIMEOUT_MS: String(STORE_TIMEOUT_MS),
  };
  const choice =
    database === undefined ? ({ kind: 'embedded' } as const) : ({ kind: 'mongo', uri: database.uri } as const);
  const first = await startService({ runtime, store: choice, env });
  services.push(first);
  const shared = { DATA_DIR: first.dataDirectory, MASTER_DB: first.masterDatabase, JWT_SECRET: first.jwtSecret };
  while (services.length < INSTANCES)
    services.push(await startService({ runtime, store: choice, env: { ...env, ...shared } }));

  const writer = database && new MongoClient(database.uri, WRITER_OPTIONS);
  const client: Client = createClient();
  const load: Load = startLoad({
    client,
    random,
    urls: services.map(({ url }) => url),
    repeatMs: LEASE_MS + 10_000,
    writers: writer && {
      client: writer,
      database: first.masterDatabase,
      late: database?.renamesAtomically === true,
    },
    violation,
  });

  const restarts = new Map<RunningService, Promise<void>>();
  const kill = async (service: RunningService) => {
    kills++;
    if (client.underWay() > 0) killsUnderWay++;
    await service.kill('SIGKILL');
    const restart = service.restart().finally(() => restarts.delete(service));
    // A failure is thrown where the restart is awaited.
    restart.catch(() => {});
    restarts.set(service, restart);
  };
  const killDatabase = async () => {
    if (database === undefined) return;
    databaseKills++;
    await database.kill('SIGKILL');
    await delay(random.below(500));
    await database.restart();
  };

  /** On a busy machine, kills in quick succession would meet no acknowledged effect. */
  const someAcknowledged = async (count: number) => {
    const goal = client.counts().acknowledged + count;
    const end = performance.now() + EFFECTS_MS;
    while (client.counts().acknowledged < goal && performance.now() < end) await delay(5);
  };

  /** Checks everything at rest. The instances are killed once more, so that no earlier request is under way. */
  const check = async () => {
    await load.pause();
    await Promise.all(restarts.values());
    for (const service of services) await kill(service);
    await Promise.all(restarts.values());
    const { master, close } = openDatabase(first);
    try {
      const { snapshot, violations: disorder } = await whenInOrder(master, createSeals([first.jwtSecret]));
      for (const problem of disorder) violation(problem);
      const { problems, found } = compare(snapshot, load.tenants);
      for (const { problem, tenant } of problems) violation(problem, tenant);
      for (const [tenant, { id, fitting }] of found) {
        if (!tenant.dirty) continue;
        tenant.organizationId ??= id;
        const signingIn = await Promise.all(fitting.map((state) => state === 'absent' || signsIn(services, state)));
        const states = fitting.filter((_, index) => signingIn[index]);
        if (states.length === 0 && fitting.length > 0) violation('does not let its admin sign in', tenant);
        tenant.possible = states.length > 0 ? states.slice(0, 1) : tenant.possible;
        tenant.dirty = false;
      }
    } finally {
      await close();
    }
    if (violations.length > logged) {
      const log = `The services log:\n${services.map(lastWarnings).join('\n')}`;
      progress(log);
      logged = violations.length;
      violations[logged - 1] += `\n${log}`;
    }
    checks++;
    load.resume();
  };

  const reportProgress = () => {
    const { acknowledged, refused, unknown } = client.counts();
    const seconds = Math.round((performance.now() - started) / 1000);
    progress(
      `${seconds} s: kills ${kills}/${options.kills}, of the database ${databaseKills}/${options.databaseKills}; ` +
        `answers ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown; ` +
        `${load.tenants.length} tenants, ${load.documents()} documents; ` +
        `${checks} checks, ${violations.length} violations`,
    );
  };

  try {
    const rounds = Math.max(1, Math.ceil(options.kills / KILLS_A_CHECK), Math.ceil(options.databaseKills / 4));
    for (let round = 1; round <= rounds; round++) {
      const goal = Math.ceil((options.kills * round) / rounds);
      const databaseGoal = Math.ceil((options.databaseKills * round) / rounds);
      while (kills < goal || databaseKills < databaseGoal) {
        await delay(SHORTEST_MS + random.below(LONGEST_MS - SHORTEST_MS));
        await someAcknowledged(random.below(EFFECTS));
        const left = Math.max(0, goal - kills);
        const databaseLeft = databaseGoal - databaseKills;
        if (random.chance(databaseLeft / (left + databaseLeft))) await killDatabase();
        const up = services.filter((service) => !restarts.has(service));
        if (kills >= goal) continue;
        if (up.length === 0) await Promise.race(restarts.values());
        else await kill(random.pick(up));
      }
      await check();
      reportProgress();
    }
    await load.stop();
    const { acknowledged, refused, unknown } = client.counts();
    return {
      kills,
      killsUnderWay,
      databaseKills,
      acknowledged,
      refused,
      unknown,
      tenants: load.tenants.length,
      documents: load.documents(),
      checks,
      seconds: Math.round((performance.now() - started) / 1000),
      violations,
    };
  } finally {
    await Promise.allSettled(restarts.values());
    for (const service of services.reverse()) await service.stop();
    await writer?.close();
    await database?.stop();
  }
}

/** A writer gives up before the next look at the collection that it writes to. */
const WRITER_OPTIONS = {
  retryWrites: false,
  serverSelectionTimeoutMS: 500,
  connectTimeoutMS: 500,
  socketTimeoutMS: 1500,
  writeConcern: { w: 'majority' },
} as const;

/** Reads the database until every invariant holds, or the time for that is over. */
async function whenInOrder(
  master: Master,
  seals: Seals,
): Promise<{ snapshot: Snapshot; violations: readonly string[] }> {
  const end = performance.now() + ORDER_MS;
  for (;;) {
    const unfinished = await completeDueWork(master, end);
    const snapshot = await readDatabase(master.database);
    const violations = [
      ...findViolations(snapshot, new Date()),
      ...(await findAuditViolations(master, seals)),
      ...unfinished,
    ];
    if (violations.length === 0 || performance.now() > end) return { snapshot, violations };
    await delay(RECONCILE_MS);
  }
}

/**
 * Makes the looks for late writes, the checkpoints and the pending audit events due now, and waits until the services
 * have done this work. The leases of operations stay as they are.
 * @returns a line when the time was over first
 */
async function completeDueWork({ collections, checkpoints, admins }: Master, end: number): Promise<string[]> {
  await makeDue(collections, 'due_at');
  for (;;) {
    // A checkpoint that was written is due again; the next look finds nothing new.
    const others = (await makeDue(checkpoints, 'due_at')) + (await makeDue(admins, 'audit_due_at'));
    const looks = await collections.count({ kind: 'collection', due_at: DUE });
    if (others + looks === 0) return [];
    if (performance.now() > end)
      return [`${looks} looks for late writes and ${others} other items were not done in time`];
    await delay(RECONCILE_MS);
  }
}

/** Earlier than any time that the service writes. */
const DUE = new Date(1000);

/** @returns how many documents have work that is due, now or later */
async function makeDue<T extends Document>(collection: Collection<T>, field: string): Promise<number> {
  for (let count = 0, after = ''; ; ) {
    const page = await collection.find(
      { _id: { $gt: after }, [field]: { $gte: DUE } },
      { sort: { _id: 1 }, limit: PAGE },
    );
    // The condition leaves alone what the service has done meanwhile.
    await Promise.all(
      page.map(({ _id }) => collection.updateOne({ _id, [field]: { $gt: DUE } }, { $set: { [field]: DUE } })),
    );
    count += page.length;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return count;
    after = last._id;
  }
}

const PAGE = 200;

/** The last errors and the last warnings of a service. */
function lastWarnings(service: RunningService): string {
  const lines = service.logs().split('\n');
  return ['error', 'warn']
    .flatMap((level) => lines.filter((line) => line.includes(`"level":"${level}"`)).slice(-8))
    .join('\n');
}

async function signsIn(services: readonly RunningService[], { email, password }: { email: string; password: string }) {
  const response = await fetch(`${services[0]?.url}/admin/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email, password }),
  });
  await response.arrayBuffer();
  return response.ok;
}
