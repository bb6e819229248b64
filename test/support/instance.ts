import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseConfig } from '../../src/config.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { openSession } from '../../src/domain/session/open-session.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import type { Platform, Services } from '../../src/services.ts';
import { createServices } from '../../src/services.ts';
import type { CommandOf, Executor, Op } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';

const LEASE_MS = '100';

/** Tests change things often: the budgets for that are on where a test asks for them. */
const NO_LIMITS = { LIMIT_CHANGE: 'off', LIMIT_RENAME: 'off', LIMIT_INSPECT: 'off' };

/** The service's parts without HTTP, over a store that tests share, hashing at once. */
export function createInstance(
  executor: Executor,
  env: Readonly<Record<string, string>> = {},
  platform: Partial<Platform> = {},
): Services {
  const config = parseConfig({ MASTER_DB: 'test', LEASE_MS, ...NO_LIMITS, ...env });
  return createServices(config, {
    executor,
    hasher: {
      hash: async (password) => `plain:${password}`,
      verify: async (password, hash) => hash === `plain:${password}`,
    },
    jwtSecret: 'for tests only: 32 bytes and more of it',
    log: () => {},
    ...platform,
  });
}

/** A mailer that keeps the mails, and background work that a test waits for: its errors are thrown there. */
export function keptMails() {
  const mails: { readonly to: string; readonly text: string }[] = [];
  const background: Promise<unknown>[] = [];
  const platform: Pick<Platform, 'mailer' | 'background'> = {
    mailer: {
      send: async ({ to, text }) => {
        mails.push({ to, text });
        return 'sent';
      },
    },
    background: async (work) => {
      const done = work();
      background.push(done);
      await done.catch(() => undefined);
    },
  };
  const settled = async () => {
    while (background.length > 0) await background.pop();
  };
  /** The one-time token in the last mail to an address; empty where there is none. */
  const tokenMailedTo = (email: string): string => {
    const { text } = mails.findLast(({ to }) => to === email) ?? { text: '' };
    return /[0-9a-f-]{36}\.[0-9a-f]{64}/.exec(text)?.[0] ?? '';
  };
  return { mails, platform, settled, tokenMailedTo };
}

/** A time that stands still, unless somebody waits or the test moves it. */
export function virtualTime(): Pick<Context, 'clock' | 'wait'> & { advance(ms: number): void } {
  let now = Date.now();
  return {
    clock: () => new Date(now),
    wait: async (ms) => {
      now += ms;
      await nextTurn();
    },
    advance: (ms) => {
      now += ms;
    },
  };
}

/** Gives others the turn at random before each call, by a number that makes the same turns again. */
export function shuffled(executor: Executor, seed: number): Executor {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return {
    ...executor,
    execute: async <O extends Op>(command: CommandOf<O>) => {
      for (let turns = random(4); turns > 0; turns--) await nextTurn();
      return executor.execute<O>(command);
    },
  };
}

/** A store that goes away for good before, or after, its so-manyth call. */
export function goneAt(executor: Executor, call: number, when: 'before' | 'after'): Executor & { calls(): number } {
  let calls = 0;
  const gone = () => new StoreError('Unavailable', 'Gone.');
  return {
    ...executor,
    calls: () => calls,
    execute: async <O extends Op>(command: CommandOf<O>) => {
      calls++;
      if (calls > call || (calls === call && when === 'before')) throw gone();
      const result = await executor.execute<O>(command);
      if (calls === call) throw gone();
      return result;
    },
  };
}

/** A new organization's first admin, as a request would know it. */
export async function ownerOf(context: Context, name: string): Promise<Principal> {
  const email = `${context.newId()}@example.com`;
  const created = await createOrganization(context, { organization_name: name, email, password: 'TestPass123' });
  return principalOf(context, created.organization_id, created.admin_id);
}

export async function principalOf(context: Context, organizationId: string, adminId: string): Promise<Principal> {
  const organization = await context.master.organizations.findOne({ _id: organizationId });
  const admin = await context.master.admins.findOne({ _id: adminId });
  if (organization === undefined || admin === undefined) throw new Error('Not there.');
  const { access_token } = await openSession(context, { organization, admin });
  return authenticate(context, access_token);
}
