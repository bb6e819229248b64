/**
 * Plays traces of the model (test/model) against the real code: the same actors, each held at its store calls, and let
 * on in the order of the trace. A trace shows what goes wrong without a rule. The code has the rule, so some step of the
 * trace never comes; then the actor is left where it is, and at the end everything must be as it has to be.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization, purgeOrganization } from '../../src/domain/organization/delete.ts';
import { eraseOrganization } from '../../src/domain/organization/erase.ts';
import { resumeExpired } from '../../src/domain/organization/journal.ts';
import { tryOpenMove } from '../../src/domain/organization/rename.ts';
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { syncLateWrites } from '../../src/domain/tenant-data/late-writes.ts';
import type { Command, Executor } from '../../src/store/port.ts';
import { READS, StoreError } from '../../src/store/port.ts';
import type { Scenario as ModelScenario } from '../model/scenarios.ts';
import type { TraceStep } from '../model/search.ts';
import { Crashed } from '../support/faults.ts';
import { UNCOUNTED } from '../support/invariants.ts';
import { emailOf, PASSWORD, restore } from '../support/requests.ts';
import { FOREIGN } from '../support/tenant-guard.ts';
import type { CallPlan, World } from '../support/world.ts';
import { createStage, DAY_MS, HOUR_MS } from '../support/world.ts';
import { lookThrough } from './experiment.ts';

type Matches = (command: Command) => boolean;

const NAMES: Readonly<Record<string, string>> = { a: 'Alpha', b: 'Beta', c: 'Gamma', g: 'Delta' };

/** The name that stands for one of the model's: `b'` is another name of the same collection as `b`. */
const nameOf = (name: string): string => `${NAMES[name.charAt(0)] ?? name}${'!'.repeat(name.length - 1)}`;

const idIn = (command: Command): string => {
  if (command.op === 'insertOne') return command.document._id;
  return 'filter' in command && typeof command.filter['_id'] === 'string' ? command.filter['_id'] : '';
};

const on =
  (collection: string, prefix: string, ...ops: readonly Command['op'][]): Matches =>
  (command) =>
    'collection' in command &&
    command.collection === collection &&
    ops.includes(command.op) &&
    idIn(command).startsWith(prefix);

const ofOp =
  (op: Command['op']): Matches =>
  (command) =>
    command.op === op;

const JOURNAL = on('organizations', '', 'findOneAndUpdate', 'updateOne');
const RELEASE_NAME = on('claims', 'name:', 'deleteOne', 'updateOne');
const CLAIM_NAME = on('claims', 'name:', 'insertOne', 'updateOne');
const CLAIM_COLLECTION = on('claims', 'collection:', 'insertOne');
const CHANGE_CLAIM = on('claims', 'collection:', 'findOneAndUpdate', 'updateOne');
const CHANGE_ADMIN = on('admins', '', 'updateOne');

/** The store call that a step of the model stands for. Steps that are not here only read, or are part of another call. */
const CALLS: Readonly<Record<string, Matches>> = {
  'claim name': CLAIM_NAME,
  'take name': CLAIM_NAME,
  'claim target': CLAIM_COLLECTION,
  'claim next target': CLAIM_COLLECTION,
  'create collection': ofOp('createCollection'),
  'journal target': JOURNAL,
  'journal next target': JOURNAL,
  'begin changing': JOURNAL,
  'refuse name': JOURNAL,
  'refuse change': JOURNAL,
  commit: JOURNAL,
  activate: JOURNAL,
  end: JOURNAL,
  'leave stub': JOURNAL,
  move: ofOp('renameCollection'),
  'set aside': ofOp('renameCollection'),
  keep: ofOp('renameCollection'),
  merge: ofOp('mergeCollection'),
  'drop aside': ofOp('dropCollection'),
  'drop collections': ofOp('dropCollection'),
  'record aside': CHANGE_CLAIM,
  'record kept': CHANGE_CLAIM,
  'forget aside': CHANGE_CLAIM,
  'mark dropped': CHANGE_CLAIM,
  'release collection': CHANGE_CLAIM,
  'release name': RELEASE_NAME,
  'return name': RELEASE_NAME,
  'apply admin change': CHANGE_ADMIN,
  'write admin': CHANGE_ADMIN,
};

/** How far the clock of an instance is ahead that resumes an operation whose lease has not expired. */
const AHEAD_MS = 40 * DAY_MS;

/** Turns of the event loop after which an actor that makes no call has ended, or waits for something else. */
const TURNS = 400;

/** Turns in which calls that go out together have all come. */
const FEW_TURNS = 5;

type Held = {
  readonly command: Command;
  readonly go: (losesReply?: boolean) => void;
  readonly fail: (error: Error) => void;
};

/** Runs a verb, and holds it at each of its store calls. */
class Actor {
  readonly #held: Held[] = [];
  /** Calls that were let on and have not ended. */
  #underWay = 0;
  #isDead = false;
  #hasEnded = false;
  readonly ended: Promise<void>;

  constructor(storage: AsyncLocalStorage<Actor>, work: () => Promise<unknown>) {
    this.ended = storage
      .run(this, work)
      .catch(() => undefined)
      .then(() => {
        this.#hasEnded = true;
      });
  }

  hold(command: Command): Promise<CallPlan> {
    if (this.#isDead) throw new Crashed('The actor is dead.');
    return new Promise((resolve, fail) => {
      const ended = () => {
        this.#underWay--;
      };
      const go = (losesReply = false) => {
        this.#underWay++;
        resolve({ losesReply, ended });
      };
      this.#held.push({ command, go, fail });
    });
  }

  /** Lets it on until it has made a call that matches, or comes to another write. @returns whether it made the call */
  async advance(matches: Matches, act: (held: Held) => void = ({ go }) => go()): Promise<boolean> {
    for (;;) {
      await this.#rest();
      const at = this.#held.findIndex(({ command }) => matches(command));
      const read = this.#held.findIndex(({ command }) => READS.has(command.op));
      const [next] = this.#held.splice(at >= 0 ? at : read, at >= 0 || read >= 0 ? 1 : 0);
      if (next === undefined) return false;
      if (at >= 0) act(next);
      else next.go();
      if (at >= 0) {
        await this.#rest();
        return true;
      }
    }
  }

  die(): void {
    this.#isDead = true;
    for (const { fail } of this.#held.splice(0)) fail(new Crashed('The actor is dead.'));
  }

  async #rest(): Promise<void> {
    for (let turn = 0; turn < TURNS && !this.#hasEnded; turn++) {
      await nextTurn();
      if (this.#underWay > 0) turn = 0;
      else if (this.#held.length > 0 && turn > FEW_TURNS) return;
    }
  }
}

export type Replayed = {
  /** What is wrong at the end. */
  readonly violations: readonly string[];
  /** Calls of the trace, and how many of them the actors came to. */
  readonly calls: number;
  readonly made: number;
};

/** Plays a trace. */
export async function replay(
  store: Executor,
  { setting }: Pick<ModelScenario, 'setting'>,
  trace: readonly TraceStep[],
): Promise<Replayed> {
  const storage = new AsyncLocalStorage<Actor>();
  const stage = await createStage(store, { beforeCall: (command) => storage.getStore()?.hold(command) });
  const isKept = trace.some(({ event, input }) => event === 'begin' && input === 'kept');
  const env = { NAME_LEASE_DAYS: setting.nameLeases ? '30' : '0', DELETE_RETENTION_DAYS: isKept ? '30' : '0' };
  try {
    return await stage.use({ env, withoutIds: !setting.collectionIds }, async (world) => {
      const played = new Play(world, storage);
      await played.begin();
      for (const step of trace) await played.step(step);
      await played.end();
      // Leases that were taken by a clock that is ahead.
      world.advance(AHEAD_MS + HOUR_MS);
      await world.settle();
      const { violations } = await lookThrough(world);
      return { violations, calls: played.calls, made: played.made };
    });
  } finally {
    await stage.close();
  }
}

class Play {
  readonly #world: World;
  readonly #storage: AsyncLocalStorage<Actor>;
  readonly #actors = new Map<string, Actor>();
  /** Ids of the organizations that the model calls O, N, M. */
  readonly #ids = new Map<string, string>();
  calls = 0;
  made = 0;

  constructor(world: World, storage: AsyncLocalStorage<Actor>) {
    this.#world = world;
    this.#storage = storage;
  }

  async begin(): Promise<void> {
    await this.#create(this.#world.instance().context, 'O', 'a');
    await this.#write('O', 'O0:1', 'a');
    await this.#world.recover();
  }

  async step(step: TraceStep): Promise<void> {
    const organization = String(step['organization'] ?? '');
    switch (step.event) {
      case 'begin':
        return this.#begin(step, organization, String(step['input'] ?? ''));
      case 'write':
      case 'early write':
        return this.#write(organization, String(step['document']), String(step['collection']));
      case 'foreign collection':
        await this.#world.database.collection('org_delta').insertOne({ _id: 'foreign', tenant: FOREIGN });
        return;
      case 'lease expires':
        this.#world.advance(31 * DAY_MS);
        return;
      default:
        return this.#call(step);
    }
  }

  /** Actors that are still at work die. */
  async end(): Promise<void> {
    for (const actor of this.#actors.values()) actor.die();
    await Promise.all([...this.#actors.values()].map(({ ended }) => ended));
  }

  async #call({ actor: name, event, step }: TraceStep): Promise<void> {
    const actor = this.#actors.get(name);
    const matches = CALLS[step];
    if (matches !== undefined) this.calls++;
    if (actor === undefined) return;
    if (event === 'crash') {
      // Up to the call, which has no effect.
      if (matches !== undefined && (await actor.advance(matches, ({ fail }) => fail(new Crashed(event))))) this.made++;
      actor.die();
    } else if (matches !== undefined) {
      const hasMade = await actor.advance(matches, ({ go, fail }) => {
        if (event === 'refused' && step === 'move') fail(new StoreError('NotPermitted', 'Refused.'));
        else if (event === 'refused')
          fail(new StoreError('DuplicateKey', 'Refused.', { index: 'organization_id_email_key' }));
        else go(event === 'reply lost');
      });
      if (hasMade) this.made++;
    }
  }

  async #begin({ actor, step }: TraceStep, organization: string, input: string): Promise<void> {
    const { context } = this.#world.instance(step === 'resume' || step === 'purge' ? AHEAD_MS : 0);
    const work = await this.#workOf(context, step, organization, input);
    if (work === undefined) return;
    const begun = new Actor(this.#storage, work);
    this.#actors.set(actor, begun);
    // A look, an edit and a repeated erasure have no write that begins them.
    if (step === 'create') await begun.advance(on('organizations', '', 'insertOne'));
    else if (!['look', 'lease', 'edit admin', 'repeat erasure'].includes(step)) await begun.advance(JOURNAL);
  }

  async #workOf(
    context: Context,
    step: string,
    organization: string,
    input: string,
  ): Promise<(() => Promise<unknown>) | undefined> {
    const { master } = this.#world.instance().context;
    if (step === 'create') return () => this.#create(context, organization, input);
    if (step === 'lease') return () => master.names.deleteMany({ kind: 'name', due_at: { $lt: context.clock() } });
    const found = await master.organizations.findOne({ _id: this.#ids.get(organization) ?? '' });
    const admin = found && (await master.admins.findOne({ organization_id: found._id }));
    if (found === undefined || admin === undefined) return undefined;
    const email = `${organization}-new@example.com`;
    const change = { email, current_password: PASSWORD };
    switch (step) {
      case 'rename':
      case 'rename with admin change': {
        const principal = this.#principal(found, admin);
        const more = step === 'rename' ? {} : change;
        return () => updateOrganization(context, { principal, new_organization_name: nameOf(input), ...more });
      }
      case 'edit admin': {
        const principal = this.#principal(found, admin);
        return () => updateOrganization(context, { principal, ...change });
      }
      case 'delete': {
        const principal = this.#principal(found, admin);
        return () => deleteOrganization(context, { principal, organization_name: found.name });
      }
      case 'restore':
        return () => restore({ context } as never, found.name, emailOf(organization));
      case 'purge':
        return () => purgeOrganization(context, found);
      case 'resume':
        return () => resumeExpired(context, found);
      case 'repeat erasure':
        return () => eraseOrganization(context, found);
      case 'move':
        return () => tryOpenMove(context, found);
      case 'look': {
        const claims = await this.#claimsOf(organization, input);
        const due = claims.filter(({ due_at }) => due_at !== null);
        return due.length === 0 ? undefined : () => syncLateWrites(context, due);
      }
      default:
        throw new Error(`The model has a new verb: ${step}.`);
    }
  }

  async #create(context: Context, organization: string, name: string): Promise<void> {
    const ids = { organizationId: context.newId(), adminId: context.newId() };
    this.#ids.set(organization, ids.organizationId);
    this.#world.guard.register(organization, ids.organizationId);
    const email = emailOf(organization);
    await createOrganization(context, { organization_name: nameOf(name), email, password: PASSWORD, ids });
  }

  #principal(organization: OrganizationDocument, admin: AdminDocument): Principal {
    const now = this.#world.instance().context.clock();
    const seconds = Math.floor(now.getTime() / 1000);
    const session = { _id: 'session', epoch: organization.epoch + admin.epoch, signed_in_at: now };
    return { organization, admin, session, claims: { auth_time: seconds, exp: seconds + HOUR_MS / 1000 } } as Principal;
  }

  /** The claims on the collection that the model calls so: `a`, or `a.p2` for one with a token. */
  async #claimsOf(organization: string, collection: string) {
    const { master } = this.#world.instance().context;
    const [stem = '', token] = collection.split('.');
    const slug = `org_${nameOf(stem.charAt(0)).toLowerCase()}`;
    const claims = await master.collections.find({
      kind: 'collection',
      organization_id: this.#ids.get(organization) ?? '',
    });
    const named = claims.filter(({ placement }) =>
      token === undefined ? placement.collection === slug : placement.collection.startsWith(`${slug}_`),
    );
    return named.slice(-1);
  }

  async #write(organization: string, document: string, collection: string): Promise<void> {
    const [claim] = await this.#claimsOf(organization, collection);
    if (claim === undefined) return;
    const [_id = ''] = document.split(':');
    const written = { _id, tenant: organization, sku: `${UNCOUNTED}${document}` };
    await this.#world.database
      .collection(claim.placement.collection)
      .insertOne(written)
      .catch((error: unknown) => {
        // A tenant's own write may be refused, as the model's may.
        if (!(error instanceof StoreError)) throw error;
      });
  }
}
