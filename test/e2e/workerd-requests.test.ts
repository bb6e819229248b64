import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Caller } from '../support/caller.ts';
import { createCaller } from '../support/caller.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { startMongo } from '../support/wire-server.ts';

/** How long an attack goes on: one wave, or a minute with TEST_ATTACK_MS=60000 on a machine that does nothing else. */
const { TEST_ATTACK_MS } = process.env;
const ATTACK_MS = Number(TEST_ATTACK_MS ?? 1);

/** Calls of one wave, how often waves come, and how long an impatient caller waits for its answer. */
const WAVE = 80;
const EVERY_MS = 1000;
const ABORT_MS = 100;

/** How soon after an attack a sign-in has to work. Without the fix, it never works again. */
const RECOVERY_MS = TEST_ATTACK_MS === undefined ? 20_000 : 2000;

let service: RunningService;
let caller: Caller;

beforeAll(async () => {
  service = await startService({ runtime: 'workerd', store: { kind: 'embedded' } });
  caller = createCaller(service.url);
});

afterAll(async () => {
  await service?.stop();
});

const signIn = (body: object, signal?: AbortSignal, { url } = service): Promise<Response> =>
  fetch(`${url}/admin/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });

/** Whether a sign-in works within the time, counted from now. */
async function signsInSoon(ask: () => Promise<Response>): Promise<void> {
  const endedAt = performance.now();
  let status: number;
  do {
    const response = await ask();
    await response.arrayBuffer();
    status = response.status;
  } while (status === 503 && performance.now() - endedAt < RECOVERY_MS);
  expect(status).toBe(200);
  expect(performance.now() - endedAt).toBeLessThan(RECOVERY_MS);
}

test('the log says which store it runs on', () => {
  expect(service.logs()).toMatch(/"event":"service.started","store":"embedded"/);
});

test.each([
  ['whose callers leave', ABORT_MS],
  ['whose callers wait', 60_000],
])(
  'waves of anonymous sign-ins %s leave sign-in working',
  async (_, patienceMs) => {
    const { email, password } = await caller.tenant();
    const endAt = performance.now() + ATTACK_MS;
    for (let wave = 0; performance.now() < endAt; wave++) {
      const next = delay(EVERY_MS);
      await Promise.allSettled(
        Array.from({ length: WAVE }, (_unused, index) =>
          signIn(
            { email: `stranger-${wave}-${index}@example.com`, password: 'a guess of theirs' },
            AbortSignal.timeout(patienceMs),
          ),
        ),
      );
      await next;
    }
    await signsInSoon(() => signIn({ email, password }));
  },
  ATTACK_MS + 60_000,
);

test(
  'an outage of the database at the first request of an isolate leaves sign-in working',
  async ({ skip }) => {
    const server = await startMongo({ durable: true });
    if (server === undefined) return skip();
    const started: RunningService[] = [];
    // Two services of one deployment.
    const env = { MASTER_DB: 'master', JWT_SECRET: randomBytes(36).toString('base64url') };
    const start = async (state: 'live' | 'ready') => {
      const store = { kind: 'mongo', uri: server.uri } as const;
      const one = await startService({ runtime: 'workerd', store, state, env });
      started.push(one);
      return one;
    };
    try {
      const { email, password } = await createCaller((await start('ready')).url).tenant();
      await server.kill('SIGKILL');
      const isolate = await start('live');
      const endAt = performance.now() + ATTACK_MS;
      do {
        const response = await signIn({ email, password }, undefined, isolate);
        await response.arrayBuffer();
        expect(response.status).toBe(503);
      } while (performance.now() < endAt);
      await server.restart();
      await signsInSoon(() => signIn({ email, password }, undefined, isolate));
    } finally {
      await Promise.all(started.map((one) => one.stop()));
      await server.stop();
    }
  },
  ATTACK_MS + 120_000,
);
