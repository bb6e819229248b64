import { changeRole, removeAdmin } from '../../src/domain/admin/membership.ts';
import { forgotPassword, resetPassword } from '../../src/domain/admin/password.ts';
import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import { verifyEmail } from '../../src/domain/admin/verify-email.ts';
import { auditNote } from '../../src/domain/audit/note.ts';
import { record } from '../../src/domain/audit/record.ts';
import { DomainError } from '../../src/domain/errors.ts';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { nameClaimId } from '../../src/domain/organization/claims.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import type { CollectionClaim } from '../../src/domain/tenant-data/schema.ts';
import { collectionClaimId } from '../../src/domain/tenant-data/schema.ts';
import type { Document } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';
import type { Traces } from '../support/invariants.ts';
import { UNCOUNTED } from '../support/invariants.ts';
import { create, createOnce, emailOf, PASSWORD, remove, restore, signIn, update } from '../support/requests.ts';
import { FOREIGN } from '../support/tenant-guard.ts';
import type { Instance, World, WorldOptions } from '../support/world.ts';
import { DAY_MS, HOUR_MS } from '../support/world.ts';

/** One step by one actor. */
export type Step = (instance: Instance) => Promise<unknown>;

/** The state that an operation begins in. */
export type Scene = {
  /** The operation that the fault happens to. */
  readonly run: Step;
  /** Steps of a third party. Each is tried while the instance does not run, before and after others have cleared up. */
  readonly meanwhile?: Readonly<Record<string, Step>>;
  /** Tokens that are no longer good once the operation has happened. */
  readonly spent?: readonly string[];
  /** Tokens that stay good, whether it has happened or not. */
  readonly good?: readonly string[];
  /** What is found nowhere once the operation has happened. */
  readonly gone?: Traces;
  /** What is found nowhere when it has not. */
  readonly never?: Traces;
  /** Leads to a second state that is accepted for an operation that has not happened. */
  readonly otherwise?: Step;
};

/** An operation, as it is tried under every fault. */
export type Scenario = {
  readonly name: string;
  readonly options?: WorldOptions;
  /** Sets the scene in an empty database. */
  open(world: World): Promise<Scene>;
  /** What the same request is answered when it comes again: as the first time, or that its token has ended. */
  readonly again?: 'done' | 'invalid_token';
  /** For how long an instance is paused; left out: 20 hours, in which a token and a mail are still good. */
  readonly pauseMs?: number;
};

export const TARGET = 'Acme';
export const BYSTANDER = 'Bystander';

const documentsOf = (tenant: string, count: number): Document[] =>
  Array.from({ length: count }, (_, index) => ({
    _id: `${tenant}-${index}`,
    tenant,
    sku: `sku-${index}`,
    shelf: index % 2,
  }));

const UNIQUE_SKU = { name: 'sku', key: { sku: 1 }, unique: true } as const;

/** An organization with documents and an index of its own. */
export async function populate(
  world: World,
  name: string,
  { tenant = name, documents = 2, email = emailOf(name) }: { tenant?: string; documents?: number; email?: string } = {},
): Promise<{ id: string; token: string }> {
  const instance = world.instance();
  const { organization_id } = await create(instance, name, email);
  await fill(world, organization_id, tenant, documents);
  return { id: organization_id, token: await signIn(instance, name, email) };
}

/** Its backend writes documents where the organization's collection is. */
async function fill(world: World, id: string, tenant: string, documents: number): Promise<void> {
  world.guard.register(tenant, id);
  const organization = await world.instance().context.master.organizations.findOne({ _id: id });
  const collection = world.database.collection(organization?.placement.collection ?? '');
  await world.database.createCollection(collection.name, [UNIQUE_SKU]);
  for (const document of documentsOf(tenant, documents)) await collection.insertOne(document);
}

/** The organization that things happen to, beside one that nothing may happen to. */
export async function tenants(world: World): Promise<{ id: string; token: string }> {
  await populate(world, BYSTANDER);
  const target = await populate(world, TARGET, { documents: 3 });
  await world.recover();
  return target;
}

/** A second owner of an organization. */
async function addAdmin(world: World, organizationId: string): Promise<AdminDocument> {
  const { admins } = world.instance().context.master;
  const first = await admins.findOne({ organization_id: organizationId });
  if (first === undefined) throw new Error('There is no admin to copy.');
  const email = 'other@example.com';
  const second: AdminDocument = { ...first, _id: `${first._id}-2`, email, email_key: email };
  await admins.insertOne(second);
  return second;
}

/** A collection of somebody else's, which the service did not make. */
const makeForeign = async (world: World, collection: string): Promise<void> => {
  const { master, settings } = world.instance().context;
  const claim = await master.collections.findOne({ _id: collectionClaimId({ ...settings.placement, collection }) });
  const owner = claim && (await master.organizations.findOne({ _id: claim.organization_id }));
  // What is written to the collection of an organization that is there is the organization's.
  if (owner?.status === 'active') return;
  await world.database.collection(collection).insertOne({ _id: 'foreign-1', tenant: FOREIGN });
};

/** A writer that knows a collection by its old name. */
export const writeLate =
  (world: World, collection: string, count = 1): Step =>
  async () => {
    const late = Array.from({ length: count }, (_, index) => ({
      _id: `late-${index}`,
      tenant: TARGET,
      sku: `late-${index}`,
    }));
    for (const document of late) await world.database.collection(collection).insertOne(document);
  };

/** Writers that hold every name that was ever claimed for the target, also ones that nothing was moved to yet. */
export const writeEverywhere =
  (world: World, id: string): Step =>
  async ({ context: { master } }) => {
    const claims = await master.collections.find({ kind: 'collection', organization_id: id });
    for (const [index, { placement, state }] of claims.entries()) {
      if (state === 'foreign') continue;
      const _id = `everywhere-${index}-${crypto.randomUUID()}`;
      await world.database
        .collection(placement.collection)
        .insertOne({ _id, tenant: TARGET, sku: `${UNCOUNTED}${_id}` });
    }
  };

export const rename =
  (from: string, to: string, email = emailOf(from)): Step =>
  async (instance) =>
    update(instance, await signIn(instance, from, email), { new_organization_name: to });

export const removeBySignIn =
  (name: string, email = emailOf(name)): Step =>
  async (instance) =>
    remove(instance, await signIn(instance, name, email), name);

/** Others take each of the names that is free, and fill what they get. @throws {DomainError} when none is */
export const takeNames =
  (world: World, ...names: readonly string[]): Step =>
  async (instance) => {
    const refusals: unknown[] = [];
    for (const name of names) {
      const tenant = `another ${name}`;
      try {
        const { organization_id } = await create(instance, name, emailOf(tenant));
        await fill(world, organization_id, tenant, 2);
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
        refusals.push(error);
      }
    }
    if (refusals.length === names.length) throw refusals[0];
  };

/** One step after another; those that come after the first may be refused. */
const inTurn =
  (first: Step, ...others: readonly Step[]): Step =>
  async (instance) => {
    await first(instance);
    for (const step of others) {
      await step(instance).catch((error: unknown) => {
        if (!(error instanceof DomainError)) throw error;
      });
    }
  };

export const sweep: Step = ({ context }) => reconcile(context, 0);

const RETENTION_DAYS = 30;
export const RETENTION = { env: { DELETE_RETENTION_DAYS: String(RETENTION_DAYS) } } as const;
const NAME_LEASE = { env: { NAME_LEASE_DAYS: '30' } } as const;

/** What others may do to a target that is being renamed to Beta. */
const aroundRename = (world: World, id: string): Readonly<Record<string, Step>> => {
  const email = emailOf(TARGET);
  return {
    'others take the old name and the new one': takeNames(world, TARGET, 'Beta'),
    'others take a name of the same collection': takeNames(world, 'acme!', 'beta!'),
    'it is renamed back': rename('Beta', TARGET, email),
    'it is renamed on': rename('Beta', 'Gamma', email),
    'it is renamed on, and others take its names': inTurn(
      rename('Beta', 'Gamma', email),
      takeNames(world, TARGET, 'Beta'),
    ),
    'it is deleted': removeBySignIn('Beta', email),
    'it is deleted, and others take its names': inTurn(
      removeBySignIn('Beta', email),
      takeNames(world, TARGET, 'Beta'),
      writeEverywhere(world, id),
    ),
    'it is written to under every name': writeEverywhere(world, id),
  };
};

const aroundDelete = (world: World, id: string, ...names: readonly string[]): Readonly<Record<string, Step>> => ({
  'others take its names': takeNames(world, ...names),
  'it is written to under every name': writeEverywhere(world, id),
  'others take its names, and it is written to': inTurn(takeNames(world, ...names), writeEverywhere(world, id)),
});

/** The tenants, where the server has refused to move the collection of the first: it is called Beta since. */
async function openMove(world: World): Promise<{ readonly id: string; readonly email: string }> {
  const { id } = await tenants(world);
  world.refuseRename(true);
  await rename(TARGET, 'Beta')(world.instance());
  return { id, email: emailOf(TARGET) };
}

/** The same, when the move is due again and the server permits it. */
async function dueOpenMove(world: World): ReturnType<typeof openMove> {
  const opened = await openMove(world);
  await world.recover();
  world.refuseRename(false);
  world.advance(31_000);
  return opened;
}

/** The token in the last mail to an address. */
export function tokenFor(world: World, to: string): string {
  const text = world.mails.findLast((mail) => mail.to === to)?.text ?? '';
  const token = /[0-9a-f-]{36}\.[\w-]+/.exec(text)?.[0];
  if (token === undefined) throw new Error(`No mail to ${to} has a token: ${text}`);
  return token;
}

const NEW_CREDENTIALS = { email: 'new@example.com', password: 'a new password', current_password: PASSWORD };

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'create',
    open: async (world) => {
      await tenants(world);
      return {
        run: (instance) => create(instance, 'Fresh Fields'),
        never: { ids: [], words: ['fresh'] },
        meanwhile: {
          'another takes the name': takeNames(world, 'fresh fields'),
          'another takes the collection': takeNames(world, 'Fresh-Fields'),
          'a collection of that name appears': async () => makeForeign(world, 'org_fresh_fields'),
        },
      };
    },
  },
  {
    name: 'create with an Idempotency-Key',
    again: 'done',
    open: async (world) => {
      await tenants(world);
      const run: Step = (instance) => createOnce(instance, 'key', 'Fresh Fields');
      return { run, never: { ids: [], words: ['fresh'] }, meanwhile: { 'the caller asks again': run } };
    },
  },
  {
    name: 'create where the name is taken',
    open: async (world) => {
      await tenants(world);
      return {
        run: (instance) => create(instance, 'acme', 'second@example.com'),
        meanwhile: { 'the name becomes free': removeBySignIn(TARGET) },
      };
    },
  },
  {
    name: 'create where a foreign collection has the name',
    open: async (world) => {
      await tenants(world);
      await makeForeign(world, 'org_fresh_fields');
      return {
        run: (instance) => create(instance, 'Fresh Fields'),
        meanwhile: { 'another takes the name': takeNames(world, 'fresh fields') },
      };
    },
  },
  {
    name: 'create where a create that died left claims',
    open: async (world) => {
      await tenants(world);
      await die(world, 6, (instance) => create(instance, 'fresh fields', 'first@example.com'));
      world.advance(2000);
      return {
        run: (instance) => create(instance, 'Fresh Fields'),
        meanwhile: { 'another takes the name': takeNames(world, 'fresh fields') },
      };
    },
  },
  {
    name: 'rename',
    again: 'done',
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        good: [token],
        meanwhile: {
          ...aroundRename(world, id),
          'another dies while it renames it on': dieBeforeCommit(world, (instance) =>
            update(instance, token, { new_organization_name: 'Gamma' }),
          ),
        },
      };
    },
  },
  {
    name: 'rename where a foreign collection has the name',
    again: 'done',
    open: async (world) => {
      const { id, token } = await tenants(world);
      await makeForeign(world, 'org_beta');
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        good: [token],
        meanwhile: { 'it is written to under every name': writeEverywhere(world, id) },
      };
    },
  },
  {
    name: 'rename on a server that gives collections no ids',
    again: 'done',
    options: { withoutIds: true },
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        good: [token],
        meanwhile: {
          'it is written to under every name': writeEverywhere(world, id),
          'it is written to, and renamed on': inTurn(
            writeEverywhere(world, id),
            rename('Beta', 'Gamma', emailOf(TARGET)),
          ),
        },
      };
    },
  },
  {
    name: 'rename with email and password',
    again: 'invalid_token',
    open: async (world) => {
      const { token } = await tenants(world);
      const input = { new_organization_name: 'Beta', ...NEW_CREDENTIALS };
      return {
        run: (instance) => update(instance, token, input),
        spent: [token],
        meanwhile: {
          'others take the old name and the new one': takeNames(world, TARGET, 'Beta'),
          'the admin changes the email': async (instance) =>
            update(instance, await signIn(instance, TARGET), {
              email: 'third@example.com',
              current_password: PASSWORD,
            }),
        },
      };
    },
  },
  {
    name: 'rename to the same collection',
    again: 'done',
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Acme!' }),
        good: [token],
        meanwhile: {
          'another takes the old name': takeNames(world, TARGET),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'rename to the same key',
    again: 'done',
    open: async (world) => {
      const { token } = await tenants(world);
      return { run: (instance) => update(instance, token, { new_organization_name: 'ACME' }), good: [token] };
    },
  },
  {
    name: 'rename where the name is taken',
    open: async (world) => {
      const { token } = await tenants(world);
      const input = { new_organization_name: 'bystander', email: 'new@example.com', current_password: PASSWORD };
      return {
        run: (instance) => update(instance, token, input),
        meanwhile: { 'the name becomes free': removeBySignIn(BYSTANDER) },
      };
    },
  },
  {
    name: 'rename where the email is taken',
    open: async (world) => {
      const { token, id } = await tenants(world);
      const other = await addAdmin(world, id);
      const input = { new_organization_name: 'Beta', email: other.email, current_password: PASSWORD };
      return {
        run: (instance) => update(instance, token, input),
        meanwhile: {
          'the email becomes free': async ({ context }) => {
            await context.master.admins.deleteOne({ _id: other._id });
          },
          'another takes the name': takeNames(world, 'Beta'),
        },
      };
    },
  },
  {
    name: 'rename to an own earlier name',
    again: 'done',
    open: async (world) => {
      const { id } = await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      const token = await signIn(world.instance(), 'Beta', emailOf(TARGET));
      return {
        run: (instance) => update(instance, token, { new_organization_name: TARGET }),
        good: [token],
        meanwhile: {
          'it is written to under every name': writeEverywhere(world, id),
          'others take its names': takeNames(world, TARGET, 'Beta'),
          'it is renamed to and fro': inTurn(rename(TARGET, 'Beta'), rename('Beta', TARGET, emailOf(TARGET))),
        },
      };
    },
  },
  {
    name: 'rename with leased names',
    again: 'done',
    options: NAME_LEASE,
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        good: [token],
        meanwhile: aroundRename(world, id),
      };
    },
  },
  {
    name: 'rename back to a leased name where the email is taken',
    options: NAME_LEASE,
    open: async (world) => {
      const { id } = await tenants(world);
      const other = await addAdmin(world, id);
      await rename(TARGET, 'Beta')(world.instance());
      const token = await signIn(world.instance(), 'Beta', emailOf(TARGET));
      const input = { new_organization_name: TARGET, email: other.email, current_password: PASSWORD };
      return {
        run: (instance) => update(instance, token, input),
        meanwhile: { 'another wants the name': takeNames(world, TARGET) },
      };
    },
  },
  {
    name: 'rename where the server refuses to rename collections',
    again: 'done',
    open: async (world) => {
      const { id, token } = await tenants(world);
      world.refuseRename(true);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        good: [token],
        meanwhile: {
          ...aroundRename(world, id),
          'the server permits it': async () => world.refuseRename(false),
        },
      };
    },
  },
  {
    name: 'a second rename while a move is open',
    again: 'done',
    open: async (world) => {
      const { id, email } = await openMove(world);
      const token = await signIn(world.instance(), 'Beta', email);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Gamma' }),
        good: [token],
        meanwhile: {
          'the server permits it': async () => world.refuseRename(false),
          'others take its names': inTurn(takeNames(world, TARGET), takeNames(world, 'Beta')),
          'another takes the new name': takeNames(world, 'Gamma'),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'an open move that succeeds',
    open: async (world) => {
      const { id, email } = await dueOpenMove(world);
      return {
        run: sweep,
        meanwhile: {
          'it is renamed on': rename('Beta', 'Gamma', email),
          'it is renamed back': rename('Beta', TARGET, email),
          'it is deleted, and others take its names': inTurn(
            removeBySignIn('Beta', email),
            takeNames(world, TARGET, 'Beta'),
          ),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'change of email and password',
    open: async (world) => {
      const { token } = await tenants(world);
      return { run: (instance) => update(instance, token, NEW_CREDENTIALS), spent: [token] };
    },
  },
  {
    name: 'change of a role',
    open: async (world) => {
      const { id, token } = await tenants(world);
      const other = await addAdmin(world, id);
      const theirs = await signIn(world.instance(), TARGET, other.email);
      return {
        run: async ({ context }) =>
          changeRole(context, { principal: await authenticate(context, token), admin_id: other._id, role: 'viewer' }),
        spent: [theirs],
        meanwhile: {
          'the admin signs in': (instance) => signIn(instance, TARGET, other.email),
          'the other removes the first': async ({ context }) => {
            const principal = await authenticate(context, theirs);
            const first = await context.master.admins.findOne({ organization_id: id, email: emailOf(TARGET) });
            await removeAdmin(context, { principal, admin_id: first?._id ?? '' });
          },
        },
      };
    },
  },
  {
    name: 'removal of an admin',
    open: async (world) => {
      const { id, token } = await tenants(world);
      const other = await addAdmin(world, id);
      const theirs = await signIn(world.instance(), TARGET, other.email);
      return {
        run: async ({ context }) =>
          removeAdmin(context, { principal: await authenticate(context, token), admin_id: other._id }),
        spent: [theirs],
        meanwhile: {
          'the admin signs in': (instance) => signIn(instance, TARGET, other.email),
          'the organization is deleted': removeBySignIn(TARGET),
        },
      };
    },
  },
  {
    name: 'removal of the last owner',
    open: async (world) => {
      const { id, token } = await tenants(world);
      const first = await world.instance().context.master.admins.findOne({ organization_id: id });
      return {
        run: async ({ context }) =>
          removeAdmin(context, { principal: await authenticate(context, token), admin_id: first?._id ?? '' }),
      };
    },
  },
  {
    name: 'sign-in',
    open: async (world) => {
      await tenants(world);
      return {
        run: (instance) => signIn(instance, TARGET),
        meanwhile: { 'the organization is deleted': removeBySignIn(TARGET) },
      };
    },
  },
  {
    name: 'delete',
    again: 'invalid_token',
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        gone: { ids: [id], words: [TARGET, emailOf(TARGET)] },
        meanwhile: aroundDelete(world, id, TARGET),
      };
    },
  },
  {
    name: 'delete after renames with late writes',
    again: 'invalid_token',
    open: async (world) => {
      const { id } = await tenants(world);
      const email = emailOf(TARGET);
      await rename(TARGET, 'Beta')(world.instance());
      await rename('Beta', 'Gamma', email)(world.instance());
      await writeLate(world, 'org_acme', 2)(world.instance());
      await world.database.collection('org_beta').insertOne({ _id: 'later', tenant: TARGET, sku: 'later' });
      const token = await signIn(world.instance(), 'Gamma', email);
      return {
        run: (instance) => remove(instance, token, 'Gamma'),
        spent: [token],
        gone: { ids: [id], words: [TARGET, 'Beta', 'Gamma', email, 'late-', 'later'] },
        meanwhile: aroundDelete(world, id, TARGET, 'Beta', 'Gamma'),
      };
    },
  },
  {
    name: 'delete of one made with an Idempotency-Key',
    again: 'invalid_token',
    open: async (world) => {
      await populate(world, BYSTANDER);
      const { organization_id } = await createOnce(world.instance(), 'key', TARGET);
      const token = await signIn(world.instance(), TARGET);
      await world.recover();
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        gone: { ids: [organization_id], words: [TARGET, emailOf(TARGET)] },
      };
    },
  },
  {
    name: 'delete while a move is open',
    again: 'invalid_token',
    open: async (world) => {
      const { id, email } = await openMove(world);
      const token = await signIn(world.instance(), 'Beta', email);
      world.refuseRename(false);
      return {
        run: (instance) => remove(instance, token, 'Beta'),
        spent: [token],
        gone: { ids: [id], words: [TARGET, 'Beta', emailOf(TARGET)] },
        meanwhile: aroundDelete(world, id, TARGET, 'Beta'),
      };
    },
  },
  {
    name: 'delete with retention while a move is open',
    again: 'invalid_token',
    options: RETENTION,
    open: async (world) => {
      const { id, email } = await openMove(world);
      const token = await signIn(world.instance(), 'Beta', email);
      world.refuseRename(false);
      return {
        run: (instance) => remove(instance, token, 'Beta'),
        spent: [token],
        meanwhile: {
          'it is restored': (instance) => restore(instance, 'Beta', email),
          'it is restored and deleted again': inTurn(
            (instance) => restore(instance, 'Beta', email),
            removeBySignIn('Beta', email),
          ),
          'others want its names': inTurn(takeNames(world, TARGET), takeNames(world, 'Beta')),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'an open move against a delete with retention',
    options: RETENTION,
    open: async (world) => {
      const { id, email } = await dueOpenMove(world);
      const restoreIt: Step = (instance) => restore(instance, 'Beta', email);
      const purgeIt: Step = async (instance) => {
        world.advance(RETENTION_DAYS * DAY_MS + HOUR_MS);
        await sweep(instance);
      };
      return {
        run: sweep,
        meanwhile: {
          'it is deleted': removeBySignIn('Beta', email),
          'it is deleted, written to, and restored': inTurn(
            removeBySignIn('Beta', email),
            writeEverywhere(world, id),
            restoreIt,
          ),
          'it is deleted, and purged, and others take its names': inTurn(
            removeBySignIn('Beta', email),
            purgeIt,
            takeNames(world, TARGET, 'Beta'),
          ),
        },
      };
    },
  },
  {
    name: 'delete with retention',
    again: 'invalid_token',
    options: RETENTION,
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        meanwhile: {
          'it is restored': (instance) => restore(instance, TARGET),
          'it is restored and deleted again': inTurn((instance) => restore(instance, TARGET), removeBySignIn(TARGET)),
          'others want its name': takeNames(world, TARGET),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'restore',
    options: RETENTION,
    open: async (world) => {
      const { id, token } = await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await remove(world.instance(), token, 'Beta');
      await writeLate(world, 'org_acme', 2)(world.instance());
      const email = emailOf(TARGET);
      return {
        run: (instance) => restore(instance, 'Beta', email),
        meanwhile: {
          'it is deleted again': removeBySignIn('Beta', email),
          'it is renamed on': rename('Beta', 'Gamma', email),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'purge',
    options: RETENTION,
    open: async (world) => {
      const { id, token } = await tenants(world);
      await remove(world.instance(), token, TARGET);
      await writeLate(world, 'org_acme', 2)(world.instance());
      world.advance(RETENTION_DAYS * DAY_MS + HOUR_MS);
      return {
        run: sweep,
        gone: { ids: [id], words: [TARGET, emailOf(TARGET), 'late-'] },
        meanwhile: {
          'others take its name, and it is written to': inTurn(takeNames(world, TARGET), writeEverywhere(world, id)),
        },
      };
    },
  },
  {
    name: 'purge against a restore by a clock that is behind',
    options: RETENTION,
    open: async (world) => {
      const { token } = await tenants(world);
      await remove(world.instance(), token, TARGET);
      world.advance(RETENTION_DAYS * DAY_MS + 60_000);
      return {
        run: sweep,
        meanwhile: {
          'it is restored': async (instance) => {
            instance.setClock(-HOUR_MS);
            return restore(instance, TARGET);
          },
        },
      };
    },
  },
  {
    name: 'restore against a purge by a clock that is ahead',
    options: RETENTION,
    open: async (world) => {
      const { token } = await tenants(world);
      await remove(world.instance(), token, TARGET);
      world.advance(RETENTION_DAYS * DAY_MS - 60_000);
      return {
        run: (instance) => restore(instance, TARGET),
        pauseMs: 10_000,
        meanwhile: {
          'it is purged, and another takes its name': inTurn(
            async (instance) => {
              instance.setClock(HOUR_MS);
              await sweep(instance);
            },
            takeNames(world, TARGET),
          ),
        },
      };
    },
  },
  {
    name: 'late writes of a renamed one',
    open: async (world) => {
      const { id } = await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await world.recover();
      await writeLate(world, 'org_acme', 12)(world.instance());
      world.advance(31_000);
      const email = emailOf(TARGET);
      return {
        run: sweep,
        meanwhile: {
          'it is renamed on': rename('Beta', 'Gamma', email),
          'it is renamed back': rename('Beta', TARGET, email),
          'it is deleted': removeBySignIn('Beta', email),
          'it is deleted, and others take its names': inTurn(
            removeBySignIn('Beta', email),
            takeNames(world, TARGET, 'Beta'),
          ),
          'it is written to under every name': writeEverywhere(world, id),
          'others take its old name': takeNames(world, TARGET),
        },
      };
    },
  },
  {
    name: 'late writes that clash',
    open: async (world) => {
      const { id } = await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await world.recover();
      for (const document of [
        { _id: `${TARGET}-0`, tenant: TARGET, sku: 'another document of this id' },
        { _id: 'late-unique', tenant: TARGET, sku: 'sku-1' },
        { _id: 'late-fine', tenant: TARGET, sku: 'fine' },
      ]) {
        await world.database.collection('org_acme').insertOne(document);
      }
      world.advance(31_000);
      return {
        run: sweep,
        meanwhile: {
          'it is renamed on': rename('Beta', 'Gamma', emailOf(TARGET)),
          'it is deleted': removeBySignIn('Beta', emailOf(TARGET)),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'an erasure that is repeated',
    open: async (world) => {
      const { id, token } = await tenants(world);
      const { master, settings, clock } = world.instance().context;
      const admin = await master.admins.findOne({ organization_id: id });
      const session = await master.sessions.findOne({ organization_id: id });
      if (admin === undefined || session === undefined) throw new Error('There is nobody to come late.');
      await remove(world.instance(), token, TARGET);
      await world.recover();
      // What an instance that was paused while it created the organization adds at last.
      const placement = { ...settings.placement, collection: 'org_acme_late' };
      const claim: CollectionClaim = {
        _id: collectionClaimId(placement),
        kind: 'collection',
        organization_id: id,
        operation_id: id,
        state: 'held',
        placement,
        asides: {},
        version: 1,
        due_at: null,
        quiet_since: null,
      };
      await master.collections.insertOne(claim);
      await world.database.createCollection('org_acme_late', []);
      await master.admins.insertOne(admin);
      await master.sessions.insertOne({ ...session, last_used_at: clock() });
      const name = { kind: 'name', organization_id: id, operation_id: id, due_at: null, leased_until: null } as const;
      await master.names.insertOne({ _id: nameClaimId('acme'), ...name });
      await writeLate(world, 'org_acme', 2)(world.instance());
      world.advance(31_000);
      return {
        run: sweep,
        gone: { ids: [id], words: [TARGET, emailOf(TARGET), 'late-'] },
        meanwhile: {
          'another takes its name': takeNames(world, TARGET),
          'it is written to under every name': writeEverywhere(world, id),
        },
      };
    },
  },
  {
    name: 'operations of instances that died',
    open: async (world) => {
      const { token } = await tenants(world);
      const bystander = await signIn(world.instance(), BYSTANDER);
      await populate(world, 'Third');
      await die(world, 6, (instance) => create(instance, 'Fresh Fields'));
      await die(world, 9, (instance) => update(instance, token, { new_organization_name: 'Beta' }));
      await die(world, 6, (instance) => remove(instance, bystander, BYSTANDER));
      world.advance(2000);
      return { run: sweep };
    },
  },
  {
    name: 'invitation',
    open: async (world) => {
      const { token } = await tenants(world);
      const email = 'invited@example.com';
      return {
        run: async ({ context }) =>
          inviteAdmin(context, { principal: await authenticate(context, token), email, role: 'admin' }),
        // An invitation is recorded before it is made: the log may know of one that nobody got.
        otherwise: async ({ context }) => {
          const { organization, admin } = await authenticate(context, token);
          const id = context.newId();
          const event = { event_id: `${id}:invited`, action: 'admin.invited', actor: admin._id, target: id } as const;
          await record(context, await auditNote(context, organization, event));
        },
      };
    },
  },
  {
    name: 'acceptance of an invitation',
    open: async (world) => {
      const { token } = await tenants(world);
      const email = 'invited@example.com';
      const { context } = world.instance();
      await inviteAdmin(context, { principal: await authenticate(context, token), email, role: 'admin' });
      await world.recover();
      const invitation = tokenFor(world, email);
      const accept: Step = (instance) =>
        acceptInvitation(instance.context, { token: invitation, password: 'a password of mine' });
      return {
        run: accept,
        meanwhile: {
          'it is accepted': accept,
          'the organization is renamed': rename(TARGET, 'Beta'),
          'the organization is deleted': removeBySignIn(TARGET),
        },
      };
    },
  },
  {
    name: 'verification of an email',
    open: async (world) => {
      await tenants(world);
      const token = tokenFor(world, emailOf(TARGET));
      return {
        run: (instance) => verifyEmail(instance.context, { token }),
        meanwhile: { 'the organization is renamed': rename(TARGET, 'Beta') },
      };
    },
  },
  {
    name: 'request for a new password',
    pauseMs: 10 * 60_000,
    open: async (world) => {
      await tenants(world);
      return { run: (instance) => forgotPassword(instance.context, { email: emailOf(TARGET) }) };
    },
  },
  {
    name: 'reset of a password',
    pauseMs: 10 * 60_000,
    open: async (world) => {
      const { token } = await tenants(world);
      await forgotPassword(world.instance().context, { email: emailOf(TARGET) });
      await world.recover();
      const reset = tokenFor(world, emailOf(TARGET));
      return {
        run: (instance) => resetPassword(instance.context, { token: reset, password: 'a new password' }),
        spent: [token],
        meanwhile: {
          'the organization is renamed': rename(TARGET, 'Beta'),
          'the organization is deleted': removeBySignIn(TARGET),
        },
      };
    },
  },
  {
    name: 'mails that wait',
    open: async (world) => {
      await populate(world, BYSTANDER);
      const { token } = await populate(world, TARGET);
      await update(world.instance(), token, NEW_CREDENTIALS);
      world.advance(2000);
      return { run: sweep };
    },
  },
];

/** Starts a rename in an instance that dies when it has moved the collection. @throws {StoreError} then */
const dieBeforeCommit =
  (world: World, step: Step): Step =>
  async () => {
    const instance = world.instance();
    instance.executor.arm({ at: 'renameCollection', fault: 'crash after', meanwhile: async () => {} });
    await step(instance).catch((error: unknown) => {
      if (!instance.executor.isDead()) throw error;
      throw new StoreError('OutcomeUnknown', `The instance died after ${instance.executor.calls().at(-2)}.`);
    });
  };

/** Starts a step in an instance that dies at its `at`th call. */
async function die(world: World, at: number, step: Step): Promise<void> {
  const instance = world.instance();
  instance.executor.arm({ at, fault: 'crash before', meanwhile: async () => {} });
  await step(instance).catch(() => undefined);
  if (!instance.executor.isDead()) throw new Error('The instance should have died.');
}
