import { isDeepStrictEqual } from 'node:util';
import type { AuditEntry } from '../../src/domain/audit/schema.ts';
import { DomainError } from '../../src/domain/errors.ts';
import { nameClaimId } from '../../src/domain/organization/claims.ts';
import type { NameClaim, OrganizationDocument } from '../../src/domain/organization/schema.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { isStoreError } from '../../src/store/port.ts';
import { findAuditViolations } from '../support/audit-invariants.ts';
import type { Fault } from '../support/faults.ts';
import { FAULTS } from '../support/faults.ts';
import type { NormalizedState, Snapshot, Traces } from '../support/invariants.ts';
import {
  findDueCheckpoints,
  findTraces,
  findViolations,
  normalizedState,
  takeSnapshot,
} from '../support/invariants.ts';
import { restore } from '../support/requests.ts';
import type { Instance, Stage, World } from '../support/world.ts';
import { HOUR_MS } from '../support/world.ts';
import type { Scenario, Scene, Step } from './scenarios.ts';

/** What the caller knows. `unknown`: the instance died, or said so. */
export type Answer =
  | { readonly is: 'done'; readonly value: unknown }
  | { readonly is: 'refused' | 'unknown'; readonly error: unknown };

/** One fault at one call of a scenario's operation. As JSON it is all that is needed to try it again. */
export type Point = {
  readonly at: number;
  readonly fault: Fault;
  /** What a third party does while the instance does not run. */
  readonly meanwhile?: string;
  /** Whether the third party comes before others have cleared up; left out: after. */
  readonly isFirst?: boolean;
  /** What happens to the instance that clears up, and at which of its calls. */
  readonly rescuer?: { readonly at: number; readonly fault: 'crash before' | 'pause' };
};

/** The outcome of a scenario's steps, one after another, without faults. */
type Course = { readonly calls: number; readonly answer: Answer | undefined; readonly state: NormalizedState };

/** The states that a point may end in, by whether the operation has happened. */
type Expected = { readonly happened: readonly NormalizedState[]; readonly not: readonly NormalizedState[] };

export type Report = {
  readonly points: number;
  /** Store calls of the operation. */
  readonly calls: number;
  /** What went wrong, point by point. */
  readonly failures: readonly string[];
};

/** One in how many points is tried, of plain faults and of others; 1 for all. */
export type Every = { readonly plain: number; readonly other: number };

export type Selection = {
  readonly every: Every;
  /** Ends after that many failures. */
  readonly failures?: number;
  /** Tries this one alone. */
  readonly only?: Point;
  /** Tries those of all points that this holds for. */
  readonly choose?: (point: Point) => boolean;
};

const NOTHING: Traces = { ids: [], words: [] };

const PAUSE_MS = 20 * HOUR_MS;

/** Faults of a single call, with nobody else around. */
const PLAIN: readonly Fault[] = ['crash before', 'crash after', 'reply lost', 'unavailable'];

/** Faults in which others get to work before the instance goes on. */
const PAUSES: readonly Fault[] = ['pause', 'pause and crash', 'others ahead'];

/** More calls than an instance that clears up makes. */
const RESCUER_CALLS = 70;

/**
 * Tries faults at store calls of the scenario's operation, each in a database of its own. When everything has come to
 * rest, the whole database is looked at: it must be as if the operation had happened, or as if it had not, and agree
 * with the answer of the caller.
 * @param stages the store that is tested, and one where the expected states are found without faults
 */
export async function enumerate(
  { stage, reference }: { readonly stage: Stage; readonly reference: Stage },
  scenario: Scenario,
  { every, failures: most = Number.POSITIVE_INFINITY, only, choose = () => true }: Selection,
): Promise<Report> {
  let expected: Awaited<ReturnType<typeof expectedStates>>;
  try {
    expected = await expectedStates(reference, scenario);
  } catch (error) {
    return { points: 0, calls: 0, failures: [error instanceof Error ? (error.stack ?? '') : String(error)] };
  }
  const unharmed = await follow(stage, scenario, ['run']);
  const calls = Array.from({ length: unharmed.calls }, (_, index) => index + 1);
  const plain = calls.flatMap((at) => PLAIN.map((fault): Point => ({ at, fault })));
  const chosen =
    only === undefined
      ? [
          ...sample(plain.filter(choose), every.plain),
          ...sample(otherPoints(calls, [...expected.keys()]).filter(choose), every.other),
        ]
      : [only];

  const failures: string[] = [];
  if (!isOneOf(unharmed.state, statesOf(expected.get(undefined)))) {
    failures.push(`${scenario.name}: without any fault it ends in ${JSON.stringify(unharmed.state)}`);
  }
  let points = 0;
  // Beyond the last call of an instance that clears up, nothing happens to it.
  const lastCalls = new Map<string, number>();
  for (const point of chosen) {
    const { rescuer, ...kind } = point;
    const key = JSON.stringify([kind, rescuer?.fault]);
    if (rescuer !== undefined && rescuer.at > (lastCalls.get(key) ?? RESCUER_CALLS)) continue;
    points++;
    const { wrong, rescuerWasHit } = await tryPoint(stage, scenario, point, (third) =>
      third === undefined || third.is === 'done'
        ? expected.get(point.meanwhile)
        : // A third party that was refused leaves nothing of its own.
          joined(expected.get(point.meanwhile), expected.get(undefined)),
    );
    if (rescuer !== undefined && !rescuerWasHit) lastCalls.set(key, rescuer.at);
    if (wrong !== undefined) failures.push(wrong);
    if (failures.length >= most) break;
  }
  return { points, calls: unharmed.calls, failures };
}

/** Chosen by a hash of the index, so that every kind of point gets its turn. */
const sample = (points: readonly Point[], every: number): Point[] =>
  points.filter((_, index) => (Math.imul(index + 1, 0x9e3779b1) >>> 0) / 2 ** 32 < 1 / every);

function otherPoints(calls: readonly number[], meanwhiles: readonly (string | undefined)[]): Point[] {
  const others = FAULTS.filter((fault) => !PLAIN.includes(fault));
  const points = calls.flatMap((at) => others.map((fault): Point => ({ at, fault })));
  for (const meanwhile of meanwhiles) {
    if (meanwhile === undefined) continue;
    for (const isFirst of [false, true]) {
      points.push(...calls.flatMap((at) => PAUSES.map((fault): Point => ({ at, fault, meanwhile, isFirst }))));
    }
  }
  // Alone, and when a third party has come: right away, or after others have cleared up.
  for (const visit of meanwhiles.flatMap(visitsOf)) {
    for (const fault of ['crash before', 'pause'] as const) {
      for (let at = 1; at <= RESCUER_CALLS; at++) {
        points.push(...calls.map((call): Point => ({ at: call, fault: 'pause', ...visit, rescuer: { at, fault } })));
      }
    }
  }
  return points;
}

const visitsOf = (meanwhile: string | undefined): Pick<Point, 'meanwhile' | 'isFirst'>[] =>
  meanwhile === undefined ? [{}] : [false, true].map((isFirst) => ({ meanwhile, isFirst }));

/** By what a third party does, the states that are correct. */
async function expectedStates(reference: Stage, scenario: Scenario): Promise<Map<string | undefined, Expected>> {
  const before = await follow(reference, scenario, []);
  const after = await follow(reference, scenario, ['run']);
  const alone = sorted(scenario, [after], before);
  const { meanwhiles, hasOtherwise } = await partsOf(reference, scenario);
  const otherwise = hasOtherwise ? [(await follow(reference, scenario, ['otherwise'])).state] : [];
  const expected = new Map([[undefined as string | undefined, { ...alone, not: [...alone.not, ...otherwise] }]]);
  for (const meanwhile of meanwhiles) {
    const without = await follow(reference, scenario, [meanwhile]);
    const one = await follow(reference, scenario, ['run', meanwhile]);
    const other = await follow(reference, scenario, [meanwhile, 'run']);
    // Refused before the third party came.
    const not = one.answer?.is === 'done' ? [] : [one.state];
    const states = sorted(scenario, [one, other].slice(not.length), without);
    expected.set(meanwhile, { ...states, not: [...states.not, ...not] });
  }
  return expected;
}

/** @throws {Error} when a run that was refused has changed something */
function sorted({ name }: Scenario, runs: readonly Course[], without: Course): Expected {
  const isDone = ({ answer }: Course) => answer?.is === 'done';
  for (const { state } of runs.filter((run) => !isDone(run))) {
    if (!isDeepStrictEqual(state, without.state)) {
      throw new Error(`${name}, refused: ${JSON.stringify(state)}, and was ${JSON.stringify(without.state)}`);
    }
  }
  return { happened: runs.filter(isDone).map(({ state }) => state), not: [without.state] };
}

const NO_STATES: Expected = { happened: [], not: [] };

const joined = (one = NO_STATES, alone = NO_STATES): Expected => ({
  happened: [...one.happened, ...alone.happened.map((state) => comparable(state, false))],
  not: [...one.not, ...alone.not.map((state) => comparable(state, false))],
});

const statesOf = (expected: Expected | undefined): readonly NormalizedState[] => [
  ...(expected?.happened ?? []),
  ...(expected?.not ?? []),
];

const isOneOf = (state: NormalizedState, states: readonly NormalizedState[]): boolean =>
  states.some((one) => isDeepStrictEqual(one, state));

/** Sets the scene in a database that is emptied afterwards. */
const inScene = <T>(
  stage: Stage,
  { options = {}, open }: Scenario,
  work: (world: World, scene: Scene) => Promise<T>,
): Promise<T> => stage.use(options, async (world) => work(world, await open(world)));

const partsOf = (stage: Stage, scenario: Scenario) =>
  inScene(stage, scenario, async (_, { meanwhile = {}, otherwise }) => ({
    meanwhiles: Object.keys(meanwhile),
    hasOtherwise: otherwise !== undefined,
  }));

const follow = (stage: Stage, scenario: Scenario, steps: readonly string[]): Promise<Course> =>
  inScene(stage, scenario, async (world, scene) => {
    let calls = 0;
    let answer: Answer | undefined;
    for (const step of steps) {
      const instance = world.instance();
      const given = await ask(instance, stepOf(scene, step));
      if (step === 'run') {
        answer = given;
        calls = instance.executor.calls().length;
      }
      await world.recover();
    }
    await world.settle();
    const { state, violations: found, snapshot } = await lookThrough(world);
    const violations = [...found, ...findLeftNames(snapshot)];
    if (violations.length > 0) throw new Error(`${scenario.name}, without faults: ${violations.join('\n')}`);
    return {
      calls,
      answer,
      state: comparable(
        state,
        steps.every((step) => step === 'run' || step === 'otherwise'),
      ),
    };
  });

/** Names that are neither their organization's nor leased. Only a late instance leaves them. */
function findLeftNames(snapshot: Snapshot): string[] {
  const organizations = (snapshot.get('organizations') ?? []) as unknown as readonly OrganizationDocument[];
  const claims = (snapshot.get('claims') ?? []) as unknown as readonly NameClaim[];
  const own = new Set(organizations.map(({ _id, key }) => `${nameClaimId(key)} ${_id}`));
  return claims
    .filter(({ kind, due_at, leased_until }) => kind === 'name' && due_at === null && leased_until === null)
    .filter(({ _id, organization_id }) => !own.has(`${_id} ${organization_id}`))
    .map(({ _id }) => `the claim ${_id} is left`);
}

/** Which mails are sent beside a third party depends on when it comes. */
const comparable = (state: NormalizedState, isAlone: boolean): NormalizedState =>
  isAlone ? state : { ...state, mails: [] };

const stepOf = ({ run, otherwise, meanwhile = {} }: Scene, name: string): Step =>
  (name === 'otherwise' ? otherwise : meanwhile[name]) ?? run;

/** What a step is answered by this instance. @throws whatever neither the domain nor the store may throw */
export async function ask(instance: Instance, step: Step): Promise<Answer> {
  try {
    const value = await step(instance);
    return instance.executor.isDead() ? { is: 'unknown', error: undefined } : { is: 'done', value };
  } catch (error) {
    if (instance.executor.isDead() || isStoreError(error)) return { is: 'unknown', error };
    if (!(error instanceof DomainError)) throw error;
    return { is: error.code === 'unavailable' ? 'unknown' : 'refused', error };
  } finally {
    await instance.executor.rest();
  }
}

export async function lookThrough(
  world: World,
): Promise<{ snapshot: Snapshot; violations: string[]; state: NormalizedState }> {
  const { context } = world.instance();
  const snapshot = await takeSnapshot(world.database);
  await world.guard.check();
  const read = await normalizedState(world.database, snapshot, world.mails);
  // The move of an organization that is kept waits for a restore, unless due work came before the delete.
  const organizations = read.organizations.map((one) =>
    one.status === 'deleted' ? { ...one, isMoveOpen: false } : one,
  );
  const state = { ...read, organizations };
  const openMoves = world.refusesRename() ? [] : organizations.filter(({ isMoveOpen }) => isMoveOpen);
  return {
    snapshot,
    state,
    violations: [
      ...openMoves.map(({ name }) => `the collection of ${name} was not moved`),
      ...world.guard.violations(),
      ...findViolations(snapshot, context.clock()),
      ...findDueCheckpoints(snapshot),
      ...findEarlyPurges(snapshot, context.settings.retentionMs),
      ...(await findAuditViolations(context.master, context.seals)),
    ],
  };
}

/** Organizations that were purged while they could still be restored, by whichever of clocks that are an hour apart. */
function findEarlyPurges(snapshot: Snapshot, retentionMs: number): string[] {
  const deleted = new Map<string, Date>();
  const found: string[] = [];
  const entries = (snapshot.get('audit') ?? []) as unknown as readonly AuditEntry[];
  for (const { organization_id, action, at } of entries) {
    if (action === 'organization.deleted') deleted.set(organization_id, at);
    const since = deleted.get(organization_id)?.getTime() ?? 0;
    if (action === 'organization.purged' && at.getTime() - since < retentionMs - 2 * HOUR_MS) {
      found.push(`organization ${organization_id} was deleted at ${since}, and purged at ${at.getTime()}`);
    }
  }
  return found;
}

/** Tries one point. @returns what was wrong, and undefined when nothing was */
const tryPoint = (
  stage: Stage,
  scenario: Scenario,
  point: Point,
  expected: (third: Answer | undefined) => Expected | undefined,
): Promise<{ readonly wrong: string | undefined; readonly rescuerWasHit: boolean }> =>
  inScene(stage, scenario, async (world, scene) => {
    const instance = world.instance();
    const wrong: string[] = [];
    let answer: Answer | undefined;
    let third: Answer | undefined;
    let rescuerWasHit = true;
    const isAlone = point.meanwhile === undefined;
    instance.executor.arm({
      ...point,
      meanwhile: async () => {
        const visit = async () => {
          if (point.meanwhile !== undefined) third = await ask(world.instance(), stepOf(scene, point.meanwhile));
        };
        if (point.isFirst) await visit();
        if (point.rescuer === undefined || (point.meanwhile !== undefined && !point.isFirst)) {
          await clearUpBehind(world, scenario, point, instance);
        }
        if (!point.isFirst) await visit();
        if (point.rescuer !== undefined) rescuerWasHit = await world.recoverWith(point.rescuer);
      },
    });
    try {
      answer = await ask(instance, scene.run);
      if (!instance.executor.hasHappened()) wrong.push('the fault never happened');
      await world.recover();
      await instance.executor.deliverLate();
      await world.settle();
      const { snapshot, violations, state: full } = await lookThrough(world);
      const state = comparable(full, isAlone);
      wrong.push(...violations);

      const { happened, not } = expected(third) ?? NO_STATES;
      const has = isOneOf(state, happened);
      const hasNot = isOneOf(state, not);
      if (answer.is === 'done' && !has) wrong.push('it was answered as done, and it has not happened');
      else if (answer.is === 'refused' && !hasNot) wrong.push('it was refused, and something has changed');
      else if (!has && !hasNot) wrong.push('it has neither happened nor not happened');
      if (wrong.length > 0) wrong.push(`the database has ${JSON.stringify(state)}`);
      wrong.push(...(await findWrongTokens(world, scene, { has: has && !hasNot, point })));
      if (has && !hasNot && isAlone) wrong.push(...findTraces(snapshot, scene.gone ?? NOTHING));
      if (hasNot && !has && isAlone) wrong.push(...findTraces(snapshot, scene.never ?? NOTHING));
      if (scenario.again !== undefined && isAlone && has && !hasNot && wrong.length === 0) {
        wrong.push(...(await repeat(world, scenario.again, scene, { first: answer, happened })));
      }
      if (wrong.length === 0) wrong.push(...(await restoreAll(world)));
    } catch (error) {
      wrong.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    return { wrong: wrong.length === 0 ? undefined : report(), rescuerWasHit };

    function report(): string {
      const call = instance.executor.calls()[point.at - 1];
      return [
        `${scenario.name}: ${point.fault} at call ${point.at} (${call})${isAlone ? '' : `, while ${point.meanwhile}`}`,
        ...wrong,
        `answered: ${describe(answer)}${third === undefined ? '' : `; the third party: ${describe(third)}`}`,
        `calls: ${instance.executor.calls().join(', ')}`,
        ...world.log.slice(-8),
        `again: node test/lifecycle/run.ts --scenario '${scenario.name}' --point '${JSON.stringify(point)}'`,
      ].join('\n    ');
    }
  });

async function clearUpBehind(
  world: World,
  { pauseMs = PAUSE_MS }: Scenario,
  { fault }: Point,
  instance: Instance,
): Promise<void> {
  switch (fault) {
    case 'others ahead':
      return world.clearUp(HOUR_MS);
    case 'clock ahead':
    case 'clock behind':
      instance.setClock(fault === 'clock ahead' ? HOUR_MS : -HOUR_MS);
      return world.recover();
    default:
      return world.sleep(pauseMs);
  }
}

/** Tokens that should have ended, and tokens that should not; of the latter, a pause of a day is the end anyway. */
async function findWrongTokens(
  world: World,
  { spent = [], good = [] }: Scene,
  { has, point }: { readonly has: boolean; readonly point: Point },
): Promise<string[]> {
  const wrong: string[] = [];
  for (const token of has ? spent : []) {
    if (await isAccepted(world, token)) wrong.push('an old token is accepted');
  }
  for (const token of point.meanwhile === undefined && !point.fault.startsWith('pause') ? good : []) {
    if (!(await isAccepted(world, token))) wrong.push('a token that nothing has ended is refused');
  }
  return wrong;
}

async function isAccepted(world: World, token: string): Promise<boolean> {
  return (await ask(world.instance(), ({ context }) => authenticate(context, token))).is === 'done';
}

/** The same request again, with the same token or key: it is answered as agreed, and happens once. */
async function repeat(
  world: World,
  expected: 'done' | 'invalid_token',
  { run }: Scene,
  { first, happened }: { readonly first: Answer; readonly happened: readonly NormalizedState[] },
): Promise<string[]> {
  const wrong: string[] = [];
  const again = await ask(world.instance(), run);
  const code = again.is === 'refused' ? (again.error as DomainError).code : again.is;
  // In a long pause the token itself may have run out.
  if (code !== expected && code !== 'invalid_token') return [`asked for again, it was ${describe(again)}`];
  if (first.is === 'done' && again.is === 'done') {
    const [one, other] = [identityOf(first.value), identityOf(again.value)];
    if (!isDeepStrictEqual(one, other)) {
      wrong.push(`asked for again, it was answered ${JSON.stringify(other)}, not ${JSON.stringify(one)}`);
    }
  }
  await world.settle();
  const { violations, state } = await lookThrough(world);
  wrong.push(...violations);
  if (!isOneOf(state, happened)) wrong.push(`asked for again, the database has ${JSON.stringify(state)}`);
  return wrong;
}

/** What is the same in two answers to the same: not the tokens. */
const identityOf = (value: unknown) =>
  Object.fromEntries(
    Object.entries(value as object).filter(([field]) => /^(organization|collection|admin)_|^deleted$/.test(field)),
  );

/** Each organization that can be restored comes back complete: documents, index, admins and name. */
async function restoreAll(world: World): Promise<string[]> {
  const { organizations, admins } = world.instance().context.master;
  const deleted = await organizations.find({ status: 'deleted' });
  if (deleted.length === 0) return [];
  const { state: before } = await lookThrough(world);
  for (const { name, _id } of deleted) {
    const owner = await admins.findOne({ organization_id: _id, role: 'owner' });
    const answer = await ask(world.instance(), (instance) => restore(instance, name, owner?.email));
    if (answer.is !== 'done') return [`restoring ${name}: ${describe(answer)}`];
  }
  await world.settle();
  const { state: after, violations } = await lookThrough(world);
  const restored = before.organizations.map((one) =>
    one.status === 'deleted'
      ? {
          ...one,
          status: 'active',
          epoch: one.epoch + 1,
          audited: [...one.audited, 'organization.restored'].sort(),
        }
      : one,
  );
  return isDeepStrictEqual(after.organizations, restored)
    ? violations
    : [...violations, `restored, the database has ${JSON.stringify(after)}`];
}

export const describe = (answer: Answer | undefined): string =>
  answer === undefined || answer.is === 'done' ? (answer?.is ?? 'never') : `${answer.is} (${answer.error})`;
