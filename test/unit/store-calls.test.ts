import { beforeAll, describe, expect, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { getOrganization } from '../../src/domain/organization/get.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { limitByAddress } from '../../src/domain/rate-limit/by-address.ts';
import { limitChanges } from '../../src/domain/rate-limit/changes.ts';
import { reconcile } from '../../src/domain/reconcile.ts';
import { beginSecondFactor, confirmSecondFactor } from '../../src/domain/second-factor/change.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { refreshSession } from '../../src/domain/session/refresh.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, principalOf } from '../support/instance.ts';
import { codeOf } from '../support/second-factor.ts';
import type { CountingExecutor } from '../support/store-calls.ts';
import { countingExecutor } from '../support/store-calls.ts';

const PASSWORD = 'correct horse battery';

let executor: CountingExecutor;
let context: Context;

beforeAll(async () => {
  executor = countingExecutor(createSqliteExecutor(openSqliteFile(':memory:')));
  const services = createInstance(executor, { LIMIT_CHANGE: '1000/3600', LIMIT_RENAME: '10/3600' });
  await services.prepare();
  const request = { id: 'test', address: '192.0.2.1', device: 'a test' };
  context = { ...services.context, request };
});

let made = 0;

async function newAccount() {
  const number = ++made;
  const account = { organization_name: `Counted ${number}`, email: `owner-${number}@example.com`, password: PASSWORD };
  const created = await createOrganization(context, account);
  return { ...account, ...created };
}

type Budget = {
  readonly verb: string;
  readonly calls: number;
  readonly rounds: number;
  /** Prepares the state, and gives the work that is measured. */
  readonly prepare: () => Promise<() => Promise<unknown>>;
};

/** What each verb may cost, in the state that it finds most of the time: see CONTRIBUTING. */
const BUDGETS: readonly Budget[] = [
  {
    verb: 'an authenticated request',
    calls: 3,
    rounds: 1,
    prepare: async () => {
      const { email, password } = await newAccount();
      const { access_token } = await logIn(context, { email, password });
      return () => authenticate(context, access_token);
    },
  },
  {
    verb: 'a sign-in from a known address',
    calls: 8,
    rounds: 5,
    prepare: async () => {
      const { email, password } = await newAccount();
      await logIn(context, { email, password });
      await expect(logIn(context, { email, password: 'a wrong password' })).rejects.toMatchObject({
        code: 'invalid_credentials',
      });
      return () => logIn(context, { email, password });
    },
  },
  {
    // One more: the budget of its /48.
    verb: 'a sign-in from a known address of IPv6',
    calls: 9,
    rounds: 5,
    prepare: async () => {
      const over = { ...context, request: { ...context.request, address: '2001:db8::1' } };
      const { email, password } = await newAccount();
      await logIn(over, { email, password });
      await expect(logIn(over, { email, password: 'a wrong password' })).rejects.toMatchObject({
        code: 'invalid_credentials',
      });
      return () => logIn(over, { email, password });
    },
  },
  {
    verb: 'a sign-in to a named organization',
    calls: 8,
    rounds: 5,
    prepare: async () => {
      const { email, password, organization_name } = await newAccount();
      await logIn(context, { email, password });
      await expect(logIn(context, { email, password: 'a wrong password' })).rejects.toMatchObject({
        code: 'invalid_credentials',
      });
      return () => logIn(context, { email, password, organization_name });
    },
  },
  {
    // Three more: the guess of a code, its use, and the end of the guesses.
    verb: 'a sign-in with a second factor',
    calls: 11,
    rounds: 8,
    prepare: async () => {
      const { email, password, organization_id, admin_id } = await newAccount();
      await logIn(context, { email, password });
      const principal = () => principalOf(context, organization_id, admin_id);
      const { secret } = await beginSecondFactor(context, {
        principal: await principal(),
        current_password: password,
      });
      await confirmSecondFactor(context, { principal: await principal(), code: codeOf(secret) });
      return () => logIn(context, { email, password, code: codeOf(secret, { steps: 1 }) });
    },
  },
  {
    verb: 'a refresh',
    calls: 5,
    rounds: 4,
    prepare: async () => {
      const { email, password } = await newAccount();
      const { refresh_token } = await logIn(context, { email, password });
      await limitByAddress(context, 'refresh');
      return async () => {
        await limitByAddress(context, 'refresh');
        await refreshSession(context, { refresh_token });
      };
    },
  },
  {
    // One call over the design's twelve: the mail counts for its receiver, beside the making of the collection.
    verb: 'a create',
    calls: 13,
    rounds: 9,
    prepare: async () => {
      await limitByAddress(context, 'create');
      const number = ++made;
      const input = { organization_name: `New ${number}`, email: `new-${number}@example.com`, password: PASSWORD };
      return async () => {
        await limitByAddress(context, 'create');
        await createOrganization(context, input);
      };
    },
  },
  {
    verb: 'a get',
    calls: 1,
    rounds: 1,
    prepare: async () => {
      const { organization_name } = await newAccount();
      return () => getOrganization(context, { organization_name });
    },
  },
  {
    // Two calls over the design's twelve: the target is in the journal before the move, and the source is `former`
    // after the commit. Both are rules of the lifecycle that the model needs. And four in two rounds for the budgets:
    // of the admin's and the address's changes; of the organization's renames, with a look at the name.
    verb: 'a rename',
    calls: 18,
    rounds: 11,
    prepare: async () => {
      const { email, password } = await newAccount();
      const { access_token } = await logIn(context, { email, password });
      const new_organization_name = `Renamed ${++made}`;
      return async () => {
        const principal = await authenticate(context, access_token);
        await limitChanges(context, principal.admin);
        await updateOrganization(context, { principal, new_organization_name });
      };
    },
  },
  {
    verb: 'a rename to a name that is taken',
    calls: 8,
    rounds: 4,
    prepare: async () => {
      const { email, password } = await newAccount();
      const { organization_name: new_organization_name } = await newAccount();
      const { access_token } = await logIn(context, { email, password });
      return async () => {
        const principal = await authenticate(context, access_token);
        await limitChanges(context, principal.admin);
        const renamed = updateOrganization(context, { principal, new_organization_name });
        await expect(renamed).rejects.toMatchObject({ code: 'organization_name_taken' });
      };
    },
  },
  {
    verb: 'an update that changes nothing',
    calls: 5,
    rounds: 2,
    prepare: async () => {
      const { email, password, organization_name } = await newAccount();
      const { access_token } = await logIn(context, { email, password });
      return async () => {
        const principal = await authenticate(context, access_token);
        await limitChanges(context, principal.admin);
        await updateOrganization(context, { principal, new_organization_name: organization_name, email });
      };
    },
  },
  {
    verb: 'a delete',
    calls: 15,
    rounds: 9,
    prepare: async () => {
      const { email, password, organization_name } = await newAccount();
      const { access_token } = await logIn(context, { email, password });
      return async () => {
        const principal = await authenticate(context, access_token);
        await deleteOrganization(context, { principal, organization_name });
      };
    },
  },
  {
    verb: 'an idle round of due work',
    calls: 8,
    rounds: 8,
    prepare: async () => {
      // An hour on, all mails of the others are due: none becomes due in the round that is measured.
      const later = { ...context, clock: () => new Date(Date.now() + 60 * 60 * 1000) };
      for (let round = 0; round < 4; round++) await reconcile(later, round);
      return () => reconcile(later, 0);
    },
  },
];

describe('store calls', () => {
  test.each(BUDGETS)('of $verb: at most $calls in $rounds rounds', async ({ calls, rounds, prepare }) => {
    const work = await prepare();
    const measured = (await executor.measure(work)).calls;
    expect(measured.count, JSON.stringify(measured.rounds)).toBeLessThanOrEqual(calls);
    expect(measured.rounds.length, JSON.stringify(measured.rounds)).toBeLessThanOrEqual(rounds);
  });
});
