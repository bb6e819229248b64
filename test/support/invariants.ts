import type { AdminDocument } from '../../src/domain/admin/admin.ts';
import type { AuditEntry } from '../../src/domain/audit/chain.ts';
import type { Master } from '../../src/domain/context.ts';
import type { IdempotencyDocument } from '../../src/domain/idempotency/idempotency.ts';
import type { ClaimDocument } from '../../src/domain/organization/claims.ts';
import { nameClaimId } from '../../src/domain/organization/claims.ts';
import type { ErasureDocument } from '../../src/domain/organization/erase.ts';
import type { OrganizationDocument, Placement } from '../../src/domain/organization/organization.ts';
import { asidePrefix, trashName } from '../../src/domain/organization/organization.ts';
import type { SessionDocument } from '../../src/domain/session/session.ts';
import type { Document } from '../../src/store/port.ts';
import { BATCH_LIMIT, isStoreError } from '../../src/store/port.ts';
import type { Database } from '../../src/store/store.ts';

/** Names that only tenants' collections have, whatever becomes of them. */
const TENANTS = /^(org|late|trash|copy)(_|$)/;

/** Everything that a database holds, collection by collection. */
export type Snapshot = ReadonlyMap<string, readonly Document[]>;

/** Reads everything through the port. For databases of tests: a collection holds at most 1000 documents. */
export async function takeSnapshot(database: Database): Promise<Snapshot> {
  const names = await database.listCollections();
  const contents = await Promise.all(names.map((name) => database.collection(name).find({}, { sort: { _id: 1 } })));
  for (const [index, documents] of contents.entries()) {
    if (documents.length === BATCH_LIMIT) throw new Error(`${names[index]} is too large to be looked through.`);
  }
  return new Map(names.map((name, index) => [name, contents[index] ?? []]));
}

const of = <T extends Document>(snapshot: Snapshot, collection: string): readonly T[] =>
  (snapshot.get(collection) ?? []) as readonly T[];

const organizationsOf = (snapshot: Snapshot) => of<OrganizationDocument>(snapshot, 'organizations');

/**
 * Where the documents of an organization at rest are: in its collection, and nowhere else. While it is kept to be
 * restored, they are aside, and what late writers bring back waits beside them.
 */
function homesOf(snapshot: Snapshot, { _id, status, placement }: OrganizationDocument): string[] {
  if (status !== 'deleted') return [placement.collection];
  const waiting = [...snapshot.keys()].filter((name) => name.startsWith(asidePrefix(_id)));
  return [trashName(_id), placement.collection, ...waiting].filter((name) => snapshot.has(name));
}

/**
 * What is wrong in a database at rest: no operation can be under way, and no quarantine either, as reconciling is over.
 * @returns a line for each thing that is wrong
 */
export function findViolations(snapshot: Snapshot, now: Date): string[] {
  return [
    ...violationsOfOrganizations(snapshot),
    ...violationsOfClaims(snapshot, now),
    ...violationsOfCollections(snapshot),
    ...violationsOfBelongings(snapshot),
  ];
}

function violationsOfOrganizations(snapshot: Snapshot): string[] {
  const found: string[] = [];
  const keys = new Map<string, string>();
  const claims = new Map(of<ClaimDocument>(snapshot, 'claims').map((claim) => [claim._id, claim]));
  for (const organization of organizationsOf(snapshot)) {
    const { _id, status, operation, lease_until, key, placement } = organization;
    if (operation !== null || lease_until !== null || (status !== 'active' && status !== 'deleted')) {
      found.push(`organization ${_id} has an operation open: ${status}, ${JSON.stringify(operation)}`);
    }
    const other = keys.get(key);
    if (other !== undefined) found.push(`organizations ${other} and ${_id} share the key ${key}`);
    keys.set(key, _id);
    for (const claimed of [nameClaimId(key), collectionClaimOf(placement)]) {
      if (claims.get(claimed)?.organization_id !== _id) found.push(`organization ${_id} has no claim on ${claimed}`);
    }
  }
  return found;
}

const collectionClaimOf = ({ cluster, database, collection }: Placement): string =>
  `collection:${cluster}/${database}/${collection}`;

function violationsOfClaims(snapshot: Snapshot, now: Date): string[] {
  const organizations = new Map(organizationsOf(snapshot).map((organization) => [organization._id, organization]));
  return of<ClaimDocument>(snapshot, 'claims').flatMap(({ _id, organization_id, state, until }) => {
    const owner = organizations.get(organization_id);
    if (owner === undefined) return [`the ${state} claim on ${_id} is of ${organization_id}, which is not there`];
    if (state === 'leased' && until !== null && until > now) return [];
    const inForce = _id === nameClaimId(owner.key) || _id === collectionClaimOf(owner.placement);
    if (state === 'held' && inForce) return [];
    return [`the ${state} claim on ${_id} is of ${organization_id}, which has no use for it`];
  });
}

function violationsOfCollections(snapshot: Snapshot): string[] {
  const organizations = organizationsOf(snapshot);
  const found: string[] = [];
  const kept = organizations.filter(({ status }) => status === 'deleted').map((one) => homesOf(snapshot, one));
  const keptTogether = (one: string, other: string) =>
    kept.some((names) => names.includes(one) && names.includes(other));
  const homes = new Set(organizations.flatMap((organization) => homesOf(snapshot, organization)));
  for (const home of homes) if (!snapshot.has(home)) found.push(`the collection ${home} is not there`);
  const seen = new Map<string, string>();
  for (const [name, documents] of snapshot) {
    if (!TENANTS.test(name)) continue;
    if (!homes.has(name)) found.push(`the collection ${name} (${documents.length} documents) is no organization's`);
    for (const { _id } of documents) {
      const other = seen.get(_id);
      // What waits aside of an organization that can be restored is told from what is there when it is restored.
      if (other !== undefined && !keptTogether(other, name))
        found.push(`the document ${_id} is in ${other} and in ${name}`);
      seen.set(_id, name);
    }
  }
  return found;
}

function violationsOfBelongings(snapshot: Snapshot): string[] {
  const organizations = new Set(organizationsOf(snapshot).map(({ _id }) => _id));
  const admins = of<AdminDocument>(snapshot, 'admins');
  const adminIds = new Set(admins.map(({ _id }) => _id));
  const found: string[] = [];
  for (const { _id, organization_id } of admins) {
    if (!organizations.has(organization_id))
      found.push(`the admin ${_id} is of ${organization_id}, which is not there`);
  }
  for (const id of organizations) {
    if (!admins.some(({ organization_id }) => organization_id === id)) found.push(`organization ${id} has no admin`);
  }
  for (const { _id, organization_id, admin_id } of of<SessionDocument>(snapshot, 'sessions')) {
    if (!organizations.has(organization_id)) found.push(`the session ${_id} is of ${organization_id}, which is gone`);
    if (!adminIds.has(admin_id)) found.push(`the session ${_id} is of the admin ${admin_id}, who is gone`);
  }
  for (const { _id, organization_id, answer } of of<IdempotencyDocument>(snapshot, 'idempotency_keys')) {
    if (answer !== null && !organizations.has(organization_id)) {
      found.push(`the answer kept for ${_id} is of ${organization_id}, which is not there`);
    }
  }
  for (const { _id } of of<ErasureDocument>(snapshot, 'erasures')) {
    if (organizations.has(_id)) found.push(`organization ${_id} is said to be erased, and is there`);
  }
  return found;
}

/** What outlives an organization: the receipt of its erasure, and its audit log. They know it by ids alone. */
const REMAINING = new Set(['erasures', 'audit', 'audit_heads']);

/**
 * Where anything of an organization is still found, as text, in any document of any collection, or in a collection's
 * name.
 * @param ids found nowhere but in what is to remain
 * @param words found nowhere at all: names, addresses, what documents hold
 */
export function findTraces(snapshot: Snapshot, { ids, words }: Traces): string[] {
  const found: string[] = [];
  for (const [collection, documents] of snapshot) {
    const wanted = [...words, ...(REMAINING.has(collection) ? [] : ids)].map((word) => word.toLowerCase());
    for (const text of [collection, ...documents.map((document) => JSON.stringify(document))]) {
      const lower = text.toLowerCase();
      for (const word of wanted) if (lower.includes(word)) found.push(`${collection} has ${word}: ${text}`);
    }
  }
  return found;
}

export type Traces = { readonly ids: readonly string[]; readonly words: readonly string[] };

/** What the database means, without what two right runs of the same may differ in: ids, times, suffixes. */
export type Meaning = readonly {
  readonly name: string;
  readonly key: string;
  readonly slug: string;
  readonly status: string;
  readonly epoch: number;
  readonly admins: readonly string[];
  readonly documents: readonly string[];
  /** Whether the tenant's own unique index refuses what it should; null where there is no document to try it with. */
  readonly unique: boolean | null;
  /** Names that it left and that are kept for it. */
  readonly remembered: readonly string[];
  /** What its audit log says of it and its admins, sign-ins apart: each change once. */
  readonly audited: readonly string[];
}[];

/** Reads what the database means. Tries the unique index on `sku` that tenants of tests have. */
export async function readMeaning({ database }: Master, snapshot: Snapshot): Promise<Meaning> {
  const meanings: Meaning[number][] = [];
  for (const organization of organizationsOf(snapshot)) {
    const { name, key, slug, status, epoch, _id } = organization;
    const homes = homesOf(snapshot, organization);
    const documents = homes.flatMap((home) => snapshot.get(home) ?? []);
    const admins = of<AdminDocument>(snapshot, 'admins').filter(({ organization_id }) => organization_id === _id);
    meanings.push({
      name,
      key,
      slug,
      status,
      epoch,
      admins: admins.map((admin) => `${admin.email} ${admin.password_hash} ${admin.role} ${admin.epoch}`).sort(),
      documents: [...new Set(documents.map((document) => JSON.stringify(document)))].sort(),
      unique: await refusesAgain(database, homes[0] ?? '', documents),
      remembered: of<ClaimDocument>(snapshot, 'claims')
        .filter((claim) => claim.organization_id === _id && claim.state === 'leased')
        .map((claim) => claim._id),
      audited: of<AuditEntry>(snapshot, 'audit')
        .filter(({ organization_id, action }) => organization_id === _id && !action.startsWith('session.'))
        .map(({ action }) => action)
        .sort(),
    });
  }
  return meanings.sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function refusesAgain(
  database: Database,
  collection: string,
  documents: readonly Document[],
): Promise<boolean | null> {
  const taken = documents.find(({ sku }) => typeof sku === 'string')?.['sku'];
  if (taken === undefined) return null;
  const probe = { _id: 'probe', sku: taken };
  try {
    await database.collection(collection).insertOne(probe);
  } catch (error) {
    if (isStoreError(error, 'DuplicateKey')) return true;
    throw error;
  }
  await database.collection(collection).deleteOne({ _id: probe._id });
  return false;
}
