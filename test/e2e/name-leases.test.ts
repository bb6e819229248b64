import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../support/caller.ts';
import { createCaller, newName } from '../support/caller.ts';
import { expectProblem } from '../support/problem.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { EMBEDDED, STORES } from '../support/stores.ts';

describe.each(STORES)('node on $storeName', ({ store }) => {
  describe.skipIf(store === undefined)('a name that its organization left, with NAME_LEASE_DAYS', () => {
    let service: RunningService;
    let caller: Caller;

    beforeAll(async () => {
      service = await startService({ runtime: 'node', store: store ?? EMBEDDED, env: { NAME_LEASE_DAYS: '1' } });
      caller = createCaller(service.url);
    });

    afterAll(async () => {
      await service?.stop();
    });

    const renamedTenant = async () => {
      const tenant = await caller.signedInTenant();
      const name = newName('Moved On');
      const renamed = await caller.update(tenant.token, { new_organization_name: name });
      expect(renamed.status, renamed.text).toBe(200);
      return { tenant, name };
    };

    test('leads to the new name', async () => {
      const { tenant, name } = await renamedTenant();
      const path = `/org/get?${new URLSearchParams({ organization_name: tenant.name.toUpperCase() })}`;
      const answer = await caller.raw('GET', path, []);
      expectProblem(answer, 308, 'organization_renamed');
      const location = new URL(answer.headers.get('Location') ?? '', service.url);
      expect([location.pathname, location.searchParams.get('organization_name')]).toEqual(['/org/get', name]);
      expect((await caller.get(tenant.name)).json.organization_id).toBe(tenant.organizationId);
    });

    test('is nobody else’s', async () => {
      const { tenant } = await renamedTenant();
      expectProblem(await caller.create(tenant.name), 409, 'organization_name_taken');
      const other = await caller.signedInTenant();
      const update = { new_organization_name: tenant.name };
      expectProblem(await caller.update(other.token, update), 409, 'organization_name_taken');
    });

    test('can be taken back by its organization, and then the other name leads to it', async () => {
      const { tenant, name } = await renamedTenant();
      const back = await caller.update(tenant.token, { new_organization_name: tenant.name });
      expect(back.status, back.text).toBe(200);
      expect((await caller.get(name)).json.organization_name).toBe(tenant.name);
    });

    test('is free when the organization is deleted', async () => {
      const { tenant, name } = await renamedTenant();
      expect((await caller.remove(tenant.token, name)).status).toBe(200);
      for (const free of [tenant.name, name]) {
        expectProblem(await caller.get(free), 404, 'organization_not_found');
        expect((await caller.create(free)).status).toBe(200);
      }
    });
  });
});
