/**
 * A store that watches the tenants' documents. It knows whose each document is, and looks after every call that could
 * bring documents of two organizations together or destroy some: in the middle of an operation too, not only at rest.
 */
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import type { CollectionClaim } from '../../src/domain/tenant-data/schema.ts';
import type { Command, CommandOf, Document, Executor, Op, Results } from '../../src/store/port.ts';
import { Store } from '../../src/store/store.ts';
import { readAll } from './read-all.ts';

/** The `tenant` of documents in collections that the service did not make. */
export const FOREIGN = 'foreign';

export type TenantGuard = Executor & {
  /** Says which organization the documents with this `tenant` are of. */
  register(tenant: string, organizationId: string): void;
  /** Looks at every document now. */
  check(): Promise<void>;
  /** A line for each document that was lost, or was in another organization's collection. */
  violations(): readonly string[];
  /** Forgets everything: another experiment begins. */
  reset(): void;
};

export type GuardOptions = {
  readonly database: string;
  /** Collections of the service's own. */
  readonly masters: ReadonlySet<string>;
};

type Written = { readonly collection: string; readonly document: Document; readonly text: string };

const CHANGES: ReadonlySet<Op> = new Set<Op>(['renameCollection', 'mergeCollection', 'dropCollection']);

/** Watches one database, which holds the master's collections and the tenants'. */
export function createTenantGuard(inner: Executor, { database, masters }: GuardOptions): TenantGuard {
  const here = new Store(inner).database(database);
  const organizationOf = new Map<string, string>();
  let acknowledged: Written[] = [];
  const violations = new Set<string>();

  const look = async (call: string): Promise<void> => {
    const [names, claims, organizations] = await Promise.all([
      here.listCollections(),
      here.collection<CollectionClaim>('claims').find({ kind: 'collection' }),
      here.collection<OrganizationDocument>('organizations').find({}),
    ]);
    const owners = ownersOf(claims);
    const statuses = new Map(organizations.map(({ _id, status }) => [_id, status]));
    /** Of each organization, and of each collection that none has claimed: what is there. */
    const there = new Map<string, Set<string>>();
    for (const { name } of names.filter((collection) => !masters.has(collection.name))) {
      const owner = owners.get(name);
      const home = there.get(owner ?? name) ?? new Set();
      there.set(owner ?? name, home);
      for (const document of await readAll(here.collection(name))) {
        const { _id, tenant } = document;
        home.add(JSON.stringify(document));
        // While an organization is created, somebody else may make a collection of the name that was claimed for it.
        if (tenant === FOREIGN && statuses.get(owner ?? '') !== 'active') continue;
        if (typeof tenant === 'string' && owner !== undefined && organizationOf.get(tenant) !== owner) {
          violations.add(`after ${call}, ${_id} of ${tenant} is in ${name}, which is of organization ${owner}`);
        }
      }
    }
    for (const { collection, document, text } of acknowledged) {
      const owner = organizationOf.get(String(document['tenant']));
      const status = owner === undefined ? 'active' : statuses.get(owner);
      if (status === 'deleting' || status === 'erased') continue;
      const isThere = [owner, owners.get(collection), collection].some((home) => there.get(home ?? '')?.has(text));
      if (!isThere) violations.add(`after ${call}, ${document._id} of ${document['tenant']} is lost (${status})`);
    }
  };

  const noteWrite = (command: Command): void => {
    if (!('collection' in command) || masters.has(command.collection)) return;
    const { collection } = command;
    if (command.op === 'insertOne') note(collection, command.document);
  };
  const note = (collection: string, document: Document) => {
    if (typeof document['tenant'] === 'string')
      acknowledged.push({ collection, document, text: JSON.stringify(document) });
  };

  return {
    limits: inner.limits,
    close: () => inner.close(),
    execute: async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      const result = await inner.execute(command);
      if (!('database' in command) || command.database !== database) return result;
      noteWrite(command);
      if (CHANGES.has(command.op) && 'collection' in command) {
        await look(`${command.op} ${command.collection}${'to' in command ? ` to ${command.to}` : ''}`);
      }
      return result;
    },
    register: (tenant, organizationId) => {
      organizationOf.set(tenant, organizationId);
    },
    check: () => look('everything'),
    violations: () => [...violations],
    reset: () => {
      organizationOf.clear();
      acknowledged = [];
      violations.clear();
    },
  };
}

/** The organization that each claimed collection, and each aside, is of. */
function ownersOf(claims: readonly CollectionClaim[]): Map<string, string> {
  const owners = new Map<string, string>();
  for (const { state, placement, asides, organization_id } of claims) {
    if (state !== 'foreign') owners.set(placement.collection, organization_id);
    for (const aside of Object.keys(asides)) owners.set(aside, organization_id);
  }
  return owners;
}
