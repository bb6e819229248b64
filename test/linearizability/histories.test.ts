import { describe, expect, test } from 'vitest';
import type { Command, Filter } from '../../src/store/port.ts';
import type { Sabotage } from './history.ts';
import { checkHistory, printHistory } from './history.ts';

const HISTORIES = 120;
/** Several times what it takes on a machine with nothing else to do. */
const MS = 180_000;
/** Within so many histories, what is broken on purpose must have been found. */
const PATIENCE = 200;

test(
  `${HISTORIES} histories of names under concurrency could have come of one service that does one thing at a time`,
  async () => {
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const history = await checkHistory(seed);
      expect(history.verdict.linearizable, history.verdict.linearizable ? '' : printHistory(history)).toBe(true);
    }
  },
  MS,
);

test('the same seed gives the same history, step by step', async () => {
  for (const seed of [3, 5, 8]) {
    const [one, two] = [await checkHistory(seed), await checkHistory(seed)];
    expect(two.calls).toEqual(one.calls);
    expect(two.trace).toEqual(one.trace);
  }
});

/** Takes these fields out of the conditions of a write. */
const without = (filter: Filter, ...fields: string[]): Filter =>
  Object.fromEntries(Object.entries(filter).filter(([field]) => !fields.includes(field)));

const isUpdate = (command: Command) => command.op === 'findOneAndUpdate' || command.op === 'updateOne';

const of = (command: Command, collection: string): boolean =>
  'collection' in command && command.collection === collection;

/** Writes of the protocol, each made unconditional. */
const SABOTAGES: Readonly<Record<string, Sabotage>> = {
  'an operation begins whatever the version is': (command) =>
    command.op === 'findOneAndUpdate' && of(command, 'organizations') && command.update.$set?.['operation']
      ? { ...command, filter: without(command.filter, 'version') }
      : command,
  'a claim is taken from whoever has it': (command) => {
    if (command.op !== 'insertOne' || !of(command, 'claims')) return command;
    const { _id, ...fields } = command.document;
    const { database, collection } = command;
    return { op: 'updateOne', database, collection, filter: { _id }, update: { $set: fields }, upsert: true };
  },
  'a create commits though it was rolled back': (command) =>
    command.op === 'findOneAndUpdate' && of(command, 'organizations') && command.update.$set?.['status'] === 'active'
      ? { ...command, filter: without(command.filter, 'status') }
      : command,
  'a rename is carried on from any step': (command) =>
    isUpdate(command) && of(command, 'organizations') && 'operation.step' in command.filter
      ? { ...command, filter: without(command.filter, 'operation.step', 'operation.id') }
      : command,
  'an admin is changed whatever the version is': (command) =>
    command.op === 'updateOne' && of(command, 'admins')
      ? { ...command, filter: without(command.filter, 'version') }
      : command,
};

describe('The check finds it when', () => {
  test.each(Object.entries(SABOTAGES))(
    '%s',
    async (_what, sabotage) => {
      for (let seed = 1; seed <= PATIENCE; seed++) {
        const { verdict } = await checkHistory(seed, sabotage);
        if (!verdict.linearizable) return;
      }
      expect.unreachable(`${PATIENCE} histories and nothing found`);
    },
    MS,
  );
});
