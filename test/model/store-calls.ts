import {
  type CollectionClaim,
  idOf,
  isEnded,
  isLiving,
  type MoveOperation,
  type NameClaim,
  type Organization,
  ownerOf,
  type World,
} from './state.ts';

/** Reports a call of one organization on documents, or on the real collection, of another. */
function touch(world: World, call: string, organization: string, collection: string): void {
  const { documents = [], id = '' } = world.collections.get(collection) ?? {};
  for (const document of documents)
    if (ownerOf(document) !== organization)
      world.violate('mixed', `${call} of ${organization} on ${collection} touches ${document}`);
  if (id !== '' && ownerOf(id) !== organization)
    world.violate('mixed', `${call} of ${organization} on ${collection}, the collection ${id}`);
}

export type RenameAnswer = 'renamed' | 'NamespaceNotFound' | 'NamespaceExists';

export function renameCollection(world: World, organization: string, from: string, to: string): RenameAnswer {
  const collection = world.collections.get(from);
  if (collection === undefined) return 'NamespaceNotFound';
  if (world.collections.has(to)) return 'NamespaceExists';
  touch(world, 'renameCollection', organization, from);
  world.collections = world.collections.without(from).with(to, collection);
  return 'renamed';
}

/** Answers whether it was made now. */
export function createCollection(world: World, organization: string, name: string): boolean {
  if (world.collections.has(name)) return false;
  const id = `${organization}#${world.serial(`collection ${organization}`)}`;
  world.collections = world.collections.with(name, { documents: [], id });
  return true;
}

/** Drops a collection. `recorded`: whether a record says that it may be dropped. */
export function dropCollection(world: World, organization: string, name: string, recorded: boolean): void {
  if (!world.collections.has(name)) return;
  touch(world, 'dropCollection', organization, name);
  if (!recorded) world.violate('dropped without record', name);
  world.collections = world.collections.without(name);
}

/** Inserts a document, and makes the collection where it is missing. Answers false where the `_id` exists. */
export function insertDocument(world: World, name: string, document: string): boolean {
  const collection = world.collections.get(name) ?? { documents: [], id: '' };
  if (collection.documents.some((other) => idOf(other) === idOf(document))) return false;
  world.collections = world.collections.with(name, {
    ...collection,
    documents: [...collection.documents, document].sort(),
  });
  return true;
}

/** One document of a merge: `$merge` is not atomic as a whole. */
export function mergeDocument(world: World, organization: string, aside: string, to: string, index: number): void {
  const document = world.collections.get(aside)?.documents[index];
  touch(world, 'mergeCollection', organization, aside);
  if (document !== undefined) insertDocument(world, to, document);
}

export function updateOrganization(world: World, id: string, change: Partial<Organization>): void {
  const organization = world.organizations.get(id);
  if (organization !== undefined) world.organizations = world.organizations.with(id, { ...organization, ...change });
}

export function updateClaim(world: World, name: string, change: Partial<CollectionClaim>): void {
  const claim = world.claims.get(name);
  if (claim === undefined) return;
  world.claims = world.claims.with(name, { ...claim, ...change, version: claim.version + 1 });
}

/** Inserts a claim on a collection name. Answers the claim that is there. */
export function claimCollection(world: World, organization: string, operation: string, name: string): CollectionClaim {
  const present = world.claims.get(name);
  if (present !== undefined) return present;
  const claim: CollectionClaim = {
    organization,
    operation,
    state: 'held',
    unused: false,
    version: 1,
    due: false,
    asides: {},
    looks: 0,
  };
  world.claims = world.claims.with(name, claim);
  return claim;
}

/** `held` becomes `former`: conditional on the organization and the state. */
export function markFormer(world: World, organization: string, name: string): void {
  const claim = world.claims.get(name);
  if (claim?.organization === organization && (claim.state === 'held' || !world.rules.neverBack))
    updateClaim(world, name, { state: 'former', due: true });
}

/** Reports an organization that takes a name which is leased to another. */
function checkPromise(world: World, organization: string, name: string): void {
  const promised = world.promises.get(name);
  if (promised !== undefined && promised !== organization && isLiving(world.organizations.get(promised)))
    world.violate('lease broken', `${organization} takes ${name}, which is promised to ${promised}`);
}

/** Inserts a claim on an organization's name. Answers the claim that is there. */
export function claimName(world: World, organization: string, operation: string, name: string): NameClaim {
  const present = world.names.get(name);
  if (present !== undefined) return present;
  const claim: NameClaim = { organization, operation, lease: 'none', takenBack: 'none' };
  checkPromise(world, organization, name);
  world.names = world.names.with(name, claim);
  return claim;
}

/** Takes a name claim over by compare-and-set on the operation, and on the lease, that were read. */
export function takeName(
  world: World,
  organization: string,
  operation: string,
  name: string,
  read: NameClaim | null,
): boolean {
  const claim = world.names.get(name);
  if (claim === undefined || read === null) return false;
  if (claim.operation !== read.operation && world.rules.takeOverCompares) return false;
  if (claim.lease !== read.lease && world.rules.takeOverComparesLease) return false;
  const owner = world.organizations.get(claim.organization);
  if (claim.organization !== organization && isLiving(owner) && isReserved(world, name, claim))
    world.violate('lease broken', `${organization} takes ${name} from ${claim.organization}`);
  checkPromise(world, organization, name);
  const lease = world.rules.takeBackEndsLease ? 'none' : claim.lease;
  const takenBack = claim.organization === organization ? claim.lease : 'none';
  world.names = world.names.with(name, { organization, operation, lease, takenBack });
  return true;
}

/** Whether a name is promised to the organization that has left it, or is about to be, by a running rename. */
function isReserved(world: World, name: string, claim: NameClaim): boolean {
  if (!world.setting.nameLeases) return false;
  const operation = world.organizations.get(claim.organization)?.operation;
  const leaving = operation?.kind === 'rename' && operation.step === 'releasing' && operation.oldName === name;
  return claim.lease === 'leased' || (leaving && operation.oldNameOperation === claim.operation);
}

/**
 * Whether a name claim holds against this organization. The claim was read before its owner. A missing owner is
 * reported to the operator and never judged.
 */
export function isInForce(world: World, name: string, claim: NameClaim, against: string): boolean {
  const owner = world.organizations.get(claim.organization);
  if (owner === undefined) return true;
  if (isEnded(owner)) return false;
  const { operation } = owner;
  if (world.setting.nameLeases && claim.organization !== against) {
    if (world.rules.leaseHolds && claim.lease === 'leased') return true;
    if (world.rules.takenBackHolds && claim.takenBack === 'leased') return true;
    const leaving = operation !== null && 'oldName' in operation && operation.oldName === name;
    if (world.rules.leavingHolds && leaving && operation.oldNameOperation === claim.operation) return true;
  }
  if (operation?.id === claim.operation) return true;
  return owner.name === name && owner.status !== 'creating';
}

/** Writes the running rename or move, where it is still the operation and the condition holds. */
export function advanceMove(
  world: World,
  organization: string,
  id: string,
  condition: (operation: MoveOperation) => boolean,
  change: (operation: MoveOperation) => Partial<Organization>,
): boolean {
  const operation = world.organizations.get(organization)?.operation;
  if (operation?.id !== id || operation.kind === 'create' || operation.kind === 'delete') return false;
  if (!condition(operation)) return false;
  updateOrganization(world, organization, change(operation));
  return true;
}

/** The tenant has been told this collection name, and may write to it for ever. */
export function tellTenant(world: World, organization: string, collection: string): void {
  const names = world.known.get(organization) ?? [];
  if (!names.includes(collection)) world.known = world.known.with(organization, [...names, collection].sort());
}

/** Whether the tenant's documents are to be found at this collection. */
export const isCurrent = (world: World, organization: string, collection: string): boolean => {
  const owner = world.organizations.get(organization);
  return isLiving(owner) && owner.collection === collection;
};
