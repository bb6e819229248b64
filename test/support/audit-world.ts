import { setImmediate as nextTurn } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import { newAddressKey } from '../../src/domain/audit/address.ts';
import { firstCheckpoint } from '../../src/domain/audit/checkpoint.ts';
import type { AuditEvent } from '../../src/domain/audit/note.ts';
import { auditNote } from '../../src/domain/audit/note.ts';
import { flushPendingAudit, withPendingAudit } from '../../src/domain/audit/pending.ts';
import { record } from '../../src/domain/audit/record.ts';
import type { AuditEntry, AuditNote } from '../../src/domain/audit/schema.ts';
import { entryId } from '../../src/domain/audit/schema.ts';
import type { Context } from '../../src/domain/context.ts';
import { MASTER_COLLECTIONS, Master } from '../../src/domain/master.ts';
import type { MembershipOperation, OrganizationDocument } from '../../src/domain/organization/schema.ts';
import { createKeyedHash } from '../../src/platform/keyed-hash.ts';
import { createSeals } from '../../src/platform/seals.ts';
import type { Command, Executor } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import { Store } from '../../src/store/store.ts';

export const SECRET = 'the audit secret, for tests only: 32 bytes';
const ADDRESS = '198.51.100.7';

/** What the audit log asks of the context. */
export type AuditContext = Pick<
  Context,
  | 'request'
  | 'master'
  | 'seals'
  | 'auditTails'
  | 'wait'
  | 'clock'
  | 'log'
  | 'runInBackground'
  | 'newId'
  | 'keyedHash'
  | 'settings'
  | 'noteBudget'
>;

export type AuditInstance = AuditContext & {
  /** The operations that were asked of the store, in order. */
  readonly calls: string[];
  /** What was logged, in order. */
  readonly logged: { event: string; particulars: Readonly<Record<string, unknown>> }[];
  /** Resolves when no work goes on in the background. */
  settled(): Promise<void>;
};

/** One time for all instances, which moves only when it is told to. */
export type Time = { now: number };

type InstanceOptions = { readonly secrets?: readonly string[]; readonly time?: Time; readonly database?: string };

export const DAY_MS = 24 * 60 * 60 * 1000;

/** How long the instances keep entries. */
export const RETENTION_MS = 400 * DAY_MS;

/** An instance of the service, as far as the audit log goes: it knows nothing of what others wrote. */
export function auditInstance(executor: Executor, options: InstanceOptions = {}): AuditInstance {
  const { secrets = [SECRET], time = { now: Date.now() }, database = 'audit_test' } = options;
  const calls: string[] = [];
  let ids = 0;
  const logged: AuditInstance['logged'] = [];
  const running = new Set<Promise<void>>();
  const counting = wrapped(executor, async (command, next) => {
    calls.push(`${command.op} ${'collection' in command ? command.collection : ''}`);
    return next();
  });
  const instance: AuditInstance = {
    calls,
    logged,
    settled: async () => void (await Promise.all(running)),
    request: { id: 'the-request', address: ADDRESS, device: null },
    master: new Master(new Store(counting), database),
    seals: createSeals(secrets),
    auditTails: new Map(),
    // The audit log's own work asks for no other setting.
    settings: { auditRetentionMs: RETENTION_MS } as Context['settings'],
    wait: async () => void (await nextTurn()),
    clock: () => new Date(time.now),
    log: (_level, event, particulars = {}) => void logged.push({ event, particulars }),
    newId: () => uuidv7({ msecs: time.now, seq: ids++ }),
    keyedHash: createKeyedHash(SECRET),
    noteBudget: () => {},
    runInBackground: (work) => {
      // The audit log's own work asks no more of the context than this.
      const run = nextTurn()
        .then(async () => void (await work(instance as unknown as Context)))
        .catch(() => {});
      running.add(run);
      return run.finally(() => running.delete(run));
    },
  };
  return instance;
}

/** An executor with something before, after or in the place of each call. */
export function wrapped(
  executor: Executor,
  around: (command: Command, next: () => Promise<unknown>) => Promise<unknown>,
): Executor {
  return {
    limits: executor.limits,
    close: () => executor.close(),
    execute: (command) => around(command as unknown as Command, () => executor.execute(command)) as never,
  };
}

export async function prepareAuditStore(executor: Executor, database = 'audit_test'): Promise<void> {
  for (const [collection, indexes] of Object.entries(MASTER_COLLECTIONS)) {
    await new Store(executor).database(database).createCollection(collection, indexes);
  }
}

/** An organization whose create was committed, and is not recorded yet. */
export async function commitOrganization(context: AuditContext): Promise<OrganizationDocument> {
  const _id = context.newId();
  const address_key = newAddressKey();
  const created = { event_id: _id, action: 'organization.created', actor: 'somebody', target: _id } as const;
  const organization: OrganizationDocument = {
    _id,
    name: 'TestCo',
    key: 'testco',
    slug: 'testco',
    status: 'active',
    version: 1,
    epoch: 1,
    named_by: _id,
    placement: { cluster: 'main', database: 'tenants', collection: 'org_testco' },
    next_placement: null,
    operation: {
      id: _id,
      kind: 'create',
      replaces: '',
      audit: await auditNote(context, { _id, address_key }, created),
    },
    changed_by: _id,
    address_key,
    due_at: null,
    purge_at: null,
    erased_at: null,
    created_at: context.clock(),
    updated_at: context.clock(),
  };
  await context.master.checkpoints.insertOne(firstCheckpoint(context, _id));
  await context.master.organizations.insertOne(organization);
  return organization;
}

/** An organization with an admin, whose creation is recorded. */
export async function newOrganization(
  context: AuditContext,
): Promise<{ organization: OrganizationDocument; admin: AdminDocument }> {
  const organization = await commitOrganization(context);
  const admin = await insertAdmin(context, organization, {});
  if (organization.operation?.kind === 'create') await record(context, organization.operation.audit);
  await context.master.organizations.updateOne({ _id: organization._id }, { $set: { operation: null } });
  return { organization: { ...organization, operation: null }, admin };
}

export async function insertAdmin(
  context: AuditContext,
  { _id: organization_id }: OrganizationDocument,
  fields: Partial<AdminDocument>,
): Promise<AdminDocument> {
  const _id = context.newId();
  const admin: AdminDocument = {
    _id,
    organization_id,
    email: `${_id}@example.com`,
    email_key: `${_id}@example.com`,
    email_verified: false,
    password_hash: 'none',
    role: 'owner',
    version: 1,
    epoch: 1,
    changed_by: organization_id,
    audit_pending: null,
    audit_due_at: null,
    created_at: context.clock(),
    updated_at: context.clock(),
    ...fields,
  };
  await context.master.admins.insertOne(admin);
  return admin;
}

const SIGNED_IN = { action: 'session.signed_in', actor: 'somebody', target: 'somebody' } as const;

export const note = (
  context: AuditContext,
  organization: OrganizationDocument,
  event: Partial<AuditEvent> = {},
): Promise<AuditNote> => auditNote(context, organization, { ...SIGNED_IN, event_id: context.newId(), ...event });

export const recordOne = async (
  context: AuditContext,
  organization: OrganizationDocument,
  event: Partial<AuditEvent> = {},
): Promise<AuditEntry | undefined> => record(context, await note(context, organization, event));

/** Changes an admin, and leaves what is to be recorded of it on the admin. @returns whether this version was there */
export async function changeWithoutRecording(
  context: AuditContext,
  organization: OrganizationDocument,
  { _id, version, audit_pending }: AdminDocument,
): Promise<boolean> {
  const notes = [
    await note(context, organization, { action: 'admin.email_changed', actor: _id, target: _id }),
    await note(context, organization, { action: 'admin.password_changed', actor: _id, target: _id }),
  ];
  const fields = { ...withPendingAudit(context, { _id, audit_pending }, notes), changed_by: notes[0]?.event_id ?? '' };
  const { matched } = await context.master.admins.updateOne({ _id, version }, { $set: fields, $inc: { version: 1 } });
  return matched === 1;
}

/** Changes an admin as a verb does, however often others do in between. */
export async function changeAndRecord(
  context: AuditContext,
  organization: OrganizationDocument,
  adminId: string,
): Promise<void> {
  for (;;) {
    const admin = await context.master.admins.findOne({ _id: adminId });
    if (admin === undefined || (await changeWithoutRecording(context, organization, admin))) break;
  }
  await flushPendingAudit(context, adminId);
}

/** Begins an operation on the organization; undefined when another is under way. */
export async function beginMembership(
  context: AuditContext,
  organizationId: string,
  adminId: string,
): Promise<MembershipOperation | undefined> {
  const { organizations } = context.master;
  const organization = await organizations.findOne({ _id: organizationId, operation: null });
  if (organization === undefined) return undefined;
  const id = context.newId();
  const operation: MembershipOperation = {
    id,
    kind: 'membership',
    replaces: organization.changed_by,
    admin_id: adminId,
    role: 'owner',
    actor_id: adminId,
    audit: await note(context, organization, { event_id: id, action: 'admin.role_changed', target: adminId }),
  };
  const asRead = { _id: organizationId, version: organization.version };
  const { matched } = await organizations.updateOne(asRead, {
    $set: { operation, changed_by: id },
    $inc: { version: 1 },
  });
  return matched === 1 ? operation : undefined;
}

/** Makes the change of an operation, records it, and ends it. */
export async function finishMembership(
  context: AuditContext,
  organizationId: string,
  operation: MembershipOperation,
): Promise<void> {
  const { admins, organizations } = context.master;
  await admins.updateOne({ _id: operation.admin_id }, { $set: { changed_by: operation.id }, $inc: { version: 1 } });
  await record(context, operation.audit);
  const own = { _id: organizationId, 'operation.id': operation.id };
  await organizations.updateOne(own, { $set: { operation: null }, $inc: { version: 1 } });
}

export const entriesOf = ({ master }: AuditContext, organizationId: string): Promise<AuditEntry[]> =>
  master.audit.find({ organization_id: organizationId }, { sort: { _id: 1 } });

export async function entryAt({ master }: AuditContext, organizationId: string, sequence: number): Promise<AuditEntry> {
  const entry = await master.audit.findOne({ _id: entryId(organizationId, sequence) });
  if (entry === undefined) throw new Error(`There is no entry ${sequence}.`);
  return entry;
}

/** Gives others the turn at random before each call, by a number that makes the same turns again. */
export function shuffled(executor: Executor, seed: number): Executor {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return wrapped(executor, async (_command, next) => {
    for (let turns = random(4); turns > 0; turns--) await nextTurn();
    return next();
  });
}

/** A store that goes away for good before, or after, its so-manyth call. */
export function goneAt(executor: Executor, call: number, when: 'before' | 'after'): Executor & { calls(): number } {
  let calls = 0;
  const gone = () => new StoreError('Unavailable', 'Gone.');
  const dying = wrapped(executor, async (_command, next) => {
    calls++;
    if (calls > call || (calls === call && when === 'before')) throw gone();
    const result = await next();
    if (calls === call) throw gone();
    return result;
  });
  return { ...dying, calls: () => calls };
}
