import type { Actor } from '../state.ts';
import type { Steps } from './steps.ts';

/** Deletes the expired lease of one name. */
export type LeaseActor = Actor & { readonly verb: 'lease'; readonly name: string; readonly operation: string };

export const startLeaseWork = (organization: string, name: string): LeaseActor => ({
  verb: 'lease',
  organization,
  name,
  step: 'read lease',
  operation: '',
});

export const leaseSteps: Steps<LeaseActor> = {
  'read lease': (world, actor) => {
    const claim = world.names.get(actor.name);
    return claim?.lease === 'expired' ? { ...actor, step: 'delete lease', operation: claim.operation } : null;
  },

  'delete lease': (world, actor) => {
    const claim = world.names.get(actor.name);
    const asRead = claim?.operation === actor.operation && claim.lease === 'expired';
    if (asRead || !world.rules.leaseDeleteCompares) world.names = world.names.without(actor.name);
    return null;
  },
};
