import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Caller } from '../support/caller.ts';
import { createCaller } from '../support/caller.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

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

const signIn = (body: object, signal?: AbortSignal): Promise<Response> =>
  fetch(`${service.url}/admin/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });

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
    const endedAt = performance.now();
    let status: number;
    do {
      const response = await signIn({ email, password });
      await response.arrayBuffer();
      status = response.status;
    } while (status === 503 && performance.now() - endedAt < RECOVERY_MS);
    expect(status).toBe(200);
    expect(performance.now() - endedAt).toBeLessThan(RECOVERY_MS);
  },
  ATTACK_MS + 60_000,
);
