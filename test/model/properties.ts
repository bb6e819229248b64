import { settle } from './lifecycle.ts';
import { isLiving, ownerOf, ownerOfAside, type Violation, type ViolationKind, type World } from './state.ts';

/** What each kind of violation means. */
export const VIOLATIONS: { readonly [kind in ViolationKind]: string } = {
  mixed: "Another tenant's, or another application's, documents were touched.",
  lost: 'An acknowledged document of a living organization is neither in its collection nor in a reported one.',
  returned: 'A document that the tenant deleted came back.',
  'left over': 'An operation, a name, an admin or a collection is left for ever.',
  'two of one name': 'Two organizations have one name.',
  'dropped without record': 'A collection was dropped without a record that says so.',
  'kept came in': 'A document that was reported as kept apart came in later.',
  'swept own': "A look puts the tenant's own collection aside.",
  invisible: 'An idle living organization has its collection elsewhere than its placement says.',
  remade: 'At the end, the collection is not the one that was made with indexes and options.',
  'half changed': "The admin's change and the rename were not committed together.",
  'lease broken': 'A leased name was taken by another organization before its lease expired.',
};

/** What holds in every state. */
export function checkState(world: World): void {
  const names = new Map<string, string>();
  for (const id of world.organizations.keys()) {
    const owner = world.organizations.get(id);
    if (!isLiving(owner)) continue;
    const other = names.get(owner.name);
    if (other !== undefined) world.violate('two of one name', `${other} and ${id} are both ${owner.name}`);
    names.set(owner.name, id);
    for (const document of world.collections.get(owner.collection)?.documents ?? [])
      if (ownerOf(document) !== id) world.violate('mixed', `${document} in ${owner.collection} of ${id}`);
    if (owner.operation !== null) continue;
    const isMade = (name: string) => world.collections.get(name)?.id.startsWith(`${id}#`) ?? false;
    if (!isMade(owner.collection) && !(owner.next !== '' && isMade(owner.next)))
      world.violate('invisible', `the collection of ${id} is not at ${owner.collection}`);
  }
}

/** What holds once due work has run until nothing changes. */
export function checkSettled(world: World): readonly Violation[] {
  const settled = settle(world);
  const violate = settled.violate.bind(settled);
  const kept = keptCollections(settled);
  const names = new Set<string>();
  for (const id of settled.organizations.keys()) {
    const owner = settled.organizations.get(id);
    if (owner === undefined) continue;
    if (owner.operation !== null || owner.status === 'creating' || owner.status === 'deleting')
      violate('left over', `${id} is ${owner.status}, ${JSON.stringify(owner.operation)}`);
    if (!isLiving(owner)) continue;
    if (names.has(owner.name)) violate('two of one name', `at the end two are ${owner.name}`);
    names.add(owner.name);
    const claim = settled.names.get(owner.name);
    if (claim?.organization !== id) violate('two of one name', `the name ${owner.name} of ${id} is free for others`);
    checkDocuments(settled, id, owner.collection, kept);
  }
  for (const name of settled.names.keys()) {
    const claim = settled.names.get(name);
    if (claim === undefined) continue;
    const owner = settled.organizations.get(claim.organization);
    if (owner === undefined) violate('left over', `name ${name} is held by ${claim.organization}, which is missing`);
    else if (!settled.rules.takeOver && !(isLiving(owner) && owner.name === name))
      violate('left over', `name ${name} is held by ${claim.organization}, which has another name`);
    else if (claim.lease !== 'none') violate('left over', `the lease of ${name} never ends`);
  }
  for (const id of settled.admins.keys())
    if (!isLiving(settled.organizations.get(id))) violate('left over', `an admin of ${id}`);
  checkCollections(settled, kept);
  checkAdmins(settled);
  return settled.violations;
}

/** Asides that were kept and reported. */
function keptCollections(settled: World): Set<string> {
  const kept = new Set<string>();
  for (const name of settled.claims.keys())
    for (const [aside, state] of Object.entries(settled.claims.get(name)?.asides ?? {}))
      if (state === 'kept') kept.add(aside);
  if (!settled.rules.keptApart) for (const name of settled.collections.keys()) if (name.startsWith('@')) kept.add(name);
  return kept;
}

function checkDocuments(settled: World, id: string, collection: string, kept: ReadonlySet<string>): void {
  const current = settled.collections.get(collection)?.documents ?? [];
  const reachable = new Set(current);
  for (const name of kept)
    if (ownerOfAside(name) === id)
      for (const document of settled.collections.get(name)?.documents ?? []) reachable.add(document);
  for (const document of settled.documents.keys()) {
    const fate = settled.documents.get(document);
    if (ownerOf(document) !== id) continue;
    if (fate === 'deleted') {
      if (current.includes(document)) settled.violate('returned', document);
    } else if (!reachable.has(document))
      settled.violate('lost', `${document} of ${id}, whose collection is ${collection}`);
    if (fate === 'reported' && current.includes(document)) settled.violate('kept came in', document);
  }
  const made = settled.collections.get(collection)?.id ?? '';
  const sameAsMade = settled.setting.collectionIds ? made === `${id}#1` : made.startsWith(`${id}#`);
  if (!sameAsMade) settled.violate('remade', `${collection} of ${id} is not its first collection`);
}

function checkCollections(settled: World, kept: ReadonlySet<string>): void {
  const current = new Set<string>();
  for (const id of settled.organizations.keys()) {
    const owner = settled.organizations.get(id);
    if (isLiving(owner)) current.add(owner.collection);
  }
  for (const name of settled.collections.keys()) {
    const { documents = [] } = settled.collections.get(name) ?? {};
    const foreign = documents.some((document) => ownerOf(document) === 'F');
    if (!kept.has(name) && !current.has(name) && !foreign) settled.violate('left over', `collection ${name}`);
  }
  for (const document of settled.documents.keys()) {
    if (ownerOf(document) !== 'F') continue;
    const name = document.slice(1, document.indexOf(':'));
    if (!settled.collections.get(name)?.documents.includes(document))
      settled.violate('mixed', `the collection ${name} of another application is gone`);
  }
}

/** All or nothing: an admin's change and its rename are both done, or neither. */
function checkAdmins(settled: World): void {
  for (const id of settled.changes.keys()) {
    const change = settled.changes.get(id);
    if (
      change === undefined ||
      change.admin === change.name ||
      !isLiving(settled.organizations.get(change.organization))
    )
      continue;
    settled.violate('half changed', `${id}: admin changed: ${change.admin}, renamed: ${change.name}`);
  }
}
