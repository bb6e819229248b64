import type { Actor, World } from '../state.ts';
import { dropCollection, updateClaim } from '../store-calls.ts';
import type { Steps } from './steps.ts';

/** Erases an organization: a delete without retention, a purge, a create that is rolled back, a repeated erasure. */
export type DeleteActor = Actor & {
  readonly verb: 'delete';
  /** The dropped claims that were listed. */
  readonly claims: readonly string[];
  readonly index: number;
};

const at = (
  actor: Pick<DeleteActor, 'organization'>,
  step: string,
  claims: readonly string[] = [],
  index = 0,
): DeleteActor => ({
  verb: 'delete',
  organization: actor.organization,
  step,
  claims,
  index,
});

export const startDelete = (organization: string): DeleteActor => at({ organization }, 'mark dropped');

/** Whether the erasure is that of a create which never became active. */
const isUnused = (world: World, organization: string): boolean =>
  world.organizations.get(organization)?.unused === true;

/** Whether a look or an erasure may drop this collection now: another application's documents are never dropped. */
export const mayDrop = (world: World, name: string): boolean =>
  !world.rules.unusedDroppedWhenEmpty ||
  world.claims.get(name)?.unused !== true ||
  world.collections.get(name)?.documents.length === 0;

/** Always rolled forward; every step can be repeated. */
export const deleteSteps: Steps<DeleteActor> = {
  /** One updateMany by organization and state: not atomic as a whole. A foreign collection is left alone. */
  'mark dropped': (world, actor) => {
    const { organization } = actor;
    const name = world.claims.keys().find((claimed) => {
      const claim = world.claims.get(claimed);
      return claim?.organization === organization && (claim.state === 'held' || claim.state === 'former');
    });
    if (name === undefined) return listDropped(world, actor);
    updateClaim(world, name, { state: 'dropped', due: true, looks: 0, unused: isUnused(world, organization) });
    return actor;
  },

  'drop collections': (world, actor) => {
    const name = actor.claims[actor.index];
    if (name === undefined) return removeAdmins(world, actor);
    if (mayDrop(world, name))
      dropCollection(world, actor.organization, name, world.claims.get(name)?.state === 'dropped');
    return at(actor, 'drop collections', actor.claims, actor.index + 1);
  },

  /** One deleteMany by organization: not atomic as a whole. */
  'release names': (world, actor) => {
    const names = world.names.keys();
    for (let index = actor.index; index < names.length; index++) {
      const name = names[index] as string;
      if (world.names.get(name)?.organization !== actor.organization) continue;
      world.names = world.names.without(name);
      return at(actor, 'release names', [], index);
    }
    return at(actor, 'leave stub');
  },

  'leave stub': (world, { organization }) => {
    const owner = world.organizations.get(organization);
    if (owner?.status !== 'deleting') return null;
    if (!world.rules.keepRolledBackClaims && isUnused(world, organization))
      for (const name of world.claims.keys())
        if (world.claims.get(name)?.organization === organization) world.claims = world.claims.without(name);
    world.organizations = world.rules.stub
      ? world.organizations.with(organization, {
          status: 'erased',
          name: '',
          nameOperation: '',
          collection: '',
          next: '',
          nextRealId: '',
          nextAbandoned: [],
          operation: null,
          unused: owner.unused,
        })
      : world.organizations.without(organization);
    return null;
  },
};

const listDropped = (world: World, { organization }: DeleteActor): DeleteActor => {
  const claims = world.claims.keys().filter((name) => {
    const claim = world.claims.get(name);
    return claim?.organization === organization && claim.state === 'dropped';
  });
  return at({ organization }, 'drop collections', claims);
};

const removeAdmins = (world: World, actor: DeleteActor): DeleteActor => {
  world.admins = world.admins.without(actor.organization);
  return at(actor, 'release names');
};
