import { type EditActor, editSteps, startEdit } from './operations/admin-edit.ts';
import { type CreateActor, createSteps, startCreate } from './operations/create.ts';
import { type DeleteActor, deleteSteps, startDelete } from './operations/delete.ts';
import { type LookActor, lookSteps, startLook } from './operations/late-writes.ts';
import { type LeaseActor, leaseSteps, startLeaseWork } from './operations/name-leases.ts';
import { beginMove, beginRename, type RenameActor, renameSteps, resumeRename } from './operations/rename.ts';
import { type Rules, rulesWithout } from './rules.ts';
import type { Scenario } from './scenarios.ts';
import { type Actor, type BudgetName, isLiving, type Lease, ownerOf, type Verb, World } from './state.ts';
import { claimCollection, createCollection, insertDocument, tellTenant, updateOrganization } from './store-calls.ts';

/** One transition, as a trace shows it. `actor` is a position among the actors at work until `unroll` names it. */
export type Transition =
  | {
      readonly event: 'begin';
      readonly verb: string;
      readonly organization: string;
      readonly input: string;
      readonly starts: boolean;
    }
  | {
      readonly event: 'call' | 'refused' | 'reply lost' | 'crash';
      readonly position: number;
      readonly verb: Verb;
      readonly organization: string;
      readonly step: string;
      /** What the call is about: a name, or a collection. */
      readonly subject: string;
      readonly ends: boolean;
    }
  | {
      readonly event: 'write' | 'early write' | 'remove';
      readonly organization: string;
      readonly document: string;
      readonly collection: string;
    }
  | { readonly event: 'foreign collection' | 'lease expires'; readonly subject: string };

export type Emit = (next: World, transition: () => Transition) => void;

/** The world at the beginning: one active organization `O`, named `a`, with one document. */
export function firstWorld(scenario: Scenario, rules: Rules = rulesWithout()): World {
  const world = new World(rules, scenario.setting);
  world.organizations = world.organizations.with('O', {
    status: 'active',
    name: 'a',
    nameOperation: 'first',
    collection: 'a',
    next: '',
    nextRealId: '',
    nextAbandoned: [],
    operation: null,
    unused: false,
  });
  world.names = world.names.with('a', { organization: 'O', operation: 'first', lease: 'none', takenBack: 'none' });
  claimCollection(world, 'O', 'first', 'a');
  createCollection(world, 'O', 'a');
  insertDocument(world, 'a', 'O0:1');
  world.documents = world.documents.with('O0:1', 'written');
  world.admins = world.admins.with('O', { version: 1, applied: '' });
  tellTenant(world, 'O', 'a');
  for (const [name, amount] of Object.entries(scenario.budget)) world.counters = world.counters.with(name, amount);
  return world;
}

/** Makes one step of an actor. Answers where it stands then; null: it has ended. */
export function step(world: World, actor: Actor, refused = false): Actor | null {
  switch (actor.verb) {
    case 'create':
      return run(createSteps, world, actor as CreateActor, refused);
    case 'rename':
      return run(renameSteps, world, actor as RenameActor, refused);
    case 'delete':
      return run(deleteSteps, world, actor as DeleteActor, refused);
    case 'look':
      return world.claims.has((actor as LookActor).name) ? run(lookSteps, world, actor as LookActor, refused) : null;
    case 'edit':
      return run(editSteps, world, actor as EditActor, refused);
    case 'lease':
      return run(leaseSteps, world, actor as LeaseActor, refused);
  }
}

function run<A extends Actor>(
  steps: { readonly [name: string]: (world: World, actor: A, refused: boolean) => A | null },
  world: World,
  actor: A,
  refused: boolean,
): A | null {
  const call = steps[actor.step];
  if (call === undefined) throw new Error(`${actor.verb} has no step ${actor.step}`);
  return call(world, actor, refused);
}

const newOperation = (world: World): string => `p${world.serial('operation')}`;

/** Makes an active or kept organization `deleting`: the commit point of a delete or purge. */
function beginDelete(world: World, organization: string): DeleteActor {
  updateOrganization(world, organization, {
    status: 'deleting',
    operation: { id: newOperation(world), kind: 'delete' },
  });
  return startDelete(organization);
}

/** Finishes what another instance left: forward, except a create that is not committed yet. Null: nothing is left. */
export function resume(world: World, organization: string): Actor | null {
  const owner = world.organizations.get(organization);
  if (owner === undefined) return null;
  if (owner.status === 'deleting') return startDelete(organization);
  if (owner.operation === null) return null;
  if (owner.operation.kind === 'create') {
    updateOrganization(world, organization, {
      status: 'deleting',
      operation: { id: owner.operation.id, kind: 'delete' },
      unused: true,
    });
    return startDelete(organization);
  }
  return resumeRename(world, organization, owner.operation.id);
}

export const resumeMove = (world: World, organization: string): Actor =>
  beginMove(world, organization, newOperation(world));

/** What the next call of an actor is about: a name, a collection, or two. */
function subjectOf(actor: Actor): string {
  switch (actor.verb) {
    case 'create': {
      const { step: at, name, target, candidates } = actor as CreateActor;
      if (at === 'claim collection') return candidates[0] ?? '';
      return target || name;
    }
    case 'rename': {
      const { step: at, journal, target, candidates, index } = actor as RenameActor;
      if (at === 'claim target') return candidates[0] ?? '';
      if (['move', 'look for target', 'make target', 'compare ids', 'commit', 'leave move open'].includes(at))
        return `${journal.from} -> ${journal.to}`;
      if (at === 'release name') return journal.oldName;
      if (at === 'release collection') return journal.from;
      if (at === 'release abandoned') return journal.abandoned[index] ?? '';
      return target || journal.name;
    }
    case 'delete':
      return (actor as DeleteActor).claims[(actor as DeleteActor).index] ?? '';
    case 'look': {
      const { name, aside, kept, into } = actor as LookActor;
      return [name, aside, kept || into].filter((part) => part !== '').join(' -> ');
    }
    case 'lease':
      return (actor as LeaseActor).name;
    case 'edit':
      return '';
  }
}

/** Calls that a server may refuse, and the budget for it. */
function refusalOf(actor: Actor): BudgetName | null {
  if (actor.verb !== 'rename') return null;
  if (actor.step === 'move') return 'refuse';
  return actor.step === 'apply admin change' ? 'adminRefuse' : null;
}

/** All that can happen next. */
export function transitions(world: World, scenario: Scenario, emit: Emit): void {
  world.actors.forEach(({ actor }, position) => {
    stepActor(world, actor, position, emit);
  });
  for (const organization of world.known.keys()) tenantWrites(world, organization, emit);
  environment(world, emit);
  if (world.actors.length < scenario.actors) beginnings(world, scenario, emit);
}

function stepActor(world: World, actor: Actor, position: number, emit: Emit): void {
  const described = { position, verb: actor.verb, organization: actor.organization, step: actor.step };
  const called = world.copy();
  const next = step(called, actor);
  called.replace(position, next);
  emit(called, () => ({ event: 'call', ...described, subject: subjectOf(actor), ends: next === null }));

  const refusal = refusalOf(actor);
  if (refusal !== null && world.count(refusal) > 0) {
    const refused = world.copy();
    refused.spend(refusal);
    const after = step(refused, actor, true);
    refused.replace(position, after);
    emit(refused, () => ({ event: 'refused', ...described, subject: subjectOf(actor), ends: after === null }));
  }
  if (world.count('lostReply') > 0 && !(world.rules.createCollectionOnce && actor.step === 'create collection')) {
    const repeating = world.copy();
    repeating.spend('lostReply');
    step(repeating, actor);
    emit(repeating, () => ({ event: 'reply lost', ...described, subject: subjectOf(actor), ends: false }));
  }
  if (world.count('crash') > 0) {
    const crashed = world.copy();
    crashed.spend('crash');
    crashed.replace(position, null);
    emit(crashed, () => ({ event: 'crash', ...described, subject: subjectOf(actor), ends: true }));
  }
}

function tenantWrites(world: World, organization: string, emit: Emit): void {
  const names = world.known.get(organization) ?? [];
  const write = (event: 'write' | 'early write', budget: BudgetName, collection: string, fixed?: string) => {
    const next = world.copy();
    next.spend(budget);
    const document = fixed ?? `${organization}${next.serial(`document ${organization}`)}:1`;
    if (!insertDocument(next, collection, document)) return;
    next.documents = next.documents.with(document, 'written');
    emit(next, () => ({ event, organization, document, collection }));
  };
  if (world.count('write') > 0) for (const name of names) write('write', 'write', name);
  const clash = `${organization}0:2`;
  if (world.count('clash') > 0 && !world.documents.has(clash))
    for (const name of names) write('write', 'clash', name, clash);

  const owner = world.organizations.get(organization);
  if (owner === undefined) return;
  if (world.count('remove') > 0 && isLiving(owner))
    for (const document of world.collections.get(owner.collection)?.documents ?? []) {
      if (ownerOf(document) !== organization) continue;
      const next = world.copy();
      next.spend('remove');
      const collection = next.collections.get(owner.collection);
      if (collection === undefined) continue;
      const documents = collection.documents.filter((other) => other !== document);
      next.collections = next.collections.with(owner.collection, { ...collection, documents });
      next.documents = next.documents.with(document, 'deleted');
      emit(next, () => ({ event: 'remove', organization, document, collection: owner.collection }));
    }
  if (world.count('early') > 0) {
    const target = owner.operation !== null && 'to' in owner.operation ? owner.operation.to : '';
    for (const name of new Set([target, owner.next]))
      if (name !== '' && !names.includes(name)) write('early write', 'early', name);
  }
}

function environment(world: World, emit: Emit): void {
  if (world.count('expire') > 0)
    for (const name of world.names.keys()) {
      const claim = world.names.get(name);
      if (claim === undefined || (claim.lease !== 'leased' && claim.takenBack !== 'leased')) continue;
      const next = world.copy();
      next.spend('expire');
      const expired = (lease: Lease): Lease => (lease === 'leased' ? 'expired' : lease);
      const { lease, takenBack } = claim;
      next.names = next.names.with(name, { ...claim, lease: expired(lease), takenBack: expired(takenBack) });
      next.promises = next.promises.without(name);
      emit(next, () => ({ event: 'lease expires', subject: name }));
    }
  if (world.count('foreign') > 0 && !world.collections.has('g')) {
    const next = world.copy();
    next.spend('foreign');
    insertDocument(next, 'g', 'Fg:1');
    next.documents = next.documents.with('Fg:1', 'written');
    emit(next, () => ({ event: 'foreign collection', subject: 'g' }));
  }
}

/** What an instance may begin: a request, due work, or the operation of another. */
function beginnings(world: World, scenario: Scenario, emit: Emit): void {
  const begin = (verb: string, organization: string, input: string, apply: (next: World) => Actor | null) => {
    const next = world.copy();
    const actor = apply(next);
    if (actor !== null) next.start(actor);
    emit(next, () => ({ event: 'begin', verb, organization, input, starts: actor !== null }));
  };
  const spending = (budget: BudgetName, apply: (next: World) => Actor | null) => (next: World) => {
    next.spend(budget);
    return apply(next);
  };

  if (world.count('create') > 0) {
    const organization = ['N', 'M'].find((id) => world.count(`made ${id}`) === 0);
    if (organization !== undefined)
      for (const name of scenario.newNames)
        begin(
          'create',
          organization,
          name,
          spending('create', (next) => {
            next.serial(`made ${organization}`);
            return startCreate(next, organization, newOperation(next), name);
          }),
        );
  }
  for (const organization of world.organizations.keys()) {
    const owner = world.organizations.get(organization);
    if (owner === undefined) continue;
    const idle = owner.status === 'active' && owner.operation === null;
    if (idle && world.count('rename') > 0)
      for (const name of scenario.names) {
        if (name === owner.name) continue;
        begin(
          'rename',
          organization,
          name,
          spending('rename', (next) => beginRename(next, organization, newOperation(next), name, false)),
        );
        if (world.count('adminChange') > 0)
          begin(
            'rename with admin change',
            organization,
            name,
            spending('adminChange', (next) => {
              next.spend('rename');
              return beginRename(next, organization, newOperation(next), name, true);
            }),
          );
      }
    if (owner.status === 'active' && world.count('adminEdit') > 0)
      begin(
        'edit admin',
        organization,
        '',
        spending('adminEdit', () => startEdit(organization)),
      );
    if (idle && world.count('delete') > 0) {
      if (scenario.retention !== 'never')
        begin(
          'delete',
          organization,
          'kept',
          spending('delete', (next) => {
            updateOrganization(next, organization, { status: 'deleted' });
            return null;
          }),
        );
      if (scenario.retention !== 'always')
        begin(
          'delete',
          organization,
          'erased',
          spending('delete', (next) => beginDelete(next, organization)),
        );
    }
    if (owner.status === 'deleted' && world.count('restore') > 0)
      begin(
        'restore',
        organization,
        '',
        spending('restore', (next) => {
          updateOrganization(next, organization, { status: 'active' });
          return null;
        }),
      );
    if (owner.status === 'deleted' && world.count('purge') > 0)
      begin(
        'purge',
        organization,
        '',
        spending('purge', (next) =>
          next.rules.purgeComparesStatus ? beginDelete(next, organization) : startDelete(organization),
        ),
      );
    if (world.count('resume') > 0 && (owner.operation !== null || owner.status === 'deleting'))
      begin(
        'resume',
        organization,
        owner.operation?.kind ?? '',
        spending('resume', (next) => resume(next, organization)),
      );
    if (idle && owner.next !== '') begin('move', organization, owner.next, (next) => resumeMove(next, organization));
    const erasing = world.actors.some(({ actor }) => actor.verb === 'delete');
    if (world.rules.repeatedErasure && owner.status === 'erased' && world.count('resume') > 0 && !erasing)
      begin(
        'repeat erasure',
        organization,
        '',
        spending('resume', () => startDelete(organization)),
      );
  }
  if (world.count('look') > 0)
    for (const name of world.claims.keys()) {
      const claim = world.claims.get(name);
      if (claim?.due)
        begin(
          'look',
          claim.organization,
          name,
          spending('look', () => startLook(claim.organization, name)),
        );
    }
  if (world.count('leaseWork') > 0)
    for (const name of world.names.keys()) {
      const claim = world.names.get(name);
      if (claim?.lease === 'expired')
        begin(
          'lease',
          claim.organization,
          name,
          spending('leaseWork', () => startLeaseWork(claim.organization, name)),
        );
    }
}

/** Runs an actor to its end, with nobody beside it. */
function runAlone(world: World, first: Actor): void {
  let actor: Actor | null = first;
  for (let steps = 0; actor !== null; steps++) {
    if (steps === 300) {
      world.violate('left over', `${actor.verb} of ${actor.organization} does not end`);
      return;
    }
    actor = step(world, actor);
  }
}

/** The world once everyone is gone, all leases have expired, and due work has run until nothing changes. */
export function settle(world: World): World {
  const settled = world.copy();
  settled.actors = [];
  let before = settled.storedDigest();
  for (let round = 0; round < 12; round++) {
    for (const organization of settled.organizations.keys()) {
      const actor = resume(settled, organization);
      if (actor !== null) runAlone(settled, actor);
      const owner = settled.organizations.get(organization);
      if (owner === undefined) continue;
      if (owner.next !== '' && owner.operation === null && isLiving(owner)) {
        if (owner.status === 'deleted') updateOrganization(settled, organization, { status: 'active' }); // what a restore finds
        runAlone(settled, resumeMove(settled, organization));
      }
      if (owner.status === 'erased' && settled.rules.repeatedErasure) runAlone(settled, startDelete(organization));
    }
    for (const name of settled.claims.keys()) {
      const claim = settled.claims.get(name);
      if (claim?.due) runAlone(settled, startLook(claim.organization, name));
    }
    for (const name of settled.names.keys()) {
      const claim = settled.names.get(name);
      if (claim === undefined || claim.lease === 'none') continue;
      settled.names = settled.names.with(name, { ...claim, lease: 'expired' });
      runAlone(settled, startLeaseWork(claim.organization, name));
    }
    const now = settled.storedDigest();
    if (now.low === before.low && now.high === before.high) break;
    before = now;
  }
  return settled;
}
