/**
 * What a sequential Tenantry would do with names: the specification that histories of the concurrent one are checked
 * against.
 *
 * A name is free, or it is one organization's: of an active one, of a deleted one that is kept, or left by a rename
 * and leased. Create takes a free name. Rename moves an organization from one name to another that is free, in one step.
 * Delete frees the name. Get sees the owner. Login succeeds if and only if the active organization of that name has an
 * admin of that email and password. A token is good if and only if the organization is active and neither epoch was
 * raised since: a delete, a restore and a change of the admin raise one, a rename does not.
 *
 * A call takes effect within its own time, in one step, with these exceptions:
 * - A change is authorized at one instant and takes effect at a later one. What there is to change, and whether a delete
 *   names its own organization, is decided at the first. Between the two the organization's epoch stays the same (a
 *   delete by another ends the change in a conflict), and for a change of the admin the admin's.
 * - A token is checked against the admin, and then, or at once, against the organization: what another change does to
 *   both between the two may lead to a refusal, or to an answer that nothing was changed.
 * - An update of both the admin and the name changes the admin first. It does not stop between the two for good.
 * - A login reads the organization and then its admin.
 * - 409 `conflict` and `operation_in_progress` have no effect and may be answered at any time to a token that is good.
 * - 409 `organization_name_taken` may also be answered while another call that is under way has the name claimed,
 *   though that one may not have taken effect yet, or never will. A call that was itself answered so does not count:
 *   of callers who want the same free name, one gets it.
 * - A restore may be answered 401 while the delete or another restore is under way. A get may be answered 404 for a leased
 *   name while the rename is.
 * - A login without the organization's name looks at several organizations, one after another: it is not checked that
 *   it finds all of them, and no other.
 */
import type { Interval, Progress, Specification } from '../support/linearizable.ts';
import { DONE } from '../support/linearizable.ts';

/** What the holder of a token knows of it. */
export type Token = {
  readonly text: string;
  readonly organizationId: string;
  readonly organization: string;
  readonly epoch: number;
  readonly jti: string;
};

export type Request =
  | { readonly kind: 'create'; readonly name: string; readonly email: string; readonly password: string }
  | { readonly kind: 'get'; readonly name: string }
  | {
      readonly kind: 'login';
      readonly name: string | undefined;
      readonly email: string;
      readonly password: string;
    }
  | {
      readonly kind: 'update';
      readonly token: Token;
      readonly name: string | undefined;
      readonly email: string | undefined;
      readonly password: string | undefined;
    }
  | { readonly kind: 'delete'; readonly token: Token }
  | { readonly kind: 'restore'; readonly name: string; readonly email: string; readonly password: string };

export type Reply = {
  /** `ok`, or the problem's. */
  readonly code: string;
  readonly organizationId?: string | undefined;
  /** The organization's, as the answer has it. */
  readonly name?: string | undefined;
  readonly token?: Token | undefined;
};

export type Call = Interval & {
  readonly id: number;
  readonly client: string;
  readonly request: Request;
  /** Undefined: none came. */
  readonly reply: Reply | undefined;
  /** For a create: the id that it journaled, if it got that far. */
  readonly createdId: string | undefined;
};

type Organization = {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly password: string;
  /** `kept`: deleted, and can be restored. One that is gone stays in the list for calls that have just read its admin. */
  readonly status: 'active' | 'kept' | 'gone';
  readonly organizationEpoch: number;
  readonly adminEpoch: number;
  /** Keys of the names that it left and that are leased to it. */
  readonly left: readonly string[];
};

export type Names = readonly Organization[];

type Next = { readonly state: Names; readonly progress: string };

export type NamesOptions = {
  /** Whether names are leased after a rename, for longer than any history lasts. */
  readonly leased: boolean;
  /** Whether deleted organizations are kept, for longer than any history lasts. */
  readonly kept: boolean;
};

export const keyOf = (name: string): string => name.toLowerCase();

/** The specification, for a history: the other calls that explain a refusal are looked up in it. */
export function createNamesSpecification(calls: readonly Call[], options: NamesOptions): Specification<Names, Call> {
  const contention = contentionOf(calls);
  return {
    initial: [],
    step: (state, call, progress) => {
      const done = (next: Names = state): Next[] => [{ state: next, progress: DONE }];
      const at = (where: string, next: Names = state): Next[] => [{ state: next, progress: where }];
      const world: World = { state, call, progress, options, contention, done, at };
      switch (call.request.kind) {
        case 'create':
          return create(world, call.request);
        case 'get':
          return get(world, call.request);
        case 'login':
          return login(world, call.request);
        case 'update':
          return update(world, call.request);
        case 'delete':
          return remove(world, call.request);
        case 'restore':
          return restore(world, call.request);
      }
    },
    mayStop: (_, progress) => progress === undefined || !progress.startsWith('admin changed'),
  };
}

type World = {
  readonly state: Names;
  readonly call: Call;
  readonly progress: Progress;
  readonly options: NamesOptions;
  readonly contention: Contention;
  /** The call has taken its last step. */
  readonly done: (next?: Names) => Next[];
  /** It has taken one step of several. */
  readonly at: (where: string, next?: Names) => Next[];
};

const NO_EFFECT: readonly string[] = ['conflict', 'operation_in_progress'];

function create({ state, call, contention, done }: World, request: Request & { kind: 'create' }): Next[] {
  const { reply, createdId } = call;
  const { name, email, password } = request;
  if (reply?.code === 'organization_name_taken') {
    return !isFree(state, keyOf(name)) || contention.claims(call, keyOf(name)) ? done() : [];
  }
  if (reply !== undefined && reply.code !== 'ok') return [];
  const id = reply?.code === 'ok' ? reply.organizationId : createdId;
  if (id === undefined || !isFree(state, keyOf(name))) return [];
  const created: Organization = {
    id,
    name,
    email,
    password,
    status: 'active',
    organizationEpoch: 1,
    adminEpoch: 1,
    left: [],
  };
  return done([...state, created]);
}

function get(
  { state, call, progress, options, contention, done, at }: World,
  { name }: Request & { kind: 'get' },
): Next[] {
  const key = keyOf(name);
  const owner = ownerOf(state, key);
  const { reply } = call;
  if (reply === undefined) return done();
  if (reply.code === 'ok') return owner?.id === reply.organizationId && owner?.name === reply.name ? done() : [];
  if (progress === undefined) return owner === undefined ? at('no owner') : [];
  const leaver = state.find(({ left }) => left.includes(key));
  if (reply.code === 'organization_renamed') {
    const [, leaverId] = progress.split(': ');
    if (leaverId === undefined) return leaver === undefined ? [] : at(`left by: ${leaver.id}`);
    const now = find(state, leaverId);
    return now?.status === 'active' && now.name === reply.name ? done() : [];
  }
  if (reply.code !== 'organization_not_found') return [];
  return !options.leased || leaver?.status !== 'active' || contention.leaves(call) ? done() : [];
}

function login({ state, call, progress, done, at }: World, request: Request & { kind: 'login' }): Next[] {
  const { reply } = call;
  if (reply === undefined) return done();
  const fits = (organization: Organization | undefined) =>
    organization?.email === request.email && organization.password === request.password;
  if (reply.code === 'ok') {
    const organization = find(state, reply.organizationId);
    const named = organization?.status === 'active' && organization.name === reply.name;
    if (request.name === undefined) {
      if (progress === undefined) return fits(organization) ? at('admin read') : [];
      return named ? done() : [];
    }
    if (progress === undefined)
      return named && organization.name !== undefined && keyOf(organization.name) === keyOf(request.name)
        ? at('organization read')
        : [];
    return fits(organization) ? done() : [];
  }
  if (request.name === undefined)
    return reply.code === 'organization_required' || reply.code === 'invalid_credentials' ? done() : [];
  if (reply.code !== 'invalid_credentials') return [];
  if (progress === undefined) {
    const owner = ownerOf(state, keyOf(request.name));
    return owner === undefined ? done() : at(owner.id);
  }
  const organization = find(state, progress);
  return organization?.status === 'gone' || !fits(organization) ? done() : [];
}

function update(world: World, request: Request & { kind: 'update' }): Next[] {
  const { state, call, progress, done, at } = world;
  const { token, name, email, password } = request;
  const { reply } = call;
  const organization = find(state, token.organizationId);
  if (organization === undefined) return [];
  if (progress === undefined) {
    const renames = name !== undefined && name !== organization.name;
    const changesAdmin = (email !== undefined && email !== organization.email) || password !== undefined;
    const isUnchanged = reply?.code === 'ok' && reply.token === undefined;
    const read = isUnchanged && !changesAdmin && isGood(organization, token) ? at('admin read') : [];
    if (!agrees(request, reply, { renames, changesAdmin })) return read;
    const changes = `${renames ? 'name' : ''}${changesAdmin ? 'admin' : ''}`;
    return [...read, ...authorize(world, organization, token, changes)];
  }
  if (progress === 'admin read') {
    return organization.status === 'active' && (name ?? organization.name) === organization.name ? done() : [];
  }

  const [where = '', epoch, changes = ''] = progress.split(': ');
  const renames = name !== undefined && changes.startsWith('name');
  if (reply?.code === 'organization_name_taken') {
    return where === 'authorized' && renames ? taken(world, organization, name) : [];
  }
  if (reply !== undefined && reply.code !== 'ok') return [];
  if (changes === '') return done();

  const organizationEpoch = Number(epoch);
  if (where === 'authorized' && changes.endsWith('admin')) {
    if (organization.adminEpoch !== token.epoch - organizationEpoch) return [];
    const changed = replace(state, {
      ...organization,
      email: email ?? organization.email,
      password: password ?? organization.password,
      adminEpoch: organization.adminEpoch + 1,
    });
    return renames ? at(`admin changed: ${epoch}: ${changes}`, changed) : done(changed);
  }
  const asAuthorized = organization.status === 'active' && organization.organizationEpoch === organizationEpoch;
  if (!renames || !asAuthorized || !isFree(state, keyOf(name), organization.id)) return [];
  return done(replace(state, renamed(world, organization, name)));
}

/** Whether the answer, if it is a good one, is that of an update that changes this. */
function agrees(
  { token, name }: Request & { kind: 'update' },
  reply: Reply | undefined,
  { renames, changesAdmin }: { readonly renames: boolean; readonly changesAdmin: boolean },
): boolean {
  if (reply?.code !== 'ok') return true;
  if (reply.organizationId !== token.organizationId) return false;
  if (name !== undefined && keyOf(reply.name ?? '') !== keyOf(name)) return false;
  // Where nothing changes there is no token; a rename alone raises no epoch.
  if (!renames && !changesAdmin) return reply.token === undefined;
  return reply.token?.epoch === token.epoch + Number(changesAdmin);
}

/** The first step of a change: its token is good, or it is not. */
function authorize({ call, done, at }: World, organization: Organization, token: Token, changes: string): Next[] {
  const code = call.reply?.code;
  if (!isGood(organization, token)) return code === undefined || code === 'invalid_token' ? done() : [];
  if (code === 'invalid_token') return [];
  if (code !== undefined && NO_EFFECT.includes(code)) return done();
  return at(`authorized: ${organization.organizationEpoch}: ${changes}`);
}

/** A name is claimed before anything is changed. */
function taken({ state, call, contention, done }: World, organization: Organization, name: string): Next[] {
  return !isFree(state, keyOf(name), organization.id) || contention.claims(call, keyOf(name)) ? done() : [];
}

function renamed({ options }: World, organization: Organization, name: string): Organization {
  const from = keyOf(organization.name);
  const key = keyOf(name);
  const left = organization.left.filter((other) => other !== key);
  return { ...organization, name, left: options.leased && from !== key ? [...left, from].sort() : left };
}

function remove(world: World, { token }: Request & { kind: 'delete' }): Next[] {
  const { state, call, progress, options, done, at } = world;
  const { reply } = call;
  const organization = find(state, token.organizationId);
  if (organization === undefined) return [];
  const isNamed = keyOf(token.organization) === keyOf(organization.name);
  if (progress === undefined) {
    if (reply?.code === 'forbidden' || reply?.code === 'organization_renamed') {
      return isGood(organization, token) ? at('admin read') : [];
    }
    if (isGood(organization, token) && !isNamed) return reply === undefined ? done() : [];
    return authorize(world, organization, token, 'gone');
  }
  if (progress === 'admin read') {
    const isSaid = reply?.code === 'forbidden' || (options.leased && reply?.name === organization.name);
    return organization.status === 'active' && !isNamed && isSaid ? done() : [];
  }
  if (reply !== undefined && reply.code !== 'ok') return [];
  const [, epoch] = progress.split(': ');
  if (organization.status !== 'active' || organization.organizationEpoch !== Number(epoch)) return [];
  const deleted: Organization = {
    ...organization,
    status: options.kept ? 'kept' : 'gone',
    organizationEpoch: organization.organizationEpoch + 1,
    left: options.kept ? organization.left : [],
  };
  return done(replace(state, deleted));
}

function restore(world: World, request: Request & { kind: 'restore' }): Next[] {
  const { state, call, contention, done } = world;
  const { reply } = call;
  const kept = state.find(({ name, status }) => status === 'kept' && keyOf(name) === keyOf(request.name));
  const fits = kept?.email === request.email && kept.password === request.password ? kept : undefined;
  if (reply !== undefined && NO_EFFECT.includes(reply.code)) return done();
  if (reply?.code === 'invalid_credentials') return fits === undefined || contention.keeps(call) ? done() : [];
  if (fits === undefined || (reply?.code === 'ok' && reply.organizationId !== fits.id)) return [];
  if (reply !== undefined && reply.code !== 'ok') return [];
  return done(replace(state, { ...fits, status: 'active', organizationEpoch: fits.organizationEpoch + 1 }));
}

const find = (state: Names, id: string | undefined): Organization | undefined => state.find((one) => one.id === id);

const ownerOf = (state: Names, key: string): Organization | undefined =>
  state.find(({ name, status }) => status === 'active' && keyOf(name) === key);

const isFree = (state: Names, key: string, besides?: string): boolean =>
  !state.some(
    ({ id, name, status, left }) => id !== besides && status !== 'gone' && (keyOf(name) === key || left.includes(key)),
  );

const replace = (state: Names, changed: Organization): Names =>
  state.map((organization) => (organization.id === changed.id ? changed : organization));

const isGood = ({ status, organizationEpoch, adminEpoch }: Organization, { epoch }: Token): boolean =>
  status === 'active' && organizationEpoch + adminEpoch === epoch;

export const tokenOf = ({ request }: Call): Token | undefined =>
  request.kind === 'update' || request.kind === 'delete' ? request.token : undefined;

/** What other calls, under way at the same time as one, may be the reason of. */
type Contention = {
  /** That a name is claimed. */
  claims(call: Call, key: string): boolean;
  /** That some name is being left. */
  leaves(call: Call): boolean;
  /** That an organization is being deleted or restored. */
  keeps(call: Call): boolean;
};

function contentionOf(calls: readonly Call[]): Contention {
  const anyOther = (call: Call, isReason: (other: Call) => boolean): boolean =>
    calls.some(
      (other) => other !== call && other.invoked < call.returned && call.invoked < other.returned && isReason(other),
    );
  return {
    claims: (call, key) =>
      anyOther(call, ({ request, reply }) => {
        const wants = request.kind === 'create' || request.kind === 'update' ? request.name : undefined;
        return wants !== undefined && keyOf(wants) === key && reply?.code !== 'organization_name_taken';
      }),
    leaves: (call) => anyOther(call, ({ request }) => request.kind === 'update' && request.name !== undefined),
    keeps: (call) => anyOther(call, ({ request }) => request.kind === 'delete' || request.kind === 'restore'),
  };
}
