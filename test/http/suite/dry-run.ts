import { describe, expect, test } from 'vitest';
import type { SignedInTenant } from '../../support/caller.ts';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { countStored } from '../../support/stored.ts';
import { claimsOf, forge } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

export function dryRunSuite({ service, caller }: TestEnv): void {
  const previewUpdate = (token: string, body: Readonly<Record<string, unknown>>) =>
    caller().request('PUT', '/org/update', { token, query: { dry_run: 'true' }, body });
  const previewDelete = (token: string, organization_name: string) =>
    caller().request('DELETE', '/org/delete', { token, query: { organization_name, dry_run: 'true' } });

  const expectUnchanged = async ({ name, organizationId, collection, token, email }: SignedInTenant) => {
    expect((await caller().get(name)).json).toMatchObject({
      organization_id: organizationId,
      collection_name: collection,
      status: 'active',
    });
    expect((await caller().request('GET', '/admin/me', { token })).json.admin_email).toBe(email);
    expect((await countStored(service()))[collection]).toBe(0);
  };

  describe('a dry run', () => {
    test('of an update says what would change, and changes nothing', async () => {
      const tenant = await caller().signedInTenant();
      const name = newName('Would Be');
      const preview = await previewUpdate(tenant.token, { new_organization_name: name, email: newEmail() });
      expect(preview.status, preview.text).toBe(200);
      expect(preview.json).toEqual({
        dry_run: true,
        organization_name: { from: tenant.name, to: name },
        collection_name: { from: tenant.collection, to: `org_${name.toLowerCase().replaceAll(' ', '_')}` },
        documents: 0,
        admins: 1,
      });
      await expectUnchanged(tenant);
    });

    test('of a rename promises no collection where the name has no letters a to z', async () => {
      const tenant = await caller().signedInTenant();
      const preview = await previewUpdate(tenant.token, { new_organization_name: '日本語株式会社 株式' });
      expect(preview.status, preview.text).toBe(200);
      expect(preview.json.collection_name).toEqual({ from: tenant.collection, to: null });
    });

    test('of a rename promises no collection where its name was used before', async () => {
      const [tenant, other] = await Promise.all([caller().signedInTenant(), caller().tenant()]);
      const preview = await previewUpdate(tenant.token, { new_organization_name: other.name.replace(' ', '-') });
      expect(preview.status, preview.text).toBe(200);
      expect(preview.json.collection_name).toEqual({ from: tenant.collection, to: null });
    });

    test('of a rename to the name of another organization is 409', async () => {
      const [tenant, other] = await Promise.all([caller().signedInTenant(), caller().tenant()]);
      const preview = await previewUpdate(tenant.token, { new_organization_name: other.name });
      expectProblem(preview, 409, 'organization_name_taken');
    });

    test('of a delete says what would go, and nothing goes', async () => {
      const tenant = await caller().signedInTenant();
      const preview = await previewDelete(tenant.token, tenant.name);
      expect(preview.status, preview.text).toBe(200);
      expect(preview.json).toEqual({
        dry_run: true,
        organization_name: tenant.name,
        collection_name: tenant.collection,
        documents: 0,
        admins: 1,
        restorable_until: null,
      });
      await expectUnchanged(tenant);
    });

    test('of a delete of another organization is 403', async () => {
      const [tenant, other] = await Promise.all([caller().signedInTenant(), caller().tenant()]);
      expectProblem(await previewDelete(tenant.token, other.name), 403, 'forbidden');
    });

    test.each(['an update', 'a delete'])('of %s with an ended token is 401, and renews nothing', async (what) => {
      const tenant = await caller().signedInTenant();
      const claims = claimsOf(tenant.token);
      const exp = Math.floor(Date.now() / 1000) - 60;
      const ended = forge(tenant.token, { ...claims, iat: exp - 3600, exp }, service().jwtSecret);
      const preview =
        what === 'an update'
          ? await previewUpdate(ended, { new_organization_name: newName() })
          : await previewDelete(ended, tenant.name);
      expectProblem(preview, 401, 'invalid_token');
      expect(Object.keys(preview.json)).not.toContain('access_token');
    });
  });
}
