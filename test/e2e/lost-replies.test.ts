import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import type { Caller } from '../support/caller.ts';
import { createCaller, newEmail, newName } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { EMBEDDED, STORES } from '../support/stores.ts';
import { openDatabase } from '../support/tenant-store.ts';

/** Short, so that a test sees what happens after them. */
const TIMES = { LEASE_MS: '1000', RECONCILE_MS: '200' };

describe.each(STORES)('node on $storeName', ({ store }) => {
  describe.skipIf(store === undefined)('a caller that lost the reply', () => {
    let service: RunningService;
    let caller: Caller;
    let opened: ReturnType<typeof openDatabase>;

    beforeAll(async () => {
      service = await startService({ runtime: 'node', store: store ?? EMBEDDED, env: TIMES });
      caller = createCaller(service.url);
      opened = openDatabase(service);
    });

    afterAll(async () => {
      await opened?.close();
      await service?.stop();
    });

    const create = (key: string, body: Readonly<Record<string, string>>) =>
      caller.request('POST', '/org/create', { headers: { 'Idempotency-Key': key }, body });

    const newBody = () => ({ organization_name: newName(), email: newEmail(), password: caller.newPassword() });

    /** Sends the create again until it is answered. */
    const createAgain = (body: ReturnType<typeof newBody>) =>
      until('an answer to the create', async () => {
        const again = await create(body.email, body);
        if (again.status === 409) expectProblem(again, 409, 'idempotency_key_in_use');
        return again.status === 200 ? again : undefined;
      });

    const expectOnlyOne = async (name: string, organizationId: string) => {
      const organizations = opened.database.collection<OrganizationDocument>('organizations');
      const active = await organizations.find({ name, status: 'active' });
      expect(active.map(({ _id }) => _id)).toEqual([organizationId]);
    };

    test.each([0, 5, 30, 100, 300])(
      'of a create, cut after %i ms, gets its answer with the same Idempotency-Key, and one organization',
      async (waitMs) => {
        const body = newBody();
        await cut(service.url, 'POST /org/create', { 'Idempotency-Key': body.email }, body, waitMs);
        const { json } = await createAgain(body);
        await expectOnlyOne(body.organization_name, json.organization_id);
        expect((await caller.login(body)).json.admin_id).toBe(json.admin_id);
      },
    );

    test.each([20, 80, 140])(
      'of a create, because the service was killed after %i ms, gets one organization',
      async (waitMs) => {
        const body = newBody();
        const sent = create(body.email, body).catch(() => undefined);
        await delay(waitMs);
        await service.kill('SIGKILL');
        const first = await sent;
        await service.restart();
        const { json } = await createAgain(body);
        if (first?.status === 200) expect(json).toEqual(first.json);
        await expectOnlyOne(body.organization_name, json.organization_id);
        expect((await caller.login(body)).status).toBe(200);
      },
    );

    test('of a rename asks again with the same token, and gets 200', async () => {
      const tenant = await caller.signedInTenant();
      const name = newName('Renamed');
      const headers = { Authorization: `Bearer ${tenant.token}` };
      await cut(service.url, 'PUT /org/update', headers, { new_organization_name: name }, 5);
      const renamed = await until('the rename', async () => {
        const again = await caller.update(tenant.token, { new_organization_name: name });
        if (again.status === 409) expectProblem(again, 409, 'operation_in_progress');
        return again.status === 200 ? again : undefined;
      });
      expect(renamed.json).toMatchObject({ organization_id: tenant.organizationId, organization_name: name });
      expect((await caller.request('GET', '/admin/me', { token: tenant.token })).status).toBe(200);
    });

    test('of a delete asks again with the same token, and gets 401 once it is done', async () => {
      const tenant = await caller.signedInTenant();
      const line = `DELETE /org/delete?${new URLSearchParams({ organization_name: tenant.name })}`;
      await cut(service.url, line, { Authorization: `Bearer ${tenant.token}` }, undefined, 5);
      await until('the delete', async () => {
        const { status } = await caller.remove(tenant.token, tenant.name);
        expect([200, 401, 409]).toContain(status);
        return status === 409 ? undefined : status;
      });
      expectProblem(await caller.remove(tenant.token, tenant.name), 401, 'invalid_token');
      expectProblem(await caller.get(tenant.name), 404, 'organization_not_found');
    });
  });
});

/** Sends a request, waits so long, and cuts the connection without a look at the answer. */
async function cut(
  url: string,
  line: string,
  headers: Readonly<Record<string, string>>,
  body: unknown,
  waitMs: number,
): Promise<void> {
  const { hostname, port, host } = new URL(url);
  const text = body === undefined ? '' : JSON.stringify(body);
  const fields = { Host: host, 'Content-Type': 'application/json', 'Content-Length': String(text.length), ...headers };
  const head = [`${line} HTTP/1.1`, ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`)];
  const socket = connect(Number(port), hostname);
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.write(`${head.join('\r\n')}\r\n\r\n${text}`, () => resolve());
  });
  await delay(waitMs);
  socket.destroy();
}
