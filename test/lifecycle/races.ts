import { isDeepStrictEqual } from 'node:util';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import type { Executor } from '../../src/store/port.ts';
import type { NormalizedState } from '../support/invariants.ts';
import { createRandom } from '../support/random.ts';
import { create, emailOf, remove, restore, signIn, update } from '../support/requests.ts';
import type { FaultRates, Scheduler } from '../support/scheduler.ts';
import { createScheduler } from '../support/scheduler.ts';
import type { Stage, World, WorldOptions } from '../support/world.ts';
import { createStage, DAY_MS } from '../support/world.ts';
import type { Answer } from './experiment.ts';
import { ask, describe, lookThrough } from './experiment.ts';
import type { Step } from './scenarios.ts';
import {
  BYSTANDER,
  populate,
  RETENTION,
  removeBySignIn,
  rename,
  sweep,
  TARGET,
  takeNames,
  tenants,
  writeEverywhere,
  writeLate,
} from './scenarios.ts';

/** Steps of instances that work at once. */
export type Race = {
  readonly name: string;
  readonly options?: WorldOptions;
  open(world: World): Promise<readonly Step[]>;
};

/** It is deleted under the name that it has then. */
const removeAnyhow: Step = async (instance) => {
  const token = await signIn(instance, TARGET).catch(() => signIn(instance, 'Beta', emailOf(TARGET)));
  const { organization } = await authenticate(instance.context, token);
  return remove(instance, token, organization.name);
};

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
      return [(instance) => update(instance, token, { new_organization_name: 'Beta' }), removeAnyhow];
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
    name: 'rename against one that takes the name that is left',
    open: async (world) => {
      await tenants(world);
      return [rename(TARGET, 'Beta'), (instance) => create(instance, TARGET), sweep];
    },
  },
  {
    name: 'three create one name',
    open: async (world) => {
      await populate(world, BYSTANDER);
      return ['Fresh', 'fresh', 'FRESH'].map(
        (name): Step =>
          (instance) =>
            create(instance, name),
      );
    },
  },
  {
    name: 'delete against one that takes the name',
    open: async (world) => {
      await tenants(world);
      return [removeBySignIn(TARGET), (instance) => create(instance, TARGET), sweep];
    },
  },
  {
    name: 'delete with retention against restore',
    options: RETENTION,
    open: async (world) => {
      await tenants(world);
      return [removeBySignIn(TARGET), (instance) => restore(instance, TARGET), sweep];
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
      return [again, again, sweep];
    },
  },
  {
    name: 'two purge, and another takes the name',
    options: RETENTION,
    open: async (world) => {
      await tenants(world);
      await removeBySignIn(TARGET)(world.instance());
      world.advance(31 * DAY_MS);
      return [sweep, sweep, (instance) => create(instance, TARGET)];
    },
  },
  {
    name: 'two sweep what came back while it is renamed on',
    open: async (world) => {
      await tenants(world);
      await rename(TARGET, 'Beta')(world.instance());
      await writeLate(world, 'org_acme', 12)(world.instance());
      world.advance(31_000);
      return [sweep, sweep, rename('Beta', 'Gamma', emailOf(TARGET))];
    },
  },
  {
    name: 'an open move, a second rename and a sweep, while it is written to',
    open: async (world) => {
      const { id } = await tenants(world);
      world.refuseRename(true);
      await rename(TARGET, 'Beta')(world.instance());
      world.refuseRename(false);
      world.advance(31_000);
      return [sweep, rename('Beta', 'Gamma', emailOf(TARGET)), writeEverywhere(world, id)];
    },
  },
  {
    name: 'rename against delete, while others take the names',
    open: async (world) => {
      const { id, token } = await tenants(world);
      return [
        (instance) => update(instance, token, { new_organization_name: 'Beta' }),
        removeAnyhow,
        takeNames(world, TARGET),
        takeNames(world, 'Beta'),
        writeEverywhere(world, id),
      ];
    },
  },
];

/** A task that is paused waits for many steps of the others. Failures are tried by the fault suite. */
const RATES: FaultRates = { freeze: 0.05, leap: 0, crash: 0, fault: 0 };

/**
 * Runs the steps of a race at once, their store calls in an order that the seed decides. The outcome must be that of
 * some of the steps one after another: of those that were answered as done, and maybe of those whose outcome was not
 * told.
 * @returns what was wrong, seed by seed
 */
export async function runRace(store: Executor, race: Race, seeds: readonly number[]): Promise<string[]> {
  let scheduler: Scheduler | undefined;
  const stage = await createStage(store, {
    beforeCall: async ({ op }) => {
      await scheduler?.turn(op, { write: true });
      return undefined;
    },
  });
  const known = new Map<string, NormalizedState['organizations']>();
  const inTurn = async (order: readonly number[]): Promise<NormalizedState['organizations']> => {
    const key = order.join();
    const state = known.get(key) ?? (await inOrder(stage, race, order));
    known.set(key, state);
    return state;
  };

  const failures: string[] = [];
  for (const seed of seeds) {
    const { answers, violations, state, trace } = await stage.use(race.options ?? {}, async (world) => {
      const steps = await race.open(world);
      const running = createScheduler(createRandom(seed), RATES);
      scheduler = running;
      const tasks = steps.map((step, instance) =>
        running.start({ name: `instance ${instance}`, instance }, () => ask(world.instance(), step)),
      );
      await running.run();
      scheduler = undefined;
      const ended = await Promise.all(tasks);
      await world.settle();
      return { answers: ended.map((end) => end?.value), trace: running.trace, ...(await lookThrough(world)) };
    });
    const wrong = [...violations];
    let possible = false;
    for (const order of ordersOf(answers)) possible ||= isDeepStrictEqual(await inTurn(order), state.organizations);
    if (!possible) wrong.push(`no order of the steps ends in ${JSON.stringify(state.organizations)}`);
    if (wrong.length > 0) {
      failures.push(
        [`${race.name}, seed ${seed}: ${answers.map(describe).join(', ')}`, ...wrong, ...trace].join('\n    '),
      );
    }
  }
  await stage.close();
  return failures;
}

const inOrder = (stage: Stage, race: Race, order: readonly number[]): Promise<NormalizedState['organizations']> =>
  stage.use(race.options ?? {}, async (world) => {
    const steps = await race.open(world);
    for (const index of order) {
      const step = steps[index];
      if (step !== undefined) await ask(world.instance(), step);
    }
    await world.settle();
    return (await lookThrough(world)).state.organizations;
  });

/** Every order of the steps that were done, with and without those that may have been. */
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
