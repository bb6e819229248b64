import { isDeepStrictEqual } from 'node:util';
import { DomainError } from '../../src/domain/errors.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { isStoreError } from '../../src/store/port.ts';
import { findAuditViolations } from '../support/audit-invariants.ts';
import type { Fault } from '../support/faults.ts';
import { FAULTS } from '../support/faults.ts';
import type { Meaning, Traces } from '../support/invariants.ts';
import { findTraces, findViolations, readMeaning, takeSnapshot } from '../support/invariants.ts';
import { restore } from '../support/requests.ts';
import type { Instance, Stage, World } from '../support/world.ts';
import type { Scenario, Scene, Step } from './scenarios.ts';

/** What the caller knows. `unknown`: the instance died, or said so. */
export type Answer =
  | { readonly is: 'done'; readonly value: unknown }
  | { readonly is: 'refused' | 'unknown'; readonly error: unknown };

/** One fault at one call of a scenario's operation. */
type Point = {
  readonly at: number;
  readonly fault: Fault;
  /** What a third party does while the instance sleeps. */
  readonly meanwhile: string | undefined;
  /** At which call whoever clears up behind the instance dies; undefined: it does not. */
  readonly rescuerDiesAt?: number;
};

/** What a scenario's steps come to, one after the other, without faults. */
type Course = { readonly calls: number; readonly answer: Answer | undefined; readonly meaning: Meaning };

/** What may have come of a point, by what the caller was answered. */
type Expected = { readonly happened: readonly Meaning[]; readonly not: readonly Meaning[] };

export type Report = {
  readonly points: number;
  /** Store calls of the operation. */
  readonly calls: number;
  /** What went wrong, point by point. */
  readonly failures: readonly string[];
};

const NOTHING: Traces = { ids: [], words: [] };

/** Every so-manieth point, of plain faults and of others; 1 for all. Primes let every fault get its turn. */
export type Every = { readonly plain: number; readonly other: number };

/** Faults of a single call, with nobody else around. */
const PLAIN: readonly Fault[] = ['crash before', 'crash after', 'reply lost'];

/** Faults in which others get to work before the instance goes on. */
const PAUSES: readonly Fault[] = ['pause', 'pause and crash'];

/** Calls at which whoever clears up dies: after it took the operation over, and here and there on the way. */
const RESCUERS: readonly number[] = [3, 5, 8, 11, 15];

/**
 * Tries every fault at every store call of the scenario's operation, each in a scene of its own: a new instance
 * then reconciles, and the whole database is looked at. What it means must be as if the operation had happened, or as
 * if it had not, and agree with what the caller was answered.
 * @param stages the store that is looked at, and one where what should come of it is tried without faults
 */
export async function enumerate(
  { stage, reference }: { readonly stage: Stage; readonly reference: Stage },
  scenario: Scenario,
  every: Every = { plain: 1, other: 1 },
): Promise<Report> {
  const before = await follow(reference, scenario, []);
  const after = await follow(reference, scenario, ['run']);
  const expected = new Map<string | undefined, Expected>();
  expected.set(undefined, { happened: [after.meaning], not: [before.meaning] });
  const unharmed = await follow(stage, scenario, ['run']);
  const calls = Array.from({ length: unharmed.calls }, (_, index) => index + 1);
  const points: Point[] = calls.flatMap((at) => FAULTS.map((fault) => ({ at, fault, meanwhile: undefined })));
  for (const rescuerDiesAt of RESCUERS) {
    points.push(...calls.map((at) => ({ at, fault: 'pause' as const, meanwhile: undefined, rescuerDiesAt })));
  }
  for (const meanwhile of await namesOfMeanwhile(reference, scenario)) {
    const happened = [
      await follow(reference, scenario, ['run', meanwhile]),
      await follow(reference, scenario, [meanwhile, 'run']),
    ];
    const not = await follow(reference, scenario, [meanwhile]);
    expected.set(meanwhile, { happened: happened.map(({ meaning }) => meaning), not: [not.meaning] });
    points.push(...calls.flatMap((at) => PAUSES.map((fault) => ({ at, fault, meanwhile }))));
  }

  const isPlain = ({ fault }: Point) => PLAIN.includes(fault);
  const chosen = [
    ...points.filter(isPlain).filter((_, index) => index % every.plain === 0),
    ...points.filter((point) => !isPlain(point)).filter((_, index) => index % every.other === 0),
  ];
  const failures: string[] = [];
  if (!isDeepStrictEqual(unharmed.meaning, after.meaning)) {
    failures.push(`${scenario.name}: without any fault it means ${JSON.stringify(unharmed.meaning)}`);
  }
  for (const point of chosen) {
    const wrong = await tryPoint(stage, scenario, point, expected.get(point.meanwhile) ?? { happened: [], not: [] });
    if (wrong !== undefined) failures.push(wrong);
  }
  return { points: chosen.length, calls: unharmed.calls, failures };
}

/** Sets the scene in a database that is emptied afterwards. */
const inScene = <T>(
  stage: Stage,
  { options = {}, open }: Scenario,
  work: (world: World, scene: Scene) => Promise<T>,
): Promise<T> => stage.use(options, async (world) => work(world, await open(world)));

const namesOfMeanwhile = (stage: Stage, scenario: Scenario): Promise<readonly string[]> =>
  inScene(stage, scenario, async (_, { meanwhile = {} }) => Object.keys(meanwhile));

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
    return { calls, answer, meaning: (await lookThrough(world)).meaning };
  });

const stepOf = ({ run, meanwhile = {} }: Scene, name: string): Step => (name === 'run' ? run : meanwhile[name]) ?? run;

/** What a step is answered by this instance. @throws whatever neither the domain nor the store may throw */
export async function ask(instance: Instance, step: Step): Promise<Answer> {
  try {
    const value = await step(instance);
    return instance.executor.isDead() ? { is: 'unknown', error: undefined } : { is: 'done', value };
  } catch (error) {
    if (instance.executor.isDead() || isStoreError(error)) return { is: 'unknown', error };
    if (!(error instanceof DomainError)) throw error;
    return { is: error.code === 'unavailable' ? 'unknown' : 'refused', error };
  }
}

export async function lookThrough(world: World) {
  const { context } = world.instance();
  const snapshot = await takeSnapshot(world.database);
  return {
    snapshot,
    violations: [
      ...findViolations(snapshot, context.clock()),
      ...(await findAuditViolations(world.database, context.seals)),
    ],
    meaning: await readMeaning(context.master, snapshot),
  };
}

/** Tries one point. @returns what was wrong, and undefined when nothing was */
const tryPoint = (
  stage: Stage,
  scenario: Scenario,
  point: Point,
  { happened, not }: Expected,
): Promise<string | undefined> =>
  inScene(stage, scenario, async (world, scene) => {
    const instance = world.instance();
    const wrong: string[] = [];
    let answer: Answer | undefined;
    let third: Answer | undefined;
    instance.executor.arm({
      ...point,
      meanwhile: async () => {
        if (point.rescuerDiesAt === undefined) await world.recover();
        else await world.recoverHalfway(point.rescuerDiesAt);
        if (point.meanwhile !== undefined) third = await ask(world.instance(), stepOf(scene, point.meanwhile));
      },
    });
    try {
      answer = await ask(instance, scene.run);
      if (!instance.executor.struck()) wrong.push('the fault never struck');
      await world.recover();
      await instance.executor.deliverLate();
      await world.settle();
      const { snapshot, violations, meaning } = await lookThrough(world);
      wrong.push(...violations);

      const isAs = (meanings: readonly Meaning[]) => meanings.some((one) => isDeepStrictEqual(one, meaning));
      const has = isAs(happened);
      const hasNot = isAs(not);
      if (answer.is === 'done' && !has) wrong.push('it was answered as done, and it has not happened');
      else if (answer.is === 'refused' && !hasNot) wrong.push('it was refused, and something has changed');
      else if (!has && !hasNot) wrong.push('it has neither happened nor not happened');
      if (wrong.length > 0) wrong.push(`the database means ${JSON.stringify(meaning)}`);
      if (has && !hasNot) {
        for (const token of scene.spent ?? []) {
          if (await isAccepted(world, token)) wrong.push('an old token is accepted');
        }
        if (point.meanwhile === undefined) wrong.push(...findTraces(snapshot, scene.gone ?? NOTHING));
      }
      if (hasNot && !has && point.meanwhile === undefined) wrong.push(...findTraces(snapshot, scene.never ?? NOTHING));
      if (scenario.repeatable && point.meanwhile === undefined && wrong.length === 0) {
        wrong.push(...(await repeat(world, scene, answer, happened)));
      }
      if (wrong.length === 0) wrong.push(...(await restoreAll(world)));
    } catch (error) {
      wrong.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    if (wrong.length === 0) return undefined;
    const call = instance.executor.calls()[point.at - 1];
    return [
      `${scenario.name}: ${point.fault} at call ${point.at} (${call})${point.meanwhile ? `, while ${point.meanwhile}` : ''}${point.rescuerDiesAt ? `, cleared up behind for ${point.rescuerDiesAt} calls` : ''}`,
      ...wrong,
      `answered: ${describe(answer)}${third === undefined ? '' : `; the third party: ${describe(third)}`}`,
      `calls: ${instance.executor.calls().join(', ')}`,
      ...world.log.slice(-8),
    ].join('\n    ');
  });

/** Whatever can be restored comes back whole: documents, index, admins and name. */
async function restoreAll(world: World): Promise<string[]> {
  const { organizations } = world.instance().context.master;
  const deleted = await organizations.find({ status: 'deleted' });
  if (deleted.length === 0) return [];
  const { meaning: before } = await lookThrough(world);
  for (const { name } of deleted) {
    const answer = await ask(world.instance(), (instance) => restore(instance, name));
    if (answer.is !== 'done') return [`restoring ${name}: ${describe(answer)}`];
  }
  await world.settle();
  const { meaning: after, violations } = await lookThrough(world);
  const whole = before.map((one) =>
    one.status === 'deleted'
      ? {
          ...one,
          status: 'active',
          epoch: one.epoch + 1,
          audited: [...one.audited, 'organization.restored'].sort(),
        }
      : one,
  );
  return isDeepStrictEqual(after, whole) ? violations : [...violations, `restored, it means ${JSON.stringify(after)}`];
}

export const describe = (answer: Answer | undefined): string =>
  answer === undefined || answer.is === 'done' ? (answer?.is ?? 'never') : `${answer.is} (${answer.error})`;

async function isAccepted(world: World, token: string): Promise<boolean> {
  return (await ask(world.instance(), ({ context }) => authenticate(context, token))).is === 'done';
}

/** Whoever asks for the same again, by the same token or key, is answered as done, and it has happened once. */
async function repeat(world: World, { run }: Scene, first: Answer, happened: readonly Meaning[]): Promise<string[]> {
  const wrong: string[] = [];
  const again = await ask(world.instance(), run);
  if (again.is !== 'done') return [`asked for again, it was ${describe(again)}`];
  const told = first.is === 'done' && !isUnderWay(first.value) && !isUnderWay(again.value);
  if (told && !isDeepStrictEqual(identityOf(first.value), identityOf(again.value))) {
    wrong.push(`asked for again, it was answered ${JSON.stringify(again.value)}, not ${JSON.stringify(first.value)}`);
  }
  await world.settle();
  const { violations, meaning } = await lookThrough(world);
  wrong.push(...violations);
  if (!happened.some((one) => isDeepStrictEqual(one, meaning))) {
    wrong.push(`asked for again, it has come to ${JSON.stringify(meaning)}`);
  }
  return wrong;
}

/** Whether it is answered as begun, and what it comes to is yet to be seen. */
const isUnderWay = (value: unknown): boolean => (value as { status?: unknown }).status === 'renaming';

/** What is the same in two answers to the same: not the tokens. */
const identityOf = (value: unknown) =>
  Object.fromEntries(
    Object.entries(value as object).filter(([field]) => /^(organization|collection|admin)_|^deleted$/.test(field)),
  );
