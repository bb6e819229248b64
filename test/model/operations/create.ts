import { type Actor, type NameClaim, slugOf, type World } from '../state.ts';
import {
  claimCollection,
  claimName,
  createCollection,
  isInForce,
  takeName,
  tellTenant,
  updateClaim,
  updateOrganization,
} from '../store-calls.ts';
import type { Steps } from './steps.ts';

export type CreateActor = Actor & {
  readonly verb: 'create';
  readonly operation: string;
  readonly name: string;
  /** The name claim that was in the way. */
  readonly seen: NameClaim | null;
  /** Collection names to try, best first. */
  readonly candidates: readonly string[];
  readonly target: string;
};

type Locals = Partial<Pick<CreateActor, 'seen' | 'candidates' | 'target'>>;

const at = (actor: CreateActor, step: string, locals: Locals = {}): CreateActor => ({
  verb: 'create',
  organization: actor.organization,
  operation: actor.operation,
  name: actor.name,
  step,
  seen: null,
  candidates: [],
  target: '',
  ...locals,
});

export const startCreate = (world: World, organization: string, operation: string, name: string): CreateActor => ({
  verb: 'create',
  organization,
  operation,
  name,
  step: world.rules.createJournalsFirst ? 'journal' : 'claim name',
  seen: null,
  candidates: [],
  target: '',
});

function journal(world: World, { organization, operation, name }: CreateActor): void {
  world.organizations = world.organizations.with(organization, {
    status: 'creating',
    name,
    nameOperation: '',
    collection: '',
    next: '',
    nextRealId: '',
    nextAbandoned: [],
    operation: { id: operation, kind: 'create' },
    unused: false,
  });
}

const nameClaimed = (world: World, actor: CreateActor): CreateActor =>
  at(actor, world.rules.createJournalsFirst ? 'list candidates' : 'journal late');

/** Creates an organization. The commit point is `active`; before it, anyone may roll the create back to a stub. */
export const createSteps: Steps<CreateActor> = {
  journal: (world, actor) => {
    // An insert: where the organization exists, an earlier try made it.
    if (!world.organizations.has(actor.organization)) journal(world, actor);
    return at(actor, 'claim name');
  },

  'journal late': (world, actor) => {
    if (world.organizations.has(actor.organization)) return null;
    journal(world, actor);
    return at(actor, 'list candidates');
  },

  'claim name': (world, actor) => {
    const claim = claimName(world, actor.organization, actor.operation, actor.name);
    return claim.operation === actor.operation ? nameClaimed(world, actor) : at(actor, 'read name claim');
  },

  'read name claim': (world, actor) => {
    const seen = world.names.get(actor.name);
    return seen === undefined ? at(actor, 'claim name') : at(actor, 'read owner', { seen });
  },

  'read owner': (world, actor) => {
    const { seen } = actor;
    if (seen === null || !world.rules.takeOver || isInForce(world, actor.name, seen, actor.organization))
      return at(actor, 'refuse');
    return at(actor, 'take name', { seen });
  },

  'take name': (world, actor) =>
    takeName(world, actor.organization, actor.operation, actor.name, actor.seen)
      ? nameClaimed(world, actor)
      : at(actor, 'claim name'),

  /** The name is taken. Nothing else was made, so that no stub is needed. */
  refuse: (world, actor) => {
    if (world.organizations.get(actor.organization)?.status === 'creating')
      world.organizations = world.organizations.without(actor.organization);
    return null;
  },

  'list candidates': (world, actor) => {
    const slug = slugOf(actor.name);
    const candidates = [slug, `${slug}.${actor.operation}`].filter((name) => !world.collections.has(name));
    return at(actor, 'claim collection', { candidates });
  },

  'claim collection': (world, actor) => {
    const [target = `${slugOf(actor.name)}.${actor.operation}.2`, ...candidates] = actor.candidates;
    const claim = claimCollection(world, actor.organization, actor.operation, target);
    return claim.operation === actor.operation && claim.state !== 'foreign'
      ? at(actor, 'create collection', { target, candidates })
      : at(actor, 'claim collection', { candidates });
  },

  'create collection': (world, actor) => {
    const { target, candidates } = actor;
    return createCollection(world, actor.organization, target)
      ? at(actor, 'insert admin', { target })
      : at(actor, 'give collection up', { target, candidates });
  },

  /** Another application made the collection: the claim says so for ever, and the next candidate is taken. */
  'give collection up': (world, actor) => {
    const claim = world.claims.get(actor.target);
    if (claim?.operation !== actor.operation || claim.state !== 'held') return null;
    if (world.rules.foreignUntouched) updateClaim(world, actor.target, { state: 'foreign' });
    else updateClaim(world, actor.target, { state: 'former', due: true });
    return at(actor, 'claim collection', { candidates: actor.candidates });
  },

  'insert admin': (world, actor) => {
    world.admins = world.admins.with(actor.organization, { version: 1, applied: '' });
    return at(actor, 'commit', { target: actor.target });
  },

  commit: (world, actor) => {
    const { organization, operation, target } = actor;
    if (world.organizations.get(organization)?.status !== 'creating') return null;
    updateOrganization(world, organization, {
      status: 'active',
      nameOperation: operation,
      collection: target,
      operation: null,
    });
    tellTenant(world, organization, target);
    return null;
  },
};
