import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditAction } from '../../src/domain/audit/event.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';
import type { Answer, Caller, Credentials, SignedInTenant } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import type { Mailbox } from '../support/mailbox.ts';
import { awaitMail, directoryMailbox, tokenIn } from '../support/mailbox.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';

/** The service's caller, and what stands beside the service. */
type Beside = {
  readonly caller: Caller;
  readonly store: Store;
  readonly masterDatabase: string;
  readonly mailbox: Mailbox;
};

type Change = {
  /** What the change has to leave in the log of the organization. */
  readonly actions: readonly AuditAction[];
  /** Makes the change with a tenant of its own, and returns the answer and who may look at the log after it. */
  readonly make: (beside: Beside) => Promise<{ answer: Answer; reader: Credentials }>;
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
    make: async ({ caller }) => {
      const credentials = { email: newEmail(), password: caller.newPassword() };
      return { answer: await caller.create(newName(), credentials), reader: credentials };
    },
  },
  'put /org/update': {
    actions: ['organization.renamed', 'admin.email_changed', 'admin.password_changed'],
    make: async ({ caller }) => {
      const changed = { email: newEmail(), password: caller.newPassword() };
      return asTenant(
        caller,
        ({ token }) => caller.update(token, { new_organization_name: newName(), ...changed }),
        () => changed,
      );
    },
  },
  'delete /org/delete': {
    actions: ['organization.deleted'],
    make: ({ caller }) =>
      asTenant(caller, async (tenant) => {
        const answer = await caller.remove(tenant.token, tenant.name);
        await restore(caller, tenant);
        return answer;
      }),
  },
  'post /org/restore': {
    actions: ['organization.restored'],
    make: ({ caller }) =>
      asTenant(caller, async (tenant) => {
        await caller.remove(tenant.token, tenant.name);
        return restore(caller, tenant);
      }),
  },
  'post /admin/login': {
    actions: ['session.signed_in'],
    make: ({ caller }) => asTenant(caller, (tenant) => caller.login(tenant)),
  },
  'post /admin/refresh': 'It goes on with a session, and changes nothing else; a spent token is another matter.',
  'post /admin/logout': {
    actions: ['session.signed_out'],
    make: ({ caller }) =>
      asTenant(caller, (_, refresh_token) => caller.request('POST', '/admin/logout', { body: { refresh_token } })),
  },
  'post /admin/logout-all': {
    actions: ['session.signed_out_everywhere'],
    make: ({ caller }) => asTenant(caller, ({ token }) => caller.request('POST', '/admin/logout-all', { token })),
  },
  'delete /admin/sessions': {
    actions: ['session.ended'],
    make: ({ caller }) =>
      asTenant(caller, async ({ token }) => {
        const { json } = await caller.request('GET', '/admin/sessions', { token });
        const query = { session_id: json.items[0].session_id };
        return caller.request('DELETE', '/admin/sessions', { token, query });
      }),
  },
  'post /admin/password/change': {
    actions: ['admin.password_changed'],
    make: async ({ caller }) => {
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
  'post /admin/password/forgot': 'It sends a mail, if anything: nothing has changed until its token is used.',
  'post /admin/password/reset': {
    actions: ['admin.password_reset'],
    make: async ({ caller, mailbox }) => {
      const password = caller.newPassword();
      return asTenant(
        caller,
        async ({ email }) => {
          await caller.request('POST', '/admin/password/forgot', { body: { email } });
          const token = tokenIn(await awaitMail(mailbox, email, /^Choose a new password/));
          return caller.request('POST', '/admin/password/reset', { body: { token, password } });
        },
        ({ email }) => ({ email, password }),
      );
    },
  },
  'post /admin/verify-email': {
    actions: ['admin.email_verified'],
    make: ({ caller, mailbox }) =>
      asTenant(caller, async ({ email }) => {
        const token = tokenIn(await awaitMail(mailbox, email, CONFIRM));
        return caller.request('POST', '/admin/verify-email', { body: { token } });
      }),
  },
  'post /admin/verify-email/resend': 'It sends a mail, and changes nothing.',
  'post /org/invites': {
    actions: ['admin.invited'],
    make: ({ caller }) => asTenant(caller, ({ token }) => invite(caller, token, newEmail())),
  },
  'delete /org/invites': {
    actions: ['admin.invitation_withdrawn'],
    make: ({ caller }) =>
      asTenant(caller, async ({ token }) => {
        const { json } = await invite(caller, token, newEmail());
        return caller.request('DELETE', '/org/invites', { token, query: { invitation_id: json.invitation_id } });
      }),
  },
  'post /admin/accept-invite': {
    actions: ['admin.joined'],
    make: ({ caller, mailbox }) =>
      asTenant(caller, async (tenant) => {
        const email = newEmail();
        await invite(caller, tenant.token, email);
        const token = tokenIn(await awaitMail(mailbox, email, /^You are invited/));
        const body = { token, password: caller.newPassword() };
        return caller.request('POST', '/admin/accept-invite', { body });
      }),
  },
  'put /org/admins': {
    actions: ['admin.role_changed'],
    make: ({ caller, store, masterDatabase }) =>
      asTenant(caller, async (tenant) => {
        const admin_id = await addAdmin(store, masterDatabase, tenant);
        return caller.request('PUT', '/org/admins', { token: tenant.token, body: { admin_id, role: 'viewer' } });
      }),
  },
  'delete /org/admins': {
    actions: ['admin.removed'],
    make: ({ caller, store, masterDatabase }) =>
      asTenant(caller, async (tenant) => {
        const admin_id = await addAdmin(store, masterDatabase, tenant);
        return caller.request('DELETE', '/org/admins', { token: tenant.token, query: { admin_id } });
      }),
  },
};

const CONFIRM = /^Confirm your email/;

const invite = (caller: Caller, token: string, email: string): Promise<Answer> =>
  caller.request('POST', '/org/invites', { token, body: { email, role: 'viewer' } });

const restore = (caller: Caller, { name, email, password }: SignedInTenant): Promise<Answer> =>
  caller.request('POST', '/org/restore', { body: { organization_name: name, email, password } });

/** Another admin of the organization, put beside the service. */
async function addAdmin(store: Store, masterDatabase: string, { adminId }: SignedInTenant): Promise<string> {
  const admins = store.database(masterDatabase).collection('admins');
  const model = await admins.findOne({ _id: adminId });
  if (model === undefined) throw new Error('The admin is not there.');
  const email = newEmail();
  const other = { ...model, _id: uuidv7(), email, email_key: email };
  await admins.insertOne(other);
  return other._id;
}

describe('every route that changes something', () => {
  let service: RunningService;
  let caller: Caller;
  let store: Store;
  let mailbox: Mailbox;

  beforeAll(async () => {
    service = await startService({ runtime: 'node', store: { kind: 'embedded' }, env: { DELETE_RETENTION_DAYS: '1' } });
    caller = createCaller(service.url);
    mailbox = directoryMailbox(join(service.dataDirectory, 'outbox'));
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
      const { answer, reader } = await change.make({ caller, store, masterDatabase: service.masterDatabase, mailbox });
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
