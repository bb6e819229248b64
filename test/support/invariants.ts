import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import type { AuditCheckpoint, AuditEntry } from '../../src/domain/audit/schema.ts';
import type { IdempotencyDocument } from '../../src/domain/idempotency/schema.ts';
import { MASTER_COLLECTIONS } from '../../src/domain/master.ts';
import { isInForce, nameClaimId } from '../../src/domain/organization/claims.ts';
import type { NameClaim, OrganizationDocument } from '../../src/domain/organization/schema.ts';
import type { MailDocument, Message } from '../../src/domain/outbox/schema.ts';
import type { SessionDocument } from '../../src/domain/session/schema.ts';
import type { CollectionClaim } from '../../src/domain/tenant-data/schema.ts';
import { collectionClaimId } from '../../src/domain/tenant-data/schema.ts';
import type { Document } from '../../src/store/port.ts';
import { isStoreError } from '../../src/store/port.ts';
import type { Database } from '../../src/store/store.ts';
import { readAll } from './read-all.ts';
import { FOREIGN } from './tenant-guard.ts';

/** The service's own collections: all others are tenants', or foreign. */
const OWN = new Set([...Object.keys(MASTER_COLLECTIONS), 'tenantry']);

/** Everything that a database holds, collection by collection. */
export type Snapshot = ReadonlyMap<string, readonly Document[]>;

/** Reads everything through the port. */
export async function takeSnapshot(database: Database): Promise<Snapshot> {
  const names = (await database.listCollections()).map(({ name }) => name);
  const contents = await Promise.all(names.map((name) => readAll(database.collection(name))));
  return new Map(names.map((name, index) => [name, contents[index] ?? []]));
}

const of = <T extends Document>(snapshot: Snapshot, collection: string): readonly T[] =>
  (snapshot.get(collection) ?? []) as readonly T[];

const organizationsOf = (snapshot: Snapshot) => of<OrganizationDocument>(snapshot, 'organizations');

const nameClaimsOf = (snapshot: Snapshot) => of<NameClaim>(snapshot, 'claims').filter(({ kind }) => kind === 'name');

const collectionClaimsOf = (snapshot: Snapshot) =>
  of<CollectionClaim>(snapshot, 'claims').filter(({ kind }) => kind === 'collection');

const isLiving = ({ status }: OrganizationDocument): boolean => status === 'active' || status === 'deleted';

/** Until when a name that is not its organization's is leased to it. */
const leaseOf = ({ due_at, leased_until }: NameClaim): Date | null => due_at ?? leased_until;

/** False for the stub of a create that was rolled back. */
const wasThere = ({ status, named_by }: OrganizationDocument): boolean => status !== 'erased' || named_by !== '';

/**
 * Where documents of an organization are: its collection, what was kept aside and reported, and, while the server
 * refuses to move it, what is written to the name that it will have.
 */
function homesOf(snapshot: Snapshot, { _id, placement, next_placement }: OrganizationDocument): string[] {
  const kept = collectionClaimsOf(snapshot)
    .filter(({ organization_id }) => organization_id === _id)
    .flatMap(({ asides }) => Object.keys(asides).filter((name) => asides[name] === 'kept'));
  const next = next_placement?.collection ?? '';
  return [placement.collection, ...kept, ...(snapshot.has(next) ? [next] : [])];
}

/**
 * What is wrong in a database at rest: no operation is under way, and every look has been taken.
 * @returns a line for each thing that is wrong
 */
export function findViolations(snapshot: Snapshot, now: Date): string[] {
  return [
    ...violationsOfOrganizations(snapshot),
    ...violationsOfNames(snapshot, now),
    ...violationsOfCollections(snapshot),
    ...violationsOfBelongings(snapshot),
  ];
}

function violationsOfOrganizations(snapshot: Snapshot): string[] {
  const found: string[] = [];
  const keys = new Map<string, string>();
  const collections = new Map(collectionClaimsOf(snapshot).map((claim) => [claim._id, claim]));
  for (const organization of organizationsOf(snapshot)) {
    const { _id, status, operation, key, placement, next_placement, due_at, erased_at } = organization;
    if (operation !== null || status === 'creating' || status === 'deleting') {
      found.push(`organization ${_id} has an operation open: ${status}, ${JSON.stringify(operation)}`);
    }
    if (status === 'erased') {
      const { name, slug, address_key } = organization;
      const isBlank = name + key + slug + placement.collection === '' && address_key === null && erased_at !== null;
      if (!isBlank || due_at === null) found.push(`the stub ${JSON.stringify(organization)} is not as stubs are`);
      continue;
    }
    const other = keys.get(key);
    if (other !== undefined) found.push(`organizations ${other} and ${_id} share the key ${key}`);
    keys.set(key, _id);
    const wanted = [placement.collection, ...(next_placement === null ? [] : [next_placement.collection])];
    for (const collection of wanted) {
      const claim = collections.get(collectionClaimId({ ...placement, collection }));
      if (claim?.organization_id !== _id || claim.state !== 'held') {
        found.push(`organization ${_id} does not hold ${collection}: ${JSON.stringify(claim)}`);
      }
    }
    const hasDueWork = status === 'deleted' || next_placement !== null;
    if (hasDueWork !== (due_at !== null)) found.push(`organization ${_id} (${status}) is due at ${due_at}`);
  }
  return found;
}

function violationsOfNames(snapshot: Snapshot, now: Date): string[] {
  const claims = nameClaimsOf(snapshot);
  const organizations = new Map(organizationsOf(snapshot).map((organization) => [organization._id, organization]));
  const found: string[] = [];
  for (const { _id, named_by, key } of [...organizations.values()].filter(isLiving)) {
    const claim = claims.find((one) => one._id === nameClaimId(key));
    const isHeld = claim?.organization_id === _id && claim.operation_id === named_by && claim.due_at === null;
    if (!isHeld) found.push(`organization ${_id} does not hold its name ${key}: ${JSON.stringify(claim)}`);
  }
  for (const claim of claims) {
    const owner = organizations.get(claim.organization_id);
    const isName = owner !== undefined && isLiving(owner) && claim._id === nameClaimId(owner.key);
    const until = leaseOf(claim);
    const isLeased = owner !== undefined && isLiving(owner) && until !== null && until > now;
    // What an instance claims that was paused until its operation had ended is in nobody's way.
    if (!isName && !isLeased && isInForce(claim, owner, { claimant: 'another', now })) {
      found.push(`the name claim ${JSON.stringify(claim)} is in force`);
    }
  }
  return found;
}

function violationsOfCollections(snapshot: Snapshot): string[] {
  const found: string[] = [];
  const homes = new Set<string>();
  for (const organization of organizationsOf(snapshot).filter(isLiving)) {
    const { placement, _id } = organization;
    if (!snapshot.has(placement.collection)) found.push(`the collection of organization ${_id} is not there`);
    for (const home of homesOf(snapshot, organization)) homes.add(home);
  }
  for (const [name, documents] of snapshot) {
    if (OWN.has(name) || homes.has(name)) continue;
    const isForeign = documents.length > 0 && documents.every(({ tenant }) => tenant === FOREIGN);
    if (!isForeign) found.push(`the collection ${name} (${documents.length} documents) is no organization's`);
  }
  for (const { _id, asides } of collectionClaimsOf(snapshot)) {
    for (const [name, state] of Object.entries(asides)) {
      // A name that was recorded for a call which never came stays recorded, for the call may still come.
      if (state === 'pending' && snapshot.has(name)) found.push(`the aside ${name} of ${_id} was not merged`);
    }
  }
  return found;
}

function violationsOfBelongings(snapshot: Snapshot): string[] {
  const organizations = new Map(organizationsOf(snapshot).map((organization) => [organization._id, organization]));
  const isOfNone = (id: string | null) => {
    const organization = id === null ? undefined : organizations.get(id);
    return id !== null && (organization === undefined || !isLiving(organization));
  };
  const found: string[] = [];
  const admins = of<AdminDocument>(snapshot, 'admins');
  const adminIds = new Set(admins.map(({ _id }) => _id));
  for (const { _id, organization_id, audit_pending, audit_due_at } of admins) {
    if (isOfNone(organization_id)) found.push(`the admin ${_id} is of ${organization_id}, which is not there`);
    if (audit_pending !== null || audit_due_at !== null) found.push(`the admin ${_id} has events that wait`);
  }
  for (const { _id } of [...organizations.values()].filter(isLiving)) {
    const owners = admins.filter(({ organization_id, role }) => organization_id === _id && role === 'owner');
    if (owners.length === 0) found.push(`organization ${_id} has no owner`);
  }
  for (const { _id, organization_id, admin_id } of of<SessionDocument>(snapshot, 'sessions')) {
    if (isOfNone(organization_id)) found.push(`the session ${_id} is of ${organization_id}, which is gone`);
    if (!adminIds.has(admin_id)) found.push(`the session ${_id} is of the admin ${admin_id}, who is gone`);
  }
  for (const { _id, organization_id, kind } of of<MailDocument>(snapshot, 'mails')) {
    if (isOfNone(organization_id)) found.push(`the mail ${_id} (${kind}) is of ${organization_id}, which is gone`);
  }
  for (const { _id, organization_id, answer } of of<IdempotencyDocument>(snapshot, 'idempotency_keys')) {
    if (answer !== null && isOfNone(organization_id)) {
      found.push(`the answer kept for ${_id} is of ${organization_id}, which is not there`);
    }
  }
  return found;
}

/** Checkpoints that are not brought up to the end of their chains: none after some minutes without events. */
export const findDueCheckpoints = (snapshot: Snapshot): string[] =>
  of<AuditCheckpoint>(snapshot, 'audit_checkpoints')
    .filter(({ due_at }) => due_at !== null)
    .map(({ _id }) => `the checkpoint of ${_id} is due`);

/** What outlives an organization, and knows it by ids alone. */
const REMAINING = new Set(['organizations', 'audit', 'audit_checkpoints']);

/**
 * Where anything of an organization is still found, as text, in any document of any collection or in a collection's
 * name. Claims on collections stay for ever, and name what was claimed.
 * @param traces.ids found nowhere but in what is to remain
 * @param traces.words found nowhere at all: names, addresses, what documents hold
 */
export function findTraces(snapshot: Snapshot, { ids, words }: Traces): string[] {
  const found: string[] = [];
  for (const [collection, documents] of snapshot) {
    const wanted = [...words, ...(REMAINING.has(collection) ? [] : ids)].map((word) => word.toLowerCase());
    const rest = documents.filter((document) => collection !== 'claims' || document['kind'] !== 'collection');
    for (const text of [collection, ...rest.map((document) => JSON.stringify(document))]) {
      const lower = text.toLowerCase();
      for (const word of wanted) if (lower.includes(word)) found.push(`${collection} has ${word}: ${text}`);
    }
  }
  return found;
}

export type Traces = { readonly ids: readonly string[]; readonly words: readonly string[] };

/** What the `sku` of a document begins with that the normalized state leaves out: how many are written differs. */
export const UNCOUNTED = 'uncounted-';

const isUncounted = (sku: unknown): boolean => typeof sku === 'string' && sku.startsWith(UNCOUNTED);

/** What is in the database, without what may differ between two correct runs: ids, times, suffixes. */
export type NormalizedState = {
  readonly organizations: readonly {
    readonly name: string;
    readonly key: string;
    readonly slug: string;
    readonly status: string;
    readonly epoch: number;
    /** Whether the collection is still to be renamed. */
    readonly isMoveOpen: boolean;
    readonly admins: readonly string[];
    readonly documents: readonly string[];
    /** Whether the tenant's own unique index refuses what it should; null where there is no document to try it with. */
    readonly unique: boolean | null;
    /** Names that it left and that are leased to it. */
    readonly leased: readonly string[];
    /** What its audit log says of it and its admins, sign-ins apart: each change once. */
    readonly audited: readonly string[];
  }[];
  /** Mails that were handed over, by address and kind: each at least once. */
  readonly mails: readonly string[];
};

/** Reads the normalized state. Tries the unique index on `sku` that the tests' tenants have. */
export async function normalizedState(
  database: Database,
  snapshot: Snapshot,
  mails: readonly Message[] = [],
): Promise<NormalizedState> {
  const organizations: NormalizedState['organizations'][number][] = [];
  for (const organization of organizationsOf(snapshot).filter(wasThere)) {
    const { name, key, slug, status, epoch, next_placement, _id } = organization;
    const isOwn = ({ organization_id }: { readonly organization_id: string | null }) => organization_id === _id;
    const [home = '', ...kept] = homesOf(snapshot, organization);
    const documents = snapshot.get(home) ?? [];
    const all = [...documents, ...kept.flatMap((name) => snapshot.get(name) ?? [])]
      .filter(({ sku }) => !isUncounted(sku))
      .map((document) => JSON.stringify(document));
    organizations.push({
      name,
      key,
      slug,
      status,
      epoch,
      isMoveOpen: next_placement !== null,
      admins: of<AdminDocument>(snapshot, 'admins')
        .filter(isOwn)
        .map(
          ({ email, email_verified, password_hash, role, epoch: adminEpoch }) =>
            `${email} ${email_verified} ${password_hash} ${role} ${adminEpoch}`,
        )
        .sort(),
      // A kept collection also holds what was merged.
      documents: [...new Set(all)].sort(),
      unique: await refusesAgain(database, home, documents),
      leased: nameClaimsOf(snapshot)
        .filter((claim) => isOwn(claim) && claim._id !== nameClaimId(key) && leaseOf(claim) !== null)
        .map((claim) => claim._id),
      audited: of<AuditEntry>(snapshot, 'audit')
        .filter((entry) => isOwn(entry) && !entry.action.startsWith('session.'))
        .map(({ action }) => action)
        .sort(),
    });
  }
  return {
    organizations: organizations.sort((a, b) => {
      const [one, other] = [a, b].map(({ key, audited }) => `${key} ${audited.join()}`) as [string, string];
      return one < other ? -1 : 1;
    }),
    mails: [...new Set(mails.map(({ to, subject }) => `${to}: ${subject}`))].sort(),
  };
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
