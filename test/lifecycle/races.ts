import { isDeepStrictEqual } from 'node:util';
import type { CommandOf, Executor, Op } from '../../src/store/port.ts';
import type { Meaning } from '../support/invariants.ts';
import { createRandom } from '../support/random.ts';
import { create, emailOf, restore, signIn, update } from '../support/requests.ts';
import type { Scheduler } from '../support/scheduler.ts';
import { createScheduler } from '../support/scheduler.ts';
import type { Stage, World, WorldOptions } from '../support/world.ts';
import { createStage } from '../support/world.ts';
import type { Answer } from './experiment.ts';
import { ask, describe, lookThrough } from './experiment.ts';
import type { Step } from './scenarios.ts';
import {
  BYSTANDER,
  populate,
  RETENTION,
  removeBySignIn,
  rename,
  sweepAll,
  TARGET,
  tenants,
  writeLate,
} from './scenarios.ts';

/** Steps of instances that work at once. */
export type Race = {
  readonly name: string;
  readonly options?: WorldOptions;
  open(world: World): Promise<readonly Step[]>;
};

const DAY_MS = 24 * 60 * 60 * 1000;

export const RACES: readonly Race[] = [
  {
    name: 'two are renamed to one name',
    open: async (world) => {
      await tenants(world);
      return [rename(TARGET, 'Gamma'), rename(BYSTANDER, 'gamma')];
    },
  },
  {
    name: 'one is renamed to two names',
    open: async (world) => {
      const { token } = await tenants(world);
      return ['Beta', 'Gamma'].map(
        (name): Step =>
          (instance) =>
            update(instance, token, { new_organization_name: name }),
      );
    },
  },
  {
    name: 'rename against delete',
    open: async (world) => {
      const { token } = await tenants(world);
      return [(instance) => update(instance, token, { new_organization_name: 'Beta' }), removeBySignIn(TARGET)];
    },
  },
  {
    name: 'rename against sign-in and a late writer',
    open: async (world) => {
      await tenants(world);
      return [rename(TARGET, 'Beta'), (instance) => signIn(instance, TARGET), writeLate(world, 'org_acme', 3)];
    },
  },
  {
    name: 'rename against whoever takes the name that is left',
    open: async (world) => {
      await tenants(world);
      return [rename(TARGET, 'Beta'), (instance) => create(instance, TARGET), sweepAll];
    },
  },
  {
    name: 'three create one name',
    open: async (world) => {
      await populate(world, BYSTANDER, 2);
      return ['Fresh', 'fresh', 'FRESH'].map(
        (name): Step =>
          (instance) =>
            create(instance, name),
      );
    },
  },
  {
    name: 'delete against whoever takes the name, under a late writer',
    open: async (world) => {
      await tenants(world);
      return [removeBySignIn(TARGET), (instance) => create(instance, TARGET), sweepAll];
    },
  },
  {
    name: 'delete with retention against restore',
    options: RETENTION,
    open: async (world) => {
      await tenants(world);
      return [removeBySignIn(TARGET), (instance) => restore(instance, TARGET), sweepAll];
    },
  },
  {
    name: 'restore twice, and the sweep',
    options: RETENTION,
    open: async (world) => {
      await tenants(world);
      await removeBySignIn(TARGET)(world.instance());
      await writeLate(world, 'org_acme', 3)(world.instance());
      const again: Step = (instance) => restore(instance, TARGET);
      return [again, again, sweepAll];
    },
  },
  {
    name: 'two purge, and another takes the name',
    options: RETENTION,
    open: async (world) => {
      await tenants(world);
      await removeBySignIn(TARGET)(world.instance());
      world.advance(DAY_MS + 1);
      return [sweepAll, sweepAll, (instance) => create(instance, TARGET)];
    },
  },
  {
    name: 'two sweep what came back while it is renamed on',
    open: async (world) => {
      await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await writeLate(world, 'org_acme', 12)(world.instance());
      return [sweepAll, sweepAll, rename('Beta', 'Gamma', emailOf(TARGET))];
    },
  },
];

/** Whoever is frozen is held for many steps of the others; what fails is the fault suite's affair. */
const WEATHER = { freeze: 0.05, leap: 0, crash: 0, fault: 0 } as const;

/**
 * Runs the steps of a race at once, their store calls in an order that the seed decides. What comes of it must be
 * what comes of some of the steps one after the other: of those that were answered as done, and maybe of those whose
 * outcome nobody was told.
 * @returns what was wrong, seed by seed
 */
export async function runRace(store: Executor, race: Race, seeds: readonly number[]): Promise<string[]> {
  let scheduler: Scheduler | undefined;
  const stage = await createStage({
    ...store,
    execute: async <O extends Op>(command: CommandOf<O>) => {
      await scheduler?.turn(command.op, { write: true });
      return store.execute(command);
    },
  });
  const known = new Map<string, Meaning>();
  const orderly = async (order: readonly number[]): Promise<Meaning> => {
    const key = order.join();
    const meaning = known.get(key) ?? (await inOrder(stage, race, order));
    known.set(key, meaning);
    return meaning;
  };

  const failures: string[] = [];
  for (const seed of seeds) {
    const { answers, violations, meaning, trace } = await stage.use(race.options ?? {}, async (world) => {
      const steps = await race.open(world);
      const running = createScheduler(createRandom(seed), WEATHER);
      scheduler = running;
      const lives = steps.map((step, instance) =>
        running.live({ name: `instance ${instance}`, instance }, () => ask(world.instance(), step)),
      );
      await running.run();
      scheduler = undefined;
      const ended = await Promise.all(lives);
      await world.settle();
      return { answers: ended.map((end) => end?.value), trace: running.trace, ...(await lookThrough(world)) };
    });
    const wrong = [...violations];
    let possible = false;
    for (const order of ordersOf(answers)) possible ||= isDeepStrictEqual(await orderly(order), meaning);
    if (!possible) {
      wrong.push(`no order of the steps comes to ${JSON.stringify(meaning)}`);
    }
    if (wrong.length > 0) {
      failures.push(
        [`${race.name}, seed ${seed}: ${answers.map(describe).join(', ')}`, ...wrong, ...trace].join('\n    '),
      );
    }
  }
  await stage.close();
  return failures;
}

const inOrder = (stage: Stage, race: Race, order: readonly number[]): Promise<Meaning> =>
  stage.use(race.options ?? {}, async (world) => {
    const steps = await race.open(world);
    for (const index of order) {
      const step = steps[index];
      if (step !== undefined) await ask(world.instance(), step);
    }
    await world.settle();
    return (await lookThrough(world)).meaning;
  });

/** Every order of what was done, with and without what may have been. */
function ordersOf(answers: readonly (Answer | undefined)[]): number[][] {
  const indexes = answers.map((_, index) => index);
  const surely = indexes.filter((index) => answers[index]?.is === 'done');
  const maybe = indexes.filter((index) => answers[index]?.is === 'unknown');
  const chosen = maybe.reduce<number[][]>((sets, index) => sets.flatMap((set) => [set, [...set, index]]), [surely]);
  return chosen.flatMap(permutations);
}

const permutations = (items: readonly number[]): number[][] =>
  items.length === 0
    ? [[]]
    : items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
