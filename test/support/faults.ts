import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Command, CommandOf, Executor, Op, Results } from '../../src/store/port.ts';
import { READS, StoreError } from '../../src/store/port.ts';

/** What can happen to one call of the store. */
export type Fault =
  /** The instance dies, and the call has no effect. */
  | 'crash before'
  /** The call has its effect, and the instance dies. */
  | 'crash after'
  /** The call has its effect, and the instance is told that this is not known. */
  | 'reply lost'
  /** The call has no effect, and the instance is told so. */
  | 'unavailable'
  /** The instance sleeps for hours, others clear up behind it, and then the call goes through. */
  | 'pause'
  /** As `pause`, and the call is the instance's last: it clears up nothing of its own. */
  | 'pause and crash'
  /** The instance is told that the outcome is not known. The call has its effect only after others have cleared up. */
  | 'late effect'
  /** From this call on, every call has its effect and no reply arrives. */
  | 'deaf'
  /** From this call on, no call has an effect. */
  | 'away'
  /** Others, whose clock is an hour ahead, clear up: to them, every lease has expired. Then the call goes through. */
  | 'others ahead'
  /** From this call on, the instance's clock is an hour ahead of the others', and others clear up. */
  | 'clock ahead'
  /** From this call on, the instance's clock is an hour behind the others', and others clear up. */
  | 'clock behind';

export const FAULTS: readonly Fault[] = [
  'crash before',
  'crash after',
  'reply lost',
  'unavailable',
  'pause',
  'pause and crash',
  'late effect',
  'deaf',
  'away',
  'others ahead',
  'clock ahead',
  'clock behind',
];

/** A fault at the `at`th call from now, counted from 1, or at the first call of an operation. */
export type Plan = {
  readonly at: number | Op;
  readonly fault: Fault;
  /** What happens while the instance does not run. */
  readonly meanwhile: () => Promise<void>;
};

/** What every call of a dead instance throws. It is no StoreError: nothing in the service may expect it. */
export class Crashed extends Error {
  override readonly name = 'Crashed';
}

/** The store as one instance of the service sees it. */
export type FaultyExecutor = Executor & {
  /** Counts calls from here on, and makes the planned fault happen. */
  arm(plan?: Plan): void;
  /** The calls since it was armed, in words. */
  calls(): readonly string[];
  /** Whether the planned fault has happened. */
  hasHappened(): boolean;
  isDead(): boolean;
  /** How many calls have changed anything. */
  changes(): number;
  /** Resolves when no call is under way any more. */
  rest(): Promise<void>;
  /** Lets what is still on its way to the store arrive. */
  deliverLate(): Promise<void>;
};

export type FaultyOptions = {
  /** Asked at each renameCollection: true refuses it, as a server does that does not permit it. */
  readonly refusesRename?: () => boolean;
  /** Answers listCollections as a server does that gives collections no ids. */
  readonly withoutIds?: boolean;
};

/** A view of a shared store for one instance, in which a fault can be planned. Closing it leaves the store open. */
export function createFaultyExecutor(
  shared: Executor,
  { refusesRename = () => false, withoutIds = false }: FaultyOptions = {},
): FaultyExecutor {
  let plan: Plan | undefined;
  let calls: string[] = [];
  let changes = 0;
  let dead = false;
  let happened = false;
  /** While the instance is paused, nothing else of it reaches the store either. */
  let paused: Promise<void> | undefined;
  const underWay = new Set<Promise<unknown>>();
  const late: (() => Promise<unknown>)[] = [];

  const perform = async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
    if (command.op === 'renameCollection' && refusesRename()) {
      throw new StoreError('NotPermitted', 'This server does not rename collections.');
    }
    const result = await shared.execute(command);
    if (hasChanged(command, result)) changes++;
    if (withoutIds && command.op === 'listCollections') {
      return (result as Results['listCollections']).map(({ name }) => ({ name, id: null })) as Results[O];
    }
    return result;
  };

  /** A reply to a read that is lost leaves nothing unknown: adapters say that nothing happened. */
  const unknown = (command: Command) =>
    READS.has(command.op)
      ? new StoreError('Unavailable', 'The reply to a read was lost.')
      : new StoreError('OutcomeUnknown', 'The reply was lost.');

  const performUnheard = async <O extends Op>(command: CommandOf<O>): Promise<never> => {
    await perform(command).catch(() => undefined);
    throw unknown(command);
  };

  const pause = async (meanwhile: () => Promise<void>): Promise<void> => {
    paused = meanwhile();
    await paused;
    paused = undefined;
  };

  const fail = async <O extends Op>(command: CommandOf<O>, { fault, meanwhile }: Plan): Promise<Results[O]> => {
    happened = true;
    switch (fault) {
      case 'crash before':
        dead = true;
        throw new Crashed(fault);
      case 'crash after':
        dead = true;
        await perform(command).catch(() => undefined);
        throw new Crashed(fault);
      case 'reply lost':
      case 'deaf':
        return performUnheard(command);
      case 'unavailable':
      case 'away':
        throw new StoreError('Unavailable', 'The store is away.');
      case 'pause':
      case 'others ahead':
      case 'clock ahead':
      case 'clock behind':
        await pause(meanwhile);
        return perform(command);
      case 'pause and crash':
        await pause(meanwhile);
        dead = true;
        await perform(command).catch(() => undefined);
        throw new Crashed(fault);
      case 'late effect':
        if (!READS.has(command.op)) late.push(() => perform(command).catch(() => undefined));
        throw unknown(command);
    }
  };

  const execute = async <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
    if (dead) throw new Crashed('The instance is dead.');
    calls.push(inWords(command));
    if (plan?.at === command.op) plan = { ...plan, at: calls.length };
    if (plan === undefined || typeof plan.at === 'string' || calls.length < plan.at) return perform(command);
    if (calls.length === plan.at) return fail(command, plan);
    if (plan.fault === 'deaf') return performUnheard(command);
    if (plan.fault === 'away') throw new StoreError('Unavailable', 'The store is away.');
    if (paused !== undefined) {
      await paused;
      if (plan.fault === 'pause and crash') throw new Crashed('The instance is dead.');
    }
    return perform(command);
  };

  return {
    execute: <O extends Op>(command: CommandOf<O>): Promise<Results[O]> => {
      const call = execute(command);
      underWay.add(call);
      const forget = () => underWay.delete(call);
      call.then(forget, forget);
      return call;
    },
    rest: async () => {
      while (underWay.size > 0) {
        await Promise.allSettled(underWay);
        // Time for the code after them to make its next call.
        await nextTurn();
      }
    },
    limits: shared.limits,
    close: async () => {},
    arm: (next) => {
      plan = next;
      calls = [];
      happened = false;
    },
    calls: () => calls,
    hasHappened: () => happened,
    isDead: () => dead,
    changes: () => changes,
    deliverLate: async () => {
      for (const arrive of late.splice(0)) await arrive();
    },
  };
}

function inWords(command: Command): string {
  const where = 'collection' in command ? ` ${command.collection}` : '';
  return 'to' in command ? `${command.op}${where} to ${command.to}` : `${command.op}${where}`;
}

function hasChanged<O extends Op>(command: CommandOf<O>, result: Results[O]): boolean {
  if (READS.has(command.op)) return false;
  switch (command.op) {
    case 'deleteOne':
    case 'deleteMany':
      return result !== 0;
    case 'updateOne':
    case 'replaceOne': {
      const { matched, upserted } = result as Results['updateOne'];
      return matched > 0 || upserted;
    }
    case 'findOneAndUpdate':
      return result !== null;
    default:
      return true;
  }
}
