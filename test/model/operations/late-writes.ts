import { type Actor, asideOf, idOf, isEnded, isLiving, type World } from '../state.ts';
import { dropCollection, mergeDocument, renameCollection, updateClaim } from '../store-calls.ts';
import { mayDrop } from './delete.ts';
import type { Steps } from './steps.ts';

/** Looks at one former or dropped collection name. */
export type LookActor = Actor & {
  readonly verb: 'look';
  readonly name: string;
  readonly aside: string;
  readonly kept: string;
  /** The tenant's collection that the aside is merged into. */
  readonly into: string;
  readonly index: number;
};

type Locals = Partial<Pick<LookActor, 'aside' | 'kept' | 'into' | 'index'>>;

const at = (actor: Pick<LookActor, 'organization' | 'name'>, step: string, locals: Locals = {}): LookActor => ({
  verb: 'look',
  organization: actor.organization,
  name: actor.name,
  step,
  aside: '',
  kept: '',
  into: '',
  index: 0,
  ...locals,
});

export const startLook = (organization: string, name: string): LookActor => at({ organization, name }, 'read claim');

/** Looks after which a name is forgotten, where the rule `looksNeverEnd` is off. */
const LAST_LOOK = 2;

const documentsOf = (world: World, name: string): readonly string[] => world.collections.get(name)?.documents ?? [];

/** The asides to merge: those that are recorded and not kept. */
function asidesOf(world: World, actor: LookActor): string[] {
  const { asides = {} } = world.claims.get(actor.name) ?? {};
  return Object.keys(asides)
    .filter((name) => asides[name] === 'recorded')
    .sort();
}

const isAllThere = (world: World, { aside, into }: LookActor): boolean => {
  const there = documentsOf(world, into);
  return documentsOf(world, aside).every((document) => there.includes(document));
};

const clashes = (world: World, { aside, into }: LookActor): boolean => {
  const there = documentsOf(world, into);
  return documentsOf(world, aside).some((document) =>
    there.some((other) => idOf(other) === idOf(document) && other !== document),
  );
};

const keptName = (world: World, { name, aside }: LookActor): string => `!${aside}.${world.serial(`kept ${name}`)}`;

/** Documents that are kept apart are reported to the tenant, and must not come in afterwards. */
function report(world: World, organization: string, name: string): void {
  const current = documentsOf(world, world.organizations.get(organization)?.collection ?? '');
  for (const document of documentsOf(world, name))
    if (!current.includes(document) && world.documents.get(document) === 'written')
      world.documents = world.documents.with(document, 'reported');
}

/**
 * Brings late writes from a former name into the tenant's collection, by way of an aside; drops what a dropped claim
 * names. Every actor may be arbitrarily late at every step.
 */
export const lookSteps: Steps<LookActor> = {
  'read claim': (world, actor) => {
    const claim = world.claims.get(actor.name);
    if (claim === undefined || claim.state === 'held' || claim.state === 'foreign') return null;
    if (world.rules.dropByClaim && claim.state === 'dropped') return at(actor, 'drop');
    return at(actor, 'read owner');
  },

  'read owner': (world, actor) => {
    const owner = world.organizations.get(actor.organization);
    if (owner === undefined) return null; // reported, never judged
    if (world.rules.dropByClaim) {
      if (isEnded(owner)) return null; // its erasure, repeated, drops
    } else if (owner.status !== 'active') return at(actor, 'drop');
    const { operation } = owner;
    const target = operation !== null && 'to' in operation ? operation.to : '';
    if (!world.rules.singleUse && [owner.collection, owner.next, target].includes(actor.name)) return null;
    return at(actor, 'look');
  },

  look: (world, actor) => {
    if (!world.collections.has(actor.name)) {
      const looks = (world.claims.get(actor.name)?.looks ?? 0) + 1;
      if (!world.rules.looksNeverEnd) updateClaim(world, actor.name, { looks, due: looks < LAST_LOOK });
      return at(actor, 'list asides');
    }
    const aside = world.rules.freshAside
      ? asideOf(actor.organization, actor.name, world.serial(`aside ${actor.name}`))
      : asideOf(actor.organization, actor.name, 0);
    return world.rules.recordedAside ? at(actor, 'record aside', { aside }) : at(actor, 'set aside', { aside });
  },

  'record aside': (world, actor) => {
    const { aside } = actor;
    const claim = world.claims.get(actor.name);
    if (claim === undefined) return null;
    if (claim.asides[aside] === undefined)
      updateClaim(world, actor.name, { asides: { ...claim.asides, [aside]: 'recorded' } });
    return at(actor, world.rules.recordedAside ? 'set aside' : 'list asides', { aside });
  },

  'set aside': (world, actor) => {
    const owner = world.organizations.get(actor.organization);
    const current = isLiving(owner) && owner.collection === actor.name;
    if (current && world.collections.get(actor.name)?.id.startsWith(`${actor.organization}#`))
      world.violate('swept own', `${actor.name} is where ${actor.organization} is`);
    const { aside } = actor;
    renameCollection(world, actor.organization, actor.name, aside);
    return at(actor, world.rules.recordedAside ? 'list asides' : 'record aside', { aside });
  },

  'list asides': (world, actor) => {
    const aside = asidesOf(world, actor).find((name) => world.collections.has(name));
    return aside === undefined ? null : at(actor, 'read placement', { aside });
  },

  'read placement': (world, actor) => {
    const owner = world.organizations.get(actor.organization);
    if (owner === undefined || isEnded(owner)) return null;
    return at(actor, 'merge', { aside: actor.aside, into: owner.collection });
  },

  merge: (world, actor) => {
    const { aside, into, index } = actor;
    if (!world.collections.has(aside)) return at(actor, 'list asides');
    const { length } = documentsOf(world, aside);
    if (index < length) mergeDocument(world, actor.organization, aside, into, index);
    return index + 1 < length
      ? at(actor, 'merge', { aside, into, index: index + 1 })
      : at(actor, 'compare', { aside, into });
  },

  compare: (world, actor) => {
    const { aside, into } = actor;
    if (!world.collections.has(aside)) return at(actor, 'list asides');
    if (world.rules.droppedWhenEqual ? isAllThere(world, actor) : !clashes(world, actor))
      return at(actor, 'drop aside', { aside });
    if (world.rules.keptApart) return at(actor, 'read placement again', { aside, into });
    report(world, actor.organization, aside);
    return null;
  },

  /** Where the organization has moved on, the aside is left to a later look. */
  'read placement again': (world, actor) => {
    const owner = world.organizations.get(actor.organization);
    return !world.rules.placementReadAgain || (owner?.operation === null && owner.collection === actor.into)
      ? at(actor, world.rules.keptRecorded ? 'record kept' : 'keep', { aside: actor.aside })
      : null;
  },

  'record kept': (world, actor) => {
    const { aside } = actor;
    const kept = actor.kept || keptName(world, actor);
    const { asides = {} } = world.claims.get(actor.name) ?? {};
    updateClaim(world, actor.name, { asides: { ...asides, [kept]: 'kept' as const } });
    return world.rules.keptRecorded ? at(actor, 'keep', { aside, kept }) : at(actor, 'forget aside', { aside });
  },

  keep: (world, actor) => {
    const { aside, kept } = actor;
    if (renameCollection(world, actor.organization, aside, kept) === 'renamed') report(world, actor.organization, kept);
    return at(actor, 'forget aside', { aside });
  },

  'drop aside': (world, actor) => {
    dropCollection(world, actor.organization, actor.aside, true);
    return at(actor, 'forget aside', { aside: actor.aside });
  },

  'forget aside': (world, actor) => {
    const { [actor.aside]: _, ...asides } = world.claims.get(actor.name)?.asides ?? {};
    updateClaim(world, actor.name, { asides });
    return at(actor, 'list asides');
  },

  drop: (world, actor) => {
    const dropped = world.claims.get(actor.name)?.state === 'dropped';
    const status = world.organizations.get(actor.organization)?.status;
    if (mayDrop(world, actor.name))
      dropCollection(
        world,
        actor.organization,
        actor.name,
        dropped || (!world.rules.dropByClaim && status !== 'active'),
      );
    return at(actor, 'drop asides');
  },

  'drop asides': (world, actor) => {
    const { asides = {} } = world.claims.get(actor.name) ?? {};
    const aside = Object.keys(asides)
      .sort()
      .find((name) => world.collections.has(name));
    if (aside === undefined) return null;
    dropCollection(world, actor.organization, aside, true);
    return at(actor, 'drop asides');
  },
};
