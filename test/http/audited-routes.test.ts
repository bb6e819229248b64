import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditAction } from '../../src/domain/audit/event.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';
import type { Answer, Caller, Credentials, SignedInTenant } from '../support/caller.ts';
import { createCaller, newName } from '../support/caller.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

type Change = {
  /** What the change has to leave in the log of the organization. */
  readonly actions: readonly AuditAction[];
  /** Makes the change with a tenant of its own, and returns the answer and who may look at the log after it. */
  readonly make: (
    caller: Caller,
    store: Store,
    masterDatabase: string,
  ) => Promise<{ answer: Answer; reader: Credentials }>;
};

const asTenant = async (
  caller: Caller,
  make: (tenant: SignedInTenant, refreshToken: string) => Promise<Answer>,
  reader: (tenant: SignedInTenant) => Credentials = (tenant) => tenant,
) => {
  const tenant = await caller.tenant();
  const { json } = await caller.login(tenant);
  const signedIn = { ...tenant, token: json.access_token };
  return { answer: await make(signedIn, json.refresh_token), reader: reader(signedIn) };
};

/** Every route that is not read-only: what it leaves in the log, or why it leaves nothing. */
const CHANGES: Readonly<Record<string, Change | string>> = {
  'post /org/create': {
    actions: ['organization.created'],
    make: async (caller) => {
      const credentials = { email: `${newName('a').replace(' ', '-')}@example.com`, password: caller.newPassword() };
      return { answer: await caller.create(newName(), credentials), reader: credentials };
    },
  },
  'put /org/update': {
    actions: ['organization.renamed', 'admin.email_changed', 'admin.password_changed'],
    make: async (caller) => {
      const changed = { email: `${newName('b').replace(' ', '-')}@example.com`, password: caller.newPassword() };
      return asTenant(
        caller,
        ({ token }) => caller.update(token, { new_organization_name: newName(), ...changed }),
        () => changed,
      );
    },
  },
  'delete /org/delete': {
    actions: ['organization.deleted'],
    make: (caller) =>
      asTenant(caller, async (tenant) => {
        const answer = await caller.remove(tenant.token, tenant.name);
        await restore(caller, tenant);
        return answer;
      }),
  },
  'post /org/restore': {
    actions: ['organization.restored'],
    make: (caller) =>
      asTenant(caller, async (tenant) => {
        await caller.remove(tenant.token, tenant.name);
        return restore(caller, tenant);
      }),
  },
  'post /admin/login': {
    actions: ['session.signed_in'],
    make: (caller) => asTenant(caller, (tenant) => caller.login(tenant)),
  },
  'post /admin/refresh': 'It goes on with a session, and changes nothing else; a spent token is another matter.',
  'post /admin/logout': {
    actions: ['session.signed_out'],
    make: (caller) =>
      asTenant(caller, (_, refresh_token) => caller.request('POST', '/admin/logout', { body: { refresh_token } })),
  },
  'post /admin/logout-all': {
    actions: ['session.signed_out_everywhere'],
    make: (caller) => asTenant(caller, ({ token }) => caller.request('POST', '/admin/logout-all', { token })),
  },
  'delete /admin/sessions': {
    actions: ['session.ended'],
    make: (caller) =>
      asTenant(caller, async ({ token }) => {
        const { json } = await caller.request('GET', '/admin/sessions', { token });
        const query = { session_id: json.items[0].session_id };
        return caller.request('DELETE', '/admin/sessions', { token, query });
      }),
  },
  'post /admin/password/change': {
    actions: ['admin.password_changed'],
    make: async (caller) => {
      const new_password = caller.newPassword();
      return asTenant(
        caller,
        ({ token, password }) =>
          caller.request('POST', '/admin/password/change', {
            token,
            body: { current_password: password, new_password },
          }),
        ({ email }) => ({ email, password: new_password }),
      );
    },
  },
  'put /org/admins': {
    actions: ['admin.role_changed'],
    make: (caller, store, masterDatabase) =>
      asTenant(caller, async (tenant) => {
        const admin_id = await addAdmin(store, masterDatabase, tenant);
        return caller.request('PUT', '/org/admins', { token: tenant.token, body: { admin_id, role: 'viewer' } });
      }),
  },
  'delete /org/admins': {
    actions: ['admin.removed'],
    make: (caller, store, masterDatabase) =>
      asTenant(caller, async (tenant) => {
        const admin_id = await addAdmin(store, masterDatabase, tenant);
        return caller.request('DELETE', '/org/admins', { token: tenant.token, query: { admin_id } });
      }),
  },
};

const restore = (caller: Caller, { name, email, password }: SignedInTenant): Promise<Answer> =>
  caller.request('POST', '/org/restore', { body: { organization_name: name, email, password } });

/** Another admin of the organization, put beside the service. */
async function addAdmin(store: Store, masterDatabase: string, { adminId }: SignedInTenant): Promise<string> {
  const admins = store.database(masterDatabase).collection('admins');
  const model = await admins.findOne({ _id: adminId });
  if (model === undefined) throw new Error('The admin is not there.');
  const email = `${newName('c').replace(' ', '-')}@example.com`;
  const other = { ...model, _id: uuidv7(), email, email_key: email };
  await admins.insertOne(other);
  return other._id;
}

describe('every route that changes something', () => {
  let service: RunningService;
  let caller: Caller;
  let store: Store;

  beforeAll(async () => {
    service = await startService({ runtime: 'node', store: { kind: 'embedded' }, env: { DELETE_RETENTION_DAYS: '1' } });
    caller = createCaller(service.url);
    store = createStore(createSqliteExecutor(openSqliteFile(`${service.dataDirectory}/tenantry.db`)));
  });

  afterAll(async () => {
    await store?.close();
    await service?.stop();
  });

  test('leaves in the log what it did, or is listed here with the reason why not', async () => {
    const { json: document } = await caller.request('GET', '/openapi.json');
    const routes = Object.entries<Record<string, unknown>>(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method} ${path}`),
    );
    const changing = routes.filter((route) => !route.startsWith('get '));
    expect(changing.sort()).toEqual(Object.keys(CHANGES).sort());
    for (const [route, change] of Object.entries(CHANGES)) {
      if (typeof change === 'string') continue;
      const { answer, reader } = await change.make(caller, store, service.masterDatabase);
      expect(answer.status, `${route}: ${answer.text}`).toBeLessThan(300);
      const { json: signedIn, text } = await caller.login(reader);
      const { json: log } = await caller.request('GET', '/org/audit', { token: signedIn.access_token });
      const requestId = answer.headers.get('X-Request-Id');
      const left = log.items
        .filter((item: { request_id: string }) => item.request_id === requestId)
        .map(({ action }: { action: string }) => action);
      expect(left.sort(), `${route}: ${text}`).toEqual([...change.actions].sort());
      const { json: check } = await caller.request('GET', '/org/audit/verify', { token: signedIn.access_token });
      expect(check.whole, route).toBe(true);
    }
  });
});
