import type { Actor } from '../state.ts';
import type { Steps } from './steps.ts';

/** Changes an admin outside of a rename: a new password, say. */
export type EditActor = Actor & {
  readonly verb: 'edit';
  /** The version of the admin that was read. */
  readonly version: number;
};

export const startEdit = (organization: string): EditActor => ({
  verb: 'edit',
  organization,
  step: 'read admin',
  version: 0,
});

export const editSteps: Steps<EditActor> = {
  'read admin': (world, actor) => {
    const admin = world.admins.get(actor.organization);
    if (admin === undefined) return null;
    const { version } = admin;
    return { ...actor, step: world.rules.editWaits ? 'wait for operation' : 'write admin', version };
  },

  /** The organization is read after the admin: a rename that this version of the admin knows of is found. */
  'wait for operation': (world, actor) => {
    const owner = world.organizations.get(actor.organization);
    if (owner?.status !== 'active') return null;
    return owner.operation === null ? { ...actor, step: 'write admin' } : actor;
  },

  /** The write replaces the id of the operation that changed the admin last. */
  'write admin': (world, { organization, version }) => {
    const admin = world.admins.get(organization);
    if (admin?.version === version)
      world.admins = world.admins.with(organization, { version: version + 1, applied: 'edit' });
    return null;
  },
};
