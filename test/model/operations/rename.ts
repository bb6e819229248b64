import {
  type Actor,
  type Change,
  type MoveOperation,
  type NameClaim,
  type Organization,
  runningMove,
  slugOf,
  type World,
} from '../state.ts';
import {
  advanceMove,
  claimCollection,
  claimName,
  createCollection,
  isInForce,
  markFormer,
  renameCollection,
  takeName,
  tellTenant,
  updateOrganization,
} from '../store-calls.ts';
import type { Steps } from './steps.ts';

/** Works on a rename or an open move, as its own or to finish that of another. */
export type RenameActor = Actor & {
  readonly verb: 'rename';
  /** The operation as it was when this actor last read or wrote it. */
  readonly journal: MoveOperation;
  /** The name claim that was in the way. */
  readonly seen: NameClaim | null;
  readonly candidates: readonly string[];
  readonly target: string;
  readonly realId: string;
  readonly index: number;
};

type Locals = Partial<Pick<RenameActor, 'seen' | 'candidates' | 'target' | 'realId' | 'index'>>;

const at = (actor: Pick<RenameActor, 'organization' | 'journal'>, step: string, locals: Locals = {}): RenameActor => ({
  verb: 'rename',
  organization: actor.organization,
  journal: actor.journal,
  step,
  seen: null,
  candidates: [],
  target: '',
  realId: '',
  index: 0,
  ...locals,
});

const FIRST_STEP: { readonly [step in MoveOperation['step']]: string } = {
  claiming: 'claim name',
  changing: 'apply admin change',
  moving: 'move',
  releasing: 'release name',
};

/** Reads where the operation is now; null where it is not running any more. */
export function resumeRename(world: World, organization: string, id: string): RenameActor | null {
  const journal = runningMove(world, organization, id);
  return journal === undefined ? null : at({ organization, journal }, FIRST_STEP[journal.step]);
}

/** Begins a rename: one conditional write on an idle, active organization. */
export function beginRename(
  world: World,
  organization: string,
  id: string,
  name: string,
  change: boolean,
): RenameActor {
  const owner = world.organizations.get(organization);
  if (owner === undefined) throw new Error(`no organization ${organization}`);
  const moves = owner.next === '' && slugOf(name) !== slugOf(owner.name);
  const journal: MoveOperation = {
    id,
    kind: 'rename',
    step: 'claiming',
    name,
    oldName: owner.name,
    oldNameOperation: owner.nameOperation,
    from: owner.collection,
    to: '',
    realId: '',
    abandoned: [],
    moves,
    stays: !moves,
    adminVersion: change ? (world.admins.get(organization)?.version ?? 0) : 0,
  };
  if (world.rules.renameJournalsFirst) updateOrganization(world, organization, { operation: journal });
  return at({ organization, journal }, 'claim name');
}

/** Begins the operation that tries an open move again. */
export function beginMove(world: World, organization: string, id: string): RenameActor {
  const owner = world.organizations.get(organization);
  if (owner === undefined) throw new Error(`no organization ${organization}`);
  const journal: MoveOperation = {
    id,
    kind: 'move',
    step: 'moving',
    name: owner.name,
    oldName: owner.name,
    oldNameOperation: owner.nameOperation,
    from: owner.collection,
    to: owner.next,
    realId: owner.nextRealId,
    abandoned: owner.nextAbandoned,
    moves: true,
    stays: false,
    adminVersion: 0,
  };
  updateOrganization(world, organization, { operation: journal });
  return at({ organization, journal }, 'move');
}

const resumed = (world: World, actor: RenameActor): RenameActor | null =>
  resumeRename(world, actor.organization, actor.journal.id);

/** Writes the operation under a condition, then reads where it is. */
function advance(
  world: World,
  actor: RenameActor,
  condition: (operation: MoveOperation) => boolean,
  change: (operation: MoveOperation) => Parameters<typeof updateOrganization>[2],
): RenameActor | null {
  advanceMove(world, actor.organization, actor.journal.id, condition, change);
  return resumed(world, actor);
}

/** Ends the operation at this step without a commit. Answers whether this call ended it. */
const end = (world: World, { organization, journal }: RenameActor, step: MoveOperation['step']): boolean =>
  advanceMove(
    world,
    organization,
    journal.id,
    (operation) => operation.step === step || !world.rules.rollBackByStep,
    () => ({ operation: null }),
  );

const isToChange = (world: World, { journal }: RenameActor): boolean =>
  journal.adminVersion !== 0 && world.rules.refusedOnlyBeforeMove;

/** Where a rename goes once its name is claimed. */
function nameClaimed(world: World, actor: RenameActor): RenameActor {
  if (!world.rules.renameJournalsFirst && actor.journal.step === 'claiming') return at(actor, 'journal late');
  if (isToChange(world, actor)) return at(actor, world.rules.changingStep ? 'begin changing' : 'apply admin change');
  return at(actor, actor.journal.moves ? 'list candidates' : 'commit name');
}

/** Where a rename goes once its admin's change is applied. */
const adminChanged = (actor: RenameActor): RenameActor =>
  actor.journal.step === 'releasing'
    ? at(actor, 'end', { index: 1 }) // only where the rule `refusedOnlyBeforeMove` is off
    : at(actor, actor.journal.moves ? 'list candidates' : 'commit name');

/** Where a rename goes once its admin's change is refused. */
const afterRefusal = (world: World): string => (world.rules.endsBeforeReturn ? 'refuse change' : 'return name');

/** The step that a rename leaves towards its target. */
const beforeMove = (actor: RenameActor): MoveOperation['step'] => actor.journal.step;

/** Notes for the properties which half of a rename with an admin's change is done. */
function noteChange(world: World, organization: string, operation: MoveOperation, done: Partial<Change>): void {
  if (operation.adminVersion === 0) return;
  const change = world.changes.get(operation.id) ?? { organization, admin: false, name: false };
  world.changes = world.changes.with(operation.id, { ...change, ...done });
}

/** What the commit of the name writes to the organization. */
function committedName(world: World, organization: string, operation: MoveOperation): Partial<Organization> {
  if (operation.kind === 'move') return {};
  noteChange(world, organization, operation, { name: true });
  if (world.promises.get(operation.name) === organization) world.promises = world.promises.without(operation.name);
  return { name: operation.name, nameOperation: operation.id };
}

const sameTarget = (world: World, actor: RenameActor, operation: MoveOperation): boolean =>
  operation.step === 'moving' && (operation.to === actor.journal.to || !world.rules.commitComparesTarget);

/** The targets of an operation, best first: the slug, then the slug with a token of the operation. */
const candidatesOf = (world: World, { organization, journal }: RenameActor): string[] => {
  const slug = slugOf(journal.name);
  return [slug, `${slug}.${world.rules.singleUse ? journal.id : organization}`];
};

/** Renames an organization, or tries an open move again. */
export const renameSteps: Steps<RenameActor> = {
  // ---- the name
  'claim name': (world, actor) => {
    const { organization, journal } = actor;
    const claim = claimName(world, organization, journal.id, journal.name);
    if (claim.operation === journal.id) return nameClaimed(world, actor);
    if (!world.rules.restamp && claim.organization === organization) return nameClaimed(world, actor);
    return at(actor, 'read name claim');
  },

  'read name claim': (world, actor) => {
    const seen = world.names.get(actor.journal.name);
    if (seen === undefined) return at(actor, 'claim name');
    return seen.operation === actor.journal.id ? nameClaimed(world, actor) : at(actor, 'read owner', { seen });
  },

  'read owner': (world, actor) => {
    const { seen, journal, organization } = actor;
    const own = seen?.organization === organization && !world.rules.ownClaimJudged;
    if (own) return at(actor, 'take name', { seen });
    if (seen === null || !world.rules.takeOver || isInForce(world, journal.name, seen, organization))
      return at(actor, 'refuse name');
    return at(actor, 'take name', { seen });
  },

  'take name': (world, actor) =>
    takeName(world, actor.organization, actor.journal.id, actor.journal.name, actor.seen)
      ? nameClaimed(world, actor)
      : at(actor, 'claim name'),

  'refuse name': (world, actor) => {
    end(world, actor, 'claiming');
    return null;
  },

  /** Only where the rule `renameJournalsFirst` is off: the organization must still be as it was read. */
  'journal late': (world, actor) => {
    const { organization, journal } = actor;
    const owner = world.organizations.get(organization);
    const unchanged = owner?.operation === null && owner.status === 'active' && owner.name === journal.oldName;
    if (!unchanged || owner.collection !== journal.from) return null;
    const operation = { ...journal, step: 'changing' as const };
    updateOrganization(world, organization, { operation });
    return at({ organization, journal: operation }, 'list candidates');
  },

  // ---- the admin's change
  'begin changing': (world, actor) =>
    advance(
      world,
      actor,
      ({ step }) => step === 'claiming',
      (operation) => ({ operation: { ...operation, step: 'changing' } }),
    ),

  'apply admin change': (world, actor, refused) => {
    const { organization, journal } = actor;
    const admin = world.admins.get(organization);
    if (admin === undefined) return null;
    if (refused) return at(actor, world.rules.refusalBumpsVersion ? 'bump admin version' : afterRefusal(world));
    if (world.rules.adminByCompare && admin.version !== journal.adminVersion) return at(actor, 'read admin');
    world.admins = world.admins.with(organization, { version: admin.version + 1, applied: journal.id });
    noteChange(world, organization, journal, { admin: true });
    return adminChanged(actor);
  },

  'read admin': (world, actor) => {
    if (world.admins.get(actor.organization)?.applied === actor.journal.id) return adminChanged(actor);
    return at(actor, afterRefusal(world));
  },

  'bump admin version': (world, actor) => {
    const { organization, journal } = actor;
    const admin = world.admins.get(organization);
    if (admin === undefined) return null;
    if (admin.version !== journal.adminVersion) return at(actor, 'read admin');
    world.admins = world.admins.with(organization, { ...admin, version: admin.version + 1 });
    return at(actor, afterRefusal(world));
  },

  /**
   * Only the instance that ends the operation returns the name. A late one may take the change for refused although it
   * was applied: the admin was changed again since.
   */
  'refuse change': (world, actor) => {
    const ended = end(world, actor, world.rules.changingStep ? 'changing' : 'claiming');
    if (!world.rules.endsBeforeReturn) return null;
    return ended ? at(actor, 'return name') : resumed(world, actor);
  },

  'return name': (world, actor) => {
    const { organization, journal } = actor;
    const claim = world.names.get(journal.name);
    if (claim?.operation === journal.id && claim.organization === organization)
      world.names =
        claim.takenBack === 'none'
          ? world.names.without(journal.name)
          : world.names.with(journal.name, { ...claim, lease: claim.takenBack });
    return world.rules.endsBeforeReturn ? null : at(actor, 'refuse change');
  },

  // ---- the target
  'list candidates': (world, actor) => {
    const candidates = candidatesOf(world, actor).filter((name) => !world.collections.has(name));
    const realId = world.setting.collectionIds ? (world.collections.get(actor.journal.from)?.id ?? '') : '';
    return at(actor, 'claim target', { candidates, realId });
  },

  'claim target': (world, actor) => {
    const { organization, journal, realId } = actor;
    const [target = `${slugOf(journal.name)}.${journal.id}.2`, ...candidates] = actor.candidates;
    const claim = claimCollection(world, organization, journal.id, target);
    if (claim.operation === journal.id) return at(actor, 'journal target', { target, realId });
    if (!world.rules.singleUse && claim.organization === organization) {
      world.claims = world.claims.with(target, { ...claim, operation: journal.id, state: 'held', due: false });
      return at(actor, 'journal target', { target, realId });
    }
    return at(actor, 'claim target', { candidates, realId });
  },

  'journal target': (world, actor) =>
    advance(
      world,
      actor,
      ({ step }) => step === beforeMove(actor),
      (operation) => ({ operation: { ...operation, step: 'moving', to: actor.target, realId: actor.realId } }),
    ),

  /** The collection stays: the slug is the same, or a move is open. */
  'commit name': (world, actor) =>
    advance(
      world,
      actor,
      ({ step }) => step === beforeMove(actor),
      (operation) => ({
        ...committedName(world, actor.organization, operation),
        operation: { ...operation, step: 'releasing' },
      }),
    ),

  // ---- the move
  move: (world, actor, refused) => {
    const { from, to, realId } = actor.journal;
    if (refused) return at(actor, 'leave move open');
    const answer = renameCollection(world, actor.organization, from, to);
    if (answer === 'renamed') return at(actor, 'commit');
    if (answer === 'NamespaceNotFound') return at(actor, 'look for target');
    if (!world.rules.forwardOnly) return at(actor, 'give rename up');
    return at(actor, realId !== '' && world.rules.identifiesCollection ? 'compare ids' : 'commit');
  },

  /** The source is gone: an earlier try moved it, or nothing was there. */
  'look for target': (world, actor) => at(actor, world.collections.has(actor.journal.to) ? 'commit' : 'make target'),

  'make target': (world, actor) => {
    createCollection(world, actor.organization, actor.journal.to);
    return at(actor, 'commit');
  },

  /** The target exists: an earlier try of this operation moved it there, or a client made the target first. */
  'compare ids': (world, actor) => {
    const { from, to, realId } = actor.journal;
    const isMoved = world.collections.get(to)?.id === realId;
    return at(actor, !isMoved && world.collections.get(from)?.id === realId ? 'claim next target' : 'commit');
  },

  'claim next target': (world, actor) => {
    const { organization, journal } = actor;
    const target = `${slugOf(journal.name)}.${journal.id}.${journal.abandoned.length + 3}`;
    claimCollection(world, organization, journal.id, target);
    return at(actor, world.rules.abandonedWaits ? 'journal next target' : 'release target at once', { target });
  },

  /** Only where the rule `abandonedWaits` is off. */
  'release target at once': (world, actor) => {
    markFormer(world, actor.organization, actor.journal.to);
    return at(actor, 'journal next target', { target: actor.target });
  },

  'journal next target': (world, actor) =>
    advance(
      world,
      actor,
      ({ step, to }) => step === 'moving' && (to === actor.journal.to || !world.rules.nextTargetByCompare),
      (operation) => ({
        operation: {
          ...operation,
          to: actor.target,
          abandoned: world.rules.abandonedWaits ? [...operation.abandoned, operation.to] : operation.abandoned,
        },
      }),
    ),

  commit: (world, actor) => {
    const { organization, journal } = actor;
    const committed = advanceMove(
      world,
      organization,
      journal.id,
      (operation) => sameTarget(world, actor, operation),
      (operation) => ({
        ...committedName(world, organization, operation),
        collection: journal.to,
        next: '',
        nextRealId: '',
        nextAbandoned: [],
        operation: world.rules.releasesBeforeEnd ? { ...operation, step: 'releasing' } : null,
      }),
    );
    if (committed) tellTenant(world, organization, journal.to);
    return committed && !world.rules.releasesBeforeEnd ? at(actor, 'release name') : resumed(world, actor);
  },

  /** The server refuses renameCollection: the name is committed, and the move stays open. */
  'leave move open': (world, actor) =>
    advance(
      world,
      actor,
      (operation) => sameTarget(world, actor, operation),
      (operation) => ({
        ...committedName(world, actor.organization, operation),
        ...(world.rules.openMove
          ? {
              next: actor.journal.to,
              nextRealId: operation.realId,
              nextAbandoned: world.rules.abandonedWaitsForMove ? operation.abandoned : [],
            }
          : {}),
        operation: { ...operation, step: 'releasing', stays: true },
      }),
    ),

  /** Only where the rule `forwardOnly` is off: NamespaceExists answers 409. */
  'give rename up': (world, actor) => (end(world, actor, 'moving') ? at(actor, 'give name up') : resumed(world, actor)),

  'give name up': (world, actor) => {
    const { organization, journal } = actor;
    const claim = world.names.get(journal.name);
    if (claim?.operation === journal.id && world.organizations.get(organization)?.name !== journal.name)
      world.names = world.names.without(journal.name);
    return at(actor, 'give target up');
  },

  'give target up': (world, { organization, journal }) => {
    if (world.organizations.get(organization)?.collection !== journal.to) markFormer(world, organization, journal.to);
    return null;
  },

  // ---- what the operation left
  'release name': (world, actor) => {
    const { organization, journal } = actor;
    const claim = world.names.get(journal.oldName);
    const recorded = claim?.operation === journal.oldNameOperation || !world.rules.releaseRecorded;
    if (claim?.organization === organization && recorded && journal.oldName !== journal.name) {
      if (!world.setting.nameLeases) world.names = world.names.without(journal.oldName);
      // The condition only keeps a late instance from making a lease longer: nothing goes wrong without it.
      else if (claim.lease === 'none') {
        world.names = world.names.with(journal.oldName, { ...claim, lease: 'leased' });
        world.promises = world.promises.with(journal.oldName, organization);
      }
    }
    if (!journal.stays) return at(actor, 'release collection');
    return at(actor, world.rules.abandonedWaitsForMove ? 'end' : 'release abandoned');
  },

  'release collection': (world, actor) => {
    markFormer(world, actor.organization, actor.journal.from);
    return at(actor, 'release abandoned');
  },

  'release abandoned': (world, actor) => {
    const { organization, journal, index } = actor;
    const abandoned = journal.abandoned[index];
    if (abandoned === undefined) return at(actor, 'end');
    markFormer(world, organization, abandoned);
    return at(actor, 'release abandoned', { index: index + 1 });
  },

  end: (world, actor) => {
    const { organization, journal } = actor;
    if (!world.rules.refusedOnlyBeforeMove && journal.adminVersion !== 0 && actor.index === 0)
      return at(actor, 'apply admin change');
    advanceMove(
      world,
      organization,
      journal.id,
      () => true,
      () => ({ operation: null }),
    );
    return null;
  },
};
