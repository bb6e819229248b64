import type { AdminDocument } from '../../src/domain/admin/admin.ts';
import type { ClaimDocument } from '../../src/domain/organization/claims.ts';
import type { OrganizationDocument } from '../../src/domain/organization/organization.ts';
import type { Document } from '../../src/store/port.ts';
import { BATCH_LIMIT } from '../../src/store/port.ts';
import type { Collection, Database, Store } from '../../src/store/store.ts';
import type { Alive, State, TenantRecord } from './journal.ts';
import { describeState } from './journal.ts';

/** The whole database, read through the port. */
export type Snapshot = {
  readonly organizations: ReadonlyMap<string, OrganizationDocument>;
  readonly admins: readonly AdminDocument[];
  readonly claims: readonly ClaimDocument[];
  /** Sessions by their organization's id. */
  readonly sessions: readonly { readonly organization_id: string }[];
  /** Tenant collections, and whatever else stands beside them, with the documents in each. */
  readonly collections: ReadonlyMap<string, readonly Document[]>;
};

/** Names that only tenants' collections have, whatever becomes of them. */
const TENANTS = /^(org|late|trash|copy)(_|$)/;

/** Reads everything there is in a database that is master and tenants' database in one. */
export async function readSnapshot(store: Store, name: string): Promise<Snapshot> {
  const database = store.database(name);
  const [organizations, admins, claims, sessions] = await Promise.all([
    readAll<OrganizationDocument>(database, 'organizations'),
    readAll<AdminDocument>(database, 'admins'),
    readAll<ClaimDocument>(database, 'claims'),
    readAll<Document & { organization_id: string }>(database, 'sessions'),
  ]);
  const collections = new Map<string, readonly Document[]>();
  for (const collection of await database.listCollections()) {
    if (TENANTS.test(collection)) collections.set(collection, await readAll(database, collection));
  }
  return {
    organizations: new Map(organizations.map((organization) => [organization._id, organization])),
    admins,
    claims,
    sessions,
    collections,
  };
}

async function readAll<T extends Document>(database: Database, name: string): Promise<T[]> {
  const collection: Collection<T> = database.collection(name);
  const all: T[] = [];
  for (;;) {
    const after = all.at(-1)?._id ?? '';
    const page = await collection.find({ _id: { $gt: after } }, { sort: { _id: 1 }, limit: BATCH_LIMIT });
    all.push(...page);
    if (page.length < BATCH_LIMIT) return all;
  }
}

/** What is wrong with a database in which nothing is under way, whatever it was that happened before. */
export function findDisorder({ organizations, admins, claims, sessions, collections }: Snapshot): string[] {
  const wrong: string[] = [];
  const wanted = new Map<string, string>();
  const owned = new Set<string>();
  for (const { _id, status, operation, lease_until, key, placement } of organizations.values()) {
    if (status !== 'active' || operation !== null || lease_until !== null) wrong.push(`${_id} is left ${status}`);
    if (!collections.has(placement.collection)) wrong.push(`${_id} has no collection ${placement.collection}`);
    if (owned.has(placement.collection)) wrong.push(`${placement.collection} belongs to two organizations`);
    owned.add(placement.collection);
    if (!admins.some(({ organization_id }) => organization_id === _id)) wrong.push(`${_id} has no admin`);
    for (const claim of [
      `name:${key}`,
      `collection:${placement.cluster}/${placement.database}/${placement.collection}`,
    ]) {
      if (wanted.has(claim)) wrong.push(`${claim} is had by two organizations`);
      wanted.set(claim, _id);
    }
  }
  for (const { _id, state, organization_id } of claims) {
    if (state !== 'held') wrong.push(`${_id} is still ${state}`);
    else if (wanted.get(_id) !== organization_id)
      wrong.push(`${_id} is claimed by ${organization_id}, which has it not`);
    wanted.delete(_id);
  }
  for (const [claim, organization] of wanted) wrong.push(`${claim} is had by ${organization} without a claim`);
  for (const { _id, organization_id } of admins) {
    if (!organizations.has(organization_id)) wrong.push(`admin ${_id} has no organization`);
  }
  const homeless = sessions.filter(({ organization_id }) => !organizations.has(organization_id)).length;
  if (homeless > 0) wrong.push(`${homeless} sessions have no organization`);
  for (const collection of collections.keys()) {
    if (!owned.has(collection)) wrong.push(`collection ${collection} has no organization`);
  }
  return wrong;
}

/** What is lost, or there too much, against the journal; and the state that each tenant is in. */
export function compare(
  snapshot: Snapshot,
  tenants: readonly TenantRecord[],
): { wrong: { what: string; tenant?: TenantRecord }[]; found: Map<TenantRecord, Found> } {
  const wrong: { what: string; tenant?: TenantRecord }[] = [];
  const found = new Map<TenantRecord, Found>();
  const adminsOf = new Map(snapshot.admins.map((admin) => [admin.organization_id, admin]));
  const idOfEmail = new Map(snapshot.admins.map((admin) => [admin.email, admin.organization_id]));
  const known = new Set<string>();

  for (const tenant of tenants) {
    const id = tenant.organizationId ?? idOf(tenant.possible, idOfEmail);
    const organization = id === undefined ? undefined : snapshot.organizations.get(id);
    const email = id === undefined ? undefined : adminsOf.get(id)?.email;
    const fitting = tenant.possible.filter((state) =>
      state === 'absent' ? organization === undefined : organization?.name === state.name && email === state.email,
    );
    if (fitting.length === 0) {
      const is = organization === undefined ? 'absent' : `${organization.name} <${email}>`;
      const should = tenant.possible.map(describeState).join(' or ');
      wrong.push({ what: `is ${is}, and should be ${should}`, tenant });
    }
    found.set(tenant, { id, fitting });
    if (id === undefined || organization === undefined) continue;
    known.add(id);
    const there = new Set<string>();
    for (const document of snapshot.collections.get(organization.placement.collection) ?? []) {
      there.add(document._id);
      const { acknowledged, unknown } = tenant.documents;
      if (!acknowledged.has(document._id) && !unknown.has(document._id)) {
        wrong.push({ what: `has document ${document._id}, which is not its own`, tenant });
      }
    }
    const lost = [...tenant.documents.acknowledged].filter((document) => !there.has(document));
    if (lost.length > 0) wrong.push({ what: `lost ${lost.length} documents: ${lost.slice(0, 5).join(', ')}`, tenant });
  }
  for (const id of snapshot.organizations.keys()) {
    if (!known.has(id)) wrong.push({ what: `organization ${id} is there, and nobody asked for it` });
  }
  return { wrong, found };
}

export type Found = {
  /** The organization's id, once known. */
  readonly id: string | undefined;
  /** The possible states that agree with the database; they differ by password only. */
  readonly fitting: readonly State[];
};

function idOf(possible: readonly State[], idOfEmail: ReadonlyMap<string, string>): string | undefined {
  const alive = possible.filter((state): state is Alive => state !== 'absent');
  return alive.map(({ email }) => idOfEmail.get(email)).find((id) => id !== undefined);
}
