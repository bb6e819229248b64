import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import type { Hasher } from '../../src/platform/hashing/hasher.ts';
import { createNodeHasher } from '../../src/platform/hashing/node.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createServices } from '../../src/services.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { newEmail, newName } from '../support/caller.ts';
import { mannWhitney } from '../support/two-samples.ts';

/** Of each kind: two kinds are compared over twice as many calls. The long form is `npm run test:timing`. */
const CALLS = Number(process.env['TIMING_CALLS'] ?? 200);
const CALLS_TO_TELL = 30;
const MAX_MS = 900_000;

/** Honest samples are told apart once in a hundred times: three times in a row, once in a million. */
const P = 0.01;
const ROUNDS = 3;

const newAccount = (email = newEmail()) => ({
  organization_name: newName(),
  email,
  password: 'a password of the tests',
});

const KNOWN = newAccount();
const BAITED = newAccount();

/** Accounts that strangers have made for an email: more than one sign-in looks at. */
const BAITS = 9;
const BAIT_ONLY = newEmail();

/** A sign-in of each kind that is refused with the same words; an address or name is asked for once. */
const KINDS = {
  known: () => ({ email: KNOWN.email, organization_name: KNOWN.organization_name }),
  'unknown email': () => ({ email: newEmail(), organization_name: KNOWN.organization_name }),
  'unknown organization': () => ({ email: KNOWN.email, organization_name: newName() }),
  'known email alone': () => ({ email: KNOWN.email }),
  'unknown email alone': () => ({ email: newEmail() }),
  'email with baits alone': () => ({ email: BAITED.email }),
  'email of baits alone': () => ({ email: BAIT_ONLY }),
};

type Kind = keyof typeof KINDS;

let executor: Executor;

beforeAll(() => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
});

afterAll(() => executor.close());

const appWith = (hasher: Hasher) => {
  const config = parseConfig({ LIMIT_LOGIN_ADDRESS: '1000000/60', LIMIT_LOGIN_ACCOUNT: '100000/60' });
  const services = createServices(config, {
    executor,
    hasher,
    jwtSecret: 'for tests only: 32 bytes and more of it',
    log: () => {},
  });
  return createApp(services, () => ({ remote: { address: '192.0.2.1' } }));
};

const post = async (app: ReturnType<typeof appWith>, path: string, body: unknown) => {
  const init = { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  const response = await app.request(path, init);
  return { response, text: await response.text() };
};

const create = async (app: ReturnType<typeof appWith>, account: ReturnType<typeof newAccount>) =>
  expect([200, 409]).toContain((await post(app, '/org/create', account)).response.status);

/** All that an answer shows, but for the request's id and the numbers that count down. */
const shown = ({ response: { status, headers }, text }: Awaited<ReturnType<typeof post>>): string =>
  JSON.stringify([
    status,
    [...headers.keys()].sort(),
    headers.get('RateLimit-Policy'),
    headers.get('RateLimit')?.replace(/\d+/g, 'n'),
    { ...JSON.parse(text), request_id: '' },
  ]);

/**
 * How long so many sign-ins of each kind took, in milliseconds; one of each in turn, in an order of its own each time.
 * All of them must show the same.
 */
async function sample(app: ReturnType<typeof appWith>, kinds: readonly Kind[], calls: number) {
  const times = new Map<Kind, number[]>(kinds.map((kind) => [kind, []]));
  const answers = new Set<string>();
  for (let call = 0; call < calls; call++) {
    const order = kinds.map((kind) => ({ kind, at: Math.random() })).sort((one, other) => one.at - other.at);
    for (const { kind } of order) {
      const body = { ...KINDS[kind](), password: 'not the password' };
      const start = performance.now();
      const answer = await post(app, '/admin/login', body);
      times.get(kind)?.push(performance.now() - start);
      expect(answer.response.status).toBe(401);
      answers.add(shown(answer));
    }
  }
  expect(answers.size, [...answers].join('\n')).toBe(1);
  return (kind: Kind): readonly number[] => times.get(kind) ?? [];
}

const differences = (times: (kind: Kind) => readonly number[], pairs: readonly (readonly [Kind, Kind])[]): string[] =>
  pairs.flatMap(([one, other]) => {
    const p = mannWhitney(times(one), times(other));
    return p > P / pairs.length ? [] : [`${one} and ${other}: p = ${p}`];
  });

test(
  'the time of a sign-in does not tell a known email or organization from an unknown one',
  async () => {
    const app = appWith(createNodeHasher({ cost: 10 }));
    await create(app, KNOWN);
    const pairs = [
      ['known', 'unknown email'],
      ['known', 'unknown organization'],
    ] as const;
    const found: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const different = differences(
        await sample(app, ['known', 'unknown email', 'unknown organization'], CALLS),
        pairs,
      );
      if (different.length === 0) return;
      found.push(...different);
    }
    expect(found).toEqual([]);
  },
  MAX_MS,
);

test(
  'the time of a sign-in without an organization does not tell a known email from an unknown one, nor do its answers, with and without baits',
  async () => {
    const app = appWith(createNodeHasher({ cost: 10 }));
    await create(app, KNOWN);
    await create(app, BAITED);
    for (let bait = 0; bait < BAITS; bait++) {
      for (const email of [BAITED.email, BAIT_ONLY]) await create(app, newAccount(email));
    }
    const kinds = ['known email alone', 'email with baits alone', 'email of baits alone'] as const;
    const pairs = kinds.map((kind) => [kind, 'unknown email alone'] as const);
    const found: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const different = differences(await sample(app, [...kinds, 'unknown email alone'], CALLS / 2), pairs);
      if (different.length === 0) return;
      found.push(...different);
    }
    expect(found).toEqual([]);
  },
  MAX_MS,
);

test('the time would tell them apart if there were no hash to stand in for the one that is not there', async () => {
  const hasher = createNodeHasher({ cost: 10 });
  const app = appWith({
    hash: (password) => hasher.hash(password),
    verify: async (password, hash) => hash !== '' && (await hasher.verify(password, hash)),
  });
  await create(app, KNOWN);
  const times = await sample(app, ['known', 'unknown email', 'unknown organization'], CALLS_TO_TELL);
  for (const unknown of ['unknown email', 'unknown organization'] as const) {
    expect(mannWhitney(times('known'), times(unknown))).toBeLessThan(1e-6);
  }
});

test('the two-sample test knows its tables', () => {
  const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
  expect(mannWhitney(upTo(10), upTo(10, 11))).toBeCloseTo(0.000183, 5);
  expect(mannWhitney(upTo(10), upTo(10, 6))).toBeCloseTo(0.00508, 4);
  expect(mannWhitney([1, 1, 1], [1, 1, 1])).toBe(1);
  expect(mannWhitney(upTo(100), upTo(100))).toBeGreaterThan(0.9);
});
