import { afterEach, describe, expect, inject, test } from 'vitest';
import { createCaller, newEmail } from '../support/caller.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService, ServiceOptions } from '../support/service.ts';
import { startService } from '../support/service.ts';

const PROXIED = { TRUSTED_PROXIES: '127.0.0.1' };
const ALLOWED = 7;

const mongoUri = inject('secantusUri');

describe.each(['node', 'bun'] as const)('on %s', (runtime) => {
  const running: RunningService[] = [];

  afterEach(async () => {
    for (const service of running.splice(0)) await service.stop();
  });

  const start = async (options: Partial<ServiceOptions>): Promise<RunningService> => {
    const service = await startService({ runtime, store: { kind: 'embedded' }, ...options });
    running.push(service);
    return service;
  };

  test.skipIf(mongoUri === undefined)(
    'of 50 wrong sign-ins at once over two instances, as many as are allowed are tried, and the victim signs in from elsewhere',
    async () => {
      const store = { kind: 'mongo', uri: mongoUri ?? '' } as const;
      const first = await start({ store, env: { ...PROXIED, LIMIT_LOGIN_ACCOUNT: `${ALLOWED}/600` } });
      const second = await start({
        store,
        env: {
          ...PROXIED,
          LIMIT_LOGIN_ACCOUNT: `${ALLOWED}/600`,
          MASTER_DB: first.masterDatabase,
          JWT_SECRET: first.jwtSecret,
        },
      });
      const callers = [createCaller(first.url), createCaller(second.url)] as const;
      const victim = await callers[0].tenant();
      for (const email of [victim.email, newEmail()]) {
        const signIn = (index: number, from: string, password: string) =>
          callers[index % 2 === 0 ? 0 : 1].request('POST', '/admin/login', {
            body: { email, password },
            headers: { 'X-Forwarded-For': `8.8.8.${index}, ${from}` },
          });
        const answers = await Promise.all(
          Array.from({ length: 50 }, (_, index) => signIn(index, '198.51.100.7', 'a wrong password')),
        );
        // A 401 is given by the hasher alone.
        expect(answers.filter(({ status }) => status === 401)).toHaveLength(ALLOWED);
        const refused = answers.filter(({ status }) => status !== 401);
        for (const answer of refused) expectProblem(answer, 429, 'too_many_requests');
        const status = email === victim.email ? 200 : 401;
        expect((await signIn(0, '198.51.100.8', victim.password)).status).toBe(429);
        expect((await signIn(1, '203.0.113.8', victim.password)).status).toBe(status);
      }
    },
    120_000,
  );
});
