/**
 * What a rename takes by the number of documents: where the server renames the collection, and where the documents
 * have to be copied while the tenant's own backend goes on writing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Context } from '../src/domain/context.ts';
import { updateOrganization } from '../src/domain/organization/update.ts';
import { openSqliteFile } from '../src/platform/sqlite-node.ts';
import { createMongoExecutor } from '../src/store/mongo.ts';
import type { Executor } from '../src/store/port.ts';
import { createSqliteExecutor } from '../src/store/sqlite.ts';
import type { Database } from '../src/store/store.ts';
import { createStore } from '../src/store/store.ts';
import { createInstance, ownerOf, principalOf } from '../test/support/instance.ts';
import type { Backend } from '../test/support/native-tenant.ts';
import { refusingRenames, startWriter } from '../test/support/native-tenant.ts';
import { givenUri, startMongo } from '../test/support/wire-server.ts';

const HELP = `npm run bench:rename -- [--small 1000] [--large 20000] [--store sqlite] [--store mongo]

Renames a tenant of so many documents, and of so many more: by renameCollection, with the ratio of the two, and by
copying with a writer beside it. --large 1000000 is the long form. mongo is TEST_MONGO_URI, a mongod on the PATH, or
SecantusDB, which is a server for correctness and not for speed: it copies to rename.
`;

const MASTER = `bench_rename_${Date.now().toString(36)}`;
const TIMEOUT_MS = 60_000;
const HOUR_MS = 3_600_000;
const RENAMES = 9;
const BATCH = 1000;
const WRITER_KEYS = Array.from({ length: 200 }, (_, n) => n);

const { values } = parseArgs({
  options: {
    small: { type: 'string', default: '1000' },
    large: { type: 'string', default: '20000' },
    store: { type: 'string', multiple: true, default: ['sqlite'] },
    help: { type: 'boolean', default: false },
  },
});

type Opened = { readonly executor: Executor; close(): Promise<void> };

async function openSqlite(): Promise<Opened> {
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-bench-'));
  const executor = createSqliteExecutor(openSqliteFile(join(directory, 'bench.db')));
  return {
    executor,
    close: async () => {
      await executor.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function openMongo(): Promise<Opened | undefined> {
  const server = givenUri() === undefined ? await startMongo({ durable: true }) : undefined;
  const uri = givenUri() ?? server?.uri;
  if (uri === undefined) return undefined;
  const executor = createMongoExecutor({ uri, timeoutMs: TIMEOUT_MS });
  return {
    executor,
    close: async () => {
      await createStore(executor).database(MASTER).drop();
      await executor.close();
      await server?.stop();
    },
  };
}

/** One instance that never gives up waiting for a copy, and whose lease outlives the longest page. */
async function prepare(executor: Executor): Promise<Context> {
  const { context, prepare } = createInstance(executor, { MASTER_DB: MASTER, LEASE_MS: '30000' });
  await prepare();
  return { ...context, settings: { ...context.settings, copyWaitMs: HOUR_MS } };
}

async function newTenant(context: Context, database: Database, documents: number) {
  const { organization, admin } = await ownerOf(context, `Tenant ${context.newId()}`);
  const collection = database.collection(organization.placement.collection);
  for (let made = 0; made < documents; made += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, documents - made) }, (_, n) => ({
      _id: `d${made + n}`,
      number: made + n,
      text: 'What a document of an ordinary tenant may hold, two hundred bytes or so of it. '.repeat(2),
    }));
    await collection.insertMany(batch);
  }
  return { organizationId: organization._id, adminId: admin._id, collection: collection.name };
}

type Tenant = Awaited<ReturnType<typeof newTenant>>;

/** @returns the milliseconds it took */
async function rename(context: Context, { organizationId, adminId }: Tenant): Promise<number> {
  const principal = await principalOf(context, organizationId, adminId);
  const begun = performance.now();
  const renamed = await updateOrganization(context, principal, { new_organization_name: `Next ${context.newId()}` });
  if (renamed.access_token === undefined) throw new Error('The rename is still under way.');
  return performance.now() - begun;
}

async function medianRename(context: Context, database: Database, documents: number): Promise<number> {
  const tenant = await newTenant(context, database, documents);
  const times: number[] = [];
  for (let n = 0; n < RENAMES; n++) times.push(await rename(context, tenant));
  return times.sort((a, b) => a - b)[Math.floor(RENAMES / 2)] ?? 0;
}

const backendOf = (database: Database): Backend => ({
  put: async (collection, key, version) => {
    await database.collection(collection).updateOne({ _id: `w${key}` }, { $set: { version } }, { upsert: true });
  },
  remove: async (collection, key) => {
    await database.collection(collection).deleteOne({ _id: `w${key}` });
  },
  all: async () => new Map(),
});

async function copyWithWriter(executor: Executor, database: Database, documents: number): Promise<string> {
  const context = await prepare(refusingRenames(executor));
  const tenant = await newTenant(context, database, documents);
  const alone = startWriter(backendOf(database), () => tenant.collection, WRITER_KEYS);
  await context.wait(2000);
  await alone.stop();
  const writer = startWriter(backendOf(database), () => tenant.collection, WRITER_KEYS);
  const ms = await rename(context, tenant);
  await writer.stop();
  const rate = (count: number, time: number) => Math.round((count * 1000) / time);
  return (
    `${documents} documents copied in ${Math.round(ms)} ms, ${rate(documents, ms)}/s; the writer beside it ` +
    `${rate(writer.writes(), ms)} writes/s (alone ${rate(alone.writes(), 2000)}), ` +
    `its worst pause ${Math.round(writer.worstMs())} ms (alone ${Math.round(alone.worstMs())})`
  );
}

async function run(name: string, { executor, close }: Opened, small: number, large: number): Promise<void> {
  const database = createStore(executor).database(MASTER);
  const context = await prepare(executor);
  const [first, second] = [await medianRename(context, database, small), await medianRename(context, database, large)];
  const shown = (ms: number) => `${ms.toFixed(1)} ms`;
  process.stdout.write(
    `${name}: renameCollection: ${small} documents ${shown(first)}, ${large} documents ${shown(second)}, ` +
      `ratio ${(second / first).toFixed(2)} (medians of ${RENAMES})\n`,
  );
  process.stdout.write(`${name}: copy: ${await copyWithWriter(executor, database, large)}\n`);
  await close();
}

if (values.help) {
  process.stdout.write(HELP);
} else {
  const openers: Record<string, () => Promise<Opened | undefined>> = { sqlite: openSqlite, mongo: openMongo };
  for (const name of values.store) {
    const opened = await openers[name]?.();
    if (opened === undefined) process.stdout.write(`${name}: not to be had here\n`);
    else await run(name, opened, Number(values.small), Number(values.large));
  }
}
