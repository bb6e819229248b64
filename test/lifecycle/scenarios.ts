import type { AdminDocument } from '../../src/domain/admin/admin.ts';
import { removeAdmin } from '../../src/domain/admin/membership.ts';
import { reconcile } from '../../src/domain/organization/reconcile.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import type { Document } from '../../src/store/port.ts';
import type { Traces } from '../support/invariants.ts';
import { create, createOnce, emailOf, PASSWORD, remove, restore, signIn, update } from '../support/requests.ts';
import type { Instance, World, WorldOptions } from '../support/world.ts';

/** One step by one actor. */
export type Step = (instance: Instance) => Promise<unknown>;

/** Where an operation is looked at. */
export type Scene = {
  /** The operation that the fault strikes. */
  readonly run: Step;
  /** Steps of a third party, each tried while the instance is paused and others have cleared up behind it. */
  readonly meanwhile?: Readonly<Record<string, Step>>;
  /** Tokens that are dead once the operation has happened. */
  readonly spent?: readonly string[];
  /** What is found nowhere once the operation has happened. */
  readonly gone?: Traces;
  /** What is found nowhere when it has not. */
  readonly never?: Traces;
};

/** An operation, as it is looked at under every fault. */
export type Scenario = {
  readonly name: string;
  readonly options?: WorldOptions;
  /** Sets the scene in an empty database. */
  open(world: World): Promise<Scene>;
  /** Whether asking for the same again is answered as the first time was. */
  readonly repeatable?: boolean;
};

const DAY_MS = 24 * 60 * 60 * 1000;
export const TARGET = 'Acme';
export const BYSTANDER = 'Bystander';

const documentsOf = (name: string, count: number): Document[] =>
  Array.from({ length: count }, (_, index) => ({
    _id: `${name}-${index}`,
    tenant: name,
    sku: `sku-${index}`,
    shelf: index % 2,
  }));

const UNIQUE_SKU = { name: 'sku', key: { sku: 1 }, unique: true } as const;

/** An organization with documents and an index of its own. */
export async function populate(world: World, name: string, documents: number): Promise<{ id: string; token: string }> {
  const instance = world.instance();
  const { organization_id, collection_name } = await create(instance, name);
  const collection = world.database.collection(collection_name);
  await collection.ensureIndexes([UNIQUE_SKU]);
  await collection.insertMany(documentsOf(name, documents));
  return { id: organization_id, token: await signIn(instance, name) };
}

/** The organization that things happen to, beside one that nothing may happen to. */
export async function tenants(world: World): Promise<{ id: string; token: string }> {
  await populate(world, BYSTANDER, 2);
  return populate(world, TARGET, 3);
}

/** A second owner of an organization. */
export async function addAdmin(world: World, organizationId: string): Promise<AdminDocument> {
  const { admins } = world.instance().context.master;
  const first = await admins.findOne({ organization_id: organizationId });
  if (first === undefined) throw new Error('There is no admin to copy.');
  const email = 'other@example.com';
  const second: AdminDocument = { ...first, _id: `${first._id}-2`, email, email_key: email };
  await admins.insertOne(second);
  return second;
}

/** A writer that knows a collection by its old name. */
export const writeLate =
  (world: World, collection: string, count = 1): Step =>
  async () => {
    const late = Array.from({ length: count }, (_, index) => ({ _id: `late-${index}`, sku: `late-${index}` }));
    await world.database.collection(collection).insertMany(late);
  };

export const rename =
  (from: string, to: string, email = emailOf(from)): Step =>
  async (instance) =>
    update(instance, await signIn(instance, from, email), { new_organization_name: to });

export const removeBySignIn =
  (name: string, email = emailOf(name)): Step =>
  async (instance) =>
    remove(instance, await signIn(instance, name, email), name);

export const sweepAll: Step = ({ context }) => reconcile(context, { thorough: true });

export const RETENTION = { env: { DELETE_RETENTION_DAYS: '1' } } as const;
const REFUSED = { refuseRename: true } as const;
const NAME_LEASE = { env: { NAME_LEASE_DAYS: '1' } } as const;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'create',
    open: async (world) => {
      await tenants(world);
      return {
        run: (instance) => create(instance, 'Fresh Fields'),
        never: { ids: [], words: ['fresh'] },
        meanwhile: {
          'another creates the same name': (instance) => create(instance, 'fresh fields'),
          'another creates the same collection': (instance) => create(instance, 'Fresh-Fields'),
        },
      };
    },
  },
  {
    name: 'create with an idempotency key',
    repeatable: true,
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
      return { run: (instance) => create(instance, 'acme') };
    },
  },
  {
    name: 'rename',
    repeatable: true,
    open: async (world) => {
      const { token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        spent: [token],
        meanwhile: {
          'it is renamed back': rename('Beta', TARGET, emailOf(TARGET)),
          'it is renamed on': rename('Beta', 'Gamma', emailOf(TARGET)),
          'it is deleted': removeBySignIn('Beta', emailOf(TARGET)),
          'another takes the old name': (instance) => create(instance, TARGET),
          'another takes the new name': (instance) => create(instance, 'Beta'),
          'a late writer brings the old collection back': writeLate(world, 'org_acme', 12),
        },
      };
    },
  },
  {
    name: 'rename by copying',
    repeatable: true,
    options: REFUSED,
    open: async (world) => {
      const { token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        spent: [token],
        meanwhile: {
          'it is renamed back': rename('Beta', TARGET, emailOf(TARGET)),
          'another takes the old name': (instance) => create(instance, TARGET),
          'a late writer writes': writeLate(world, 'org_acme', 12),
          'a writer that looks where it is writes there': async ({ context: { master } }) => {
            const renamed = await master.organizations.count({ 'placement.collection': 'org_beta' });
            const beta = master.database.collection('org_beta');
            if (renamed > 0) await beta.updateOne({ _id: `${TARGET}-1` }, { $set: { shelf: 7 } });
          },
        },
      };
    },
  },
  {
    name: 'rename with email and password',
    repeatable: true,
    open: async (world) => {
      const { token } = await tenants(world);
      const input = {
        new_organization_name: 'Beta',
        email: 'new@example.com',
        password: 'a new password',
        current_password: PASSWORD,
      };
      return { run: (instance) => update(instance, token, input), spent: [token] };
    },
  },
  {
    name: 'rename to the same key',
    repeatable: true,
    open: async (world) => {
      const { token } = await tenants(world);
      return { run: (instance) => update(instance, token, { new_organization_name: 'ACME' }), spent: [token] };
    },
  },
  {
    name: 'rename where the name is taken',
    open: async (world) => {
      const { token } = await tenants(world);
      return {
        run: (instance) =>
          update(instance, token, {
            new_organization_name: 'bystander',
            email: 'new@example.com',
            current_password: PASSWORD,
          }),
        meanwhile: {
          'the name becomes free': removeBySignIn(BYSTANDER),
        },
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
        },
      };
    },
  },
  {
    name: 'rename back',
    repeatable: true,
    open: async (world) => {
      await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      const token = await signIn(world.instance(), 'Beta', emailOf(TARGET));
      return {
        run: (instance) => update(instance, token, { new_organization_name: TARGET }),
        spent: [token],
        meanwhile: { 'a late writer brings a collection back': writeLate(world, 'org_beta', 2) },
      };
    },
  },
  {
    name: 'rename back after the quarantine',
    repeatable: true,
    open: async (world) => {
      await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await world.settle();
      const token = await signIn(world.instance(), 'Beta', emailOf(TARGET));
      return {
        run: (instance) => update(instance, token, { new_organization_name: TARGET }),
        spent: [token],
        meanwhile: { 'it is renamed to and fro': rename(TARGET, 'Beta') },
      };
    },
  },
  {
    name: 'rename with the old name remembered',
    repeatable: true,
    options: NAME_LEASE,
    open: async (world) => {
      const { token } = await tenants(world);
      return {
        run: (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        spent: [token],
        meanwhile: {
          'it is renamed back': rename('Beta', TARGET, emailOf(TARGET)),
          'another wants the old name': (instance) => create(instance, TARGET),
          'it is deleted': removeBySignIn('Beta', emailOf(TARGET)),
        },
      };
    },
  },
  {
    name: 'rename back to a remembered name where the email is taken',
    options: NAME_LEASE,
    open: async (world) => {
      const { id } = await tenants(world);
      const other = await addAdmin(world, id);
      await rename(TARGET, 'Beta')(world.instance());
      const token = await signIn(world.instance(), 'Beta', emailOf(TARGET));
      const input = { new_organization_name: TARGET, email: other.email, current_password: PASSWORD };
      return { run: (instance) => update(instance, token, input) };
    },
  },
  {
    name: 'change of email and password',
    open: async (world) => {
      const { token } = await tenants(world);
      const input = { email: 'new@example.com', password: 'a new password', current_password: PASSWORD };
      return { run: (instance) => update(instance, token, input), spent: [token] };
    },
  },
  {
    name: 'removal of an admin',
    open: async (world) => {
      const { id, token } = await tenants(world);
      const other = await addAdmin(world, id);
      const spent = [await signIn(world.instance(), TARGET, other.email)];
      return {
        run: async (instance) => {
          await removeAdmin(instance.context, await authenticate(instance.context, token), { admin_id: other._id });
        },
        spent,
        meanwhile: { 'the admin signs in': (instance) => signIn(instance, TARGET, other.email) },
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
    repeatable: true,
    open: async (world) => {
      const { id, token } = await tenants(world);
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        gone: { ids: [id], words: [TARGET, emailOf(TARGET)] },
        meanwhile: {
          'another creates the same name': (instance) => create(instance, 'acme'),
          'a late writer brings the collection back': writeLate(world, 'org_acme'),
        },
      };
    },
  },
  {
    name: 'delete of a renamed one with late documents',
    repeatable: true,
    open: async (world) => {
      const { id } = await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await writeLate(world, 'org_acme', 2)(world.instance());
      const token = await signIn(world.instance(), 'Beta', emailOf(TARGET));
      return {
        run: (instance) => remove(instance, token, 'Beta'),
        spent: [token],
        gone: { ids: [id], words: [TARGET, 'Beta', emailOf(TARGET), 'late-'] },
      };
    },
  },
  {
    name: 'delete of one made with an idempotency key',
    repeatable: true,
    open: async (world) => {
      await populate(world, BYSTANDER, 2);
      const { organization_id } = await createOnce(world.instance(), 'key', TARGET);
      const token = await signIn(world.instance(), TARGET);
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        gone: { ids: [organization_id], words: [TARGET, emailOf(TARGET)] },
      };
    },
  },
  {
    name: 'delete of one whose creator died before it kept the answer',
    repeatable: true,
    open: async (world) => {
      await populate(world, BYSTANDER, 2);
      const { organization_id } = await createOnce(world.instance(), 'key', TARGET);
      await world.instance().context.master.idempotency.updateOne({ organization_id }, { $set: { answer: null } });
      const token = await signIn(world.instance(), TARGET);
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        gone: { ids: [organization_id], words: [TARGET, emailOf(TARGET)] },
      };
    },
  },
  {
    name: 'delete with retention',
    repeatable: true,
    options: RETENTION,
    open: async (world) => {
      const { token } = await tenants(world);
      return {
        run: (instance) => remove(instance, token, TARGET),
        spent: [token],
        meanwhile: {
          'it is restored': (instance) => restore(instance, TARGET),
          'it is restored and deleted again': async (instance) => {
            await restore(instance, TARGET);
            await removeBySignIn(TARGET)(instance);
          },
          'another wants the name': (instance) => create(instance, TARGET),
          'a late writer brings the collection back': writeLate(world, 'org_acme'),
        },
      };
    },
  },
  {
    name: 'restore',
    options: RETENTION,
    open: async (world) => {
      const { token } = await tenants(world);
      await remove(world.instance(), token, TARGET);
      return {
        run: (instance) => restore(instance, TARGET),
        meanwhile: {
          'it is deleted again': removeBySignIn(TARGET),
          'it is renamed': rename(TARGET, 'Beta'),
          'a late writer writes': writeLate(world, 'org_acme'),
        },
      };
    },
  },
  {
    name: 'restore with late documents',
    options: RETENTION,
    open: async (world) => {
      const { token } = await tenants(world);
      await remove(world.instance(), token, TARGET);
      await writeLate(world, 'org_acme', 12)(world.instance());
      return {
        run: (instance) => restore(instance, TARGET),
        meanwhile: { 'it is deleted again': removeBySignIn(TARGET) },
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
      world.advance(DAY_MS + 1);
      return {
        run: sweepAll,
        gone: { ids: [id], words: [TARGET, emailOf(TARGET), 'late-'] },
        meanwhile: { 'another creates the same name': (instance) => create(instance, TARGET) },
      };
    },
  },
  {
    name: 'reconcile: a revived collection of a renamed one',
    open: async (world) => {
      await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await nearTheEnd(world);
      await writeLate(world, 'org_acme', 12)(world.instance());
      return {
        run: sweepAll,
        meanwhile: {
          'it is renamed on': rename('Beta', 'Gamma', emailOf(TARGET)),
          'it is deleted': removeBySignIn('Beta', emailOf(TARGET)),
          'a late writer writes more': async ({ context }) => {
            await context.master.database.collection('org_acme').insertOne({ _id: 'later', sku: 'later' });
          },
          'another wants the collection': anotherComes(world),
        },
      };
    },
  },
  {
    name: 'reconcile: late writes to the collection that one was copied from',
    options: REFUSED,
    open: async (world) => {
      await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await nearTheEnd(world);
      const old = world.database.collection('org_acme');
      await old.updateOne({ _id: `${TARGET}-0` }, { $set: { shelf: 5 } });
      await old.deleteOne({ _id: `${TARGET}-1` });
      await writeLate(world, 'org_acme', 12)(world.instance());
      return {
        run: sweepAll,
        meanwhile: {
          'it is renamed on': rename('Beta', 'Gamma', emailOf(TARGET)),
          'it is deleted': removeBySignIn('Beta', emailOf(TARGET)),
          'a late writer writes more': async ({ context }) => {
            await context.master.database.collection('org_acme').insertOne({ _id: 'later', sku: 'later' });
          },
          'another wants the collection': anotherComes(world),
        },
      };
    },
  },
  {
    name: 'reconcile: a revived collection of a deleted one',
    open: async (world) => {
      const { token } = await tenants(world);
      await remove(world.instance(), token, TARGET);
      await nearTheEnd(world);
      await writeLate(world, 'org_acme', 2)(world.instance());
      return {
        run: sweepAll,
        gone: { ids: [], words: ['late-'] },
        meanwhile: {
          'another wants the collection': anotherComes(world),
        },
      };
    },
  },
  {
    name: 'reconcile: operations left by instances that died',
    open: async (world) => {
      const { token } = await tenants(world);
      const bystanderToken = await signIn(world.instance(), BYSTANDER);
      await populate(world, 'Third', 1);
      await die(world, 6, (instance) => create(instance, 'Fresh Fields'));
      await die(world, 9, (instance) => update(instance, token, { new_organization_name: 'Beta' }));
      await die(world, 6, (instance) => remove(instance, bystanderToken, BYSTANDER));
      world.advance(2000);
      return { run: sweepAll };
    },
  },
];

/** Starts a step in an instance that dies at its `at`th call. */
async function die(world: World, at: number, step: Step): Promise<void> {
  const instance = world.instance();
  instance.executor.arm({ at, fault: 'crash before', meanwhile: async () => {} });
  await step(instance).catch(() => undefined);
  if (!instance.executor.isDead()) throw new Error('The instance should have died.');
}

/** Lets the quarantine run until shortly before its end. */
async function nearTheEnd(world: World): Promise<void> {
  await world.recover();
  world.advance(world.quarantineMs - 2500);
}

/** Waits until the quarantine should be over, as a sweeper that sleeps through it may, and takes the name. */
const anotherComes =
  (world: World): Step =>
  async (instance) => {
    await world.recover();
    await world.recover();
    const { collection_name } = await create(instance, TARGET);
    await world.database.collection(collection_name).insertMany([{ _id: 'of-another', tenant: 'another' }]);
  };
