import { describe, expect, test } from 'vitest';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { countStored } from '../../support/stored.ts';
import { claimsOf } from '../../support/token.ts';
import type { TestEnv } from './test-env.ts';

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const METADATA = ['organization_id', 'organization_name', 'collection_name', 'status', 'created_at', 'updated_at'];
const TOKEN = ['access_token', 'token_type', 'expires_in'];

const sorted = (names: Iterable<string>) => [...names].sort();

export function organizationSuite({ service, caller }: TestEnv): void {
  const me = (token: string) => caller().request('GET', '/admin/me', { token });

  describe('create', () => {
    test('answers the organization, its collection and its admin, and nothing else', async () => {
      const name = newName('Acme');
      const email = newEmail();
      const { status, json, headers } = await caller().create(name, { email });
      expect(status).toBe(200);
      expect(headers.get('Content-Type')).toMatch(/^application\/json/);
      expect(json).toEqual({
        organization_id: expect.stringMatching(/^\S{16,}$/),
        organization_name: name,
        collection_name: `org_${name.toLowerCase().replace(' ', '_')}`,
        admin_id: expect.stringMatching(/^\S{16,}$/),
        admin_email: email,
        created_at: expect.stringMatching(TIMESTAMP),
      });
      expect((await countStored(service()))[json.collection_name]).toBe(0);
    });
  });

  describe('get', () => {
    test('answers the metadata to anyone, without email or hash', async () => {
      const tenant = await caller().tenant();
      const { status, json } = await caller().get(`  ${tenant.name.toUpperCase()} `);
      expect(status).toBe(200);
      expect(sorted(Object.keys(json))).toEqual(sorted(METADATA));
      expect(json).toMatchObject({
        organization_id: tenant.organizationId,
        organization_name: tenant.name,
        collection_name: tenant.collection,
        status: 'active',
        created_at: expect.stringMatching(TIMESTAMP),
        updated_at: expect.stringMatching(TIMESTAMP),
      });
    });

    test('answers 304 without a body to a caller that sends the ETag', async () => {
      const tenant = await caller().tenant();
      const etag = (await caller().get(tenant.name)).headers.get('ETag') ?? '';
      expect(etag).toMatch(/^(W\/)?"[^"]+"$/);
      for (const known of [etag, `"other", ${etag}`, `W/${etag.replace(/^W\//, '')}`, '*']) {
        const unchanged = await caller().get(tenant.name, { 'If-None-Match': known });
        expect([unchanged.status, unchanged.text, unchanged.headers.get('ETag')], known).toEqual([304, '', etag]);
      }
      expect((await caller().get(tenant.name, { 'If-None-Match': '"other"' })).status).toBe(200);
    });

    test('answers 200 to the ETag of before a change', async () => {
      const tenant = await caller().signedInTenant();
      const etag = (await caller().get(tenant.name)).headers.get('ETag') ?? '';
      const upperCase = tenant.name.toUpperCase();
      expect((await caller().update(tenant.token, { new_organization_name: upperCase })).status).toBe(200);
      const changed = await caller().get(tenant.name, { 'If-None-Match': etag });
      expect([changed.status, changed.json?.organization_name]).toEqual([200, upperCase]);
    });

    test.each([
      ['is free', newName()],
      ['has no letter', '$'],
      ['holds a NUL', 'a\0b'],
      ['has dots only', '..'],
      ['is an emoji', '\u{1F600}'],
      ['is too long', 'x'.repeat(65)],
    ])('answers 404 for a name that %s', async (_, name) => {
      expectProblem(await caller().get(name), 404, 'organization_not_found');
    });

    test.each(['', '?organization_name=', '?organization_name=a&b=c', '?organization_name=a&organization_name=b'])(
      'refuses the query "%s"',
      async (query) => {
        expectProblem(await caller().request('GET', `/org/get${query}`), 422, 'invalid_input');
      },
    );
  });

  describe('a rename', () => {
    test('moves the name and the collection, and answers the metadata and an access token', async () => {
      const tenant = await caller().signedInTenant();
      const name = newName('Renamed');
      const { status, json, headers } = await caller().update(tenant.token, {
        organization_name: tenant.name,
        new_organization_name: `  ${name.replace(' ', '   ')} `,
      });
      expect(status).toBe(200);
      expect(headers.get('Cache-Control')).toContain('no-store');
      expect(sorted(Object.keys(json))).toEqual(sorted([...METADATA, ...TOKEN]));
      expect(json).toMatchObject({
        organization_id: tenant.organizationId,
        organization_name: name,
        collection_name: `org_${name.toLowerCase().replace(' ', '_')}`,
        status: 'active',
        token_type: 'bearer',
      });
      expectProblem(await caller().get(tenant.name), 404, 'organization_not_found');
      expect((await caller().get(name)).json.organization_id).toBe(tenant.organizationId);

      const counts = await countStored(service());
      expect(counts[json.collection_name]).toBe(0);
      expect(counts[tenant.collection]).toBeUndefined();
    });

    test('gives a token of the same session, which ends when the caller’s token ends', async () => {
      const tenant = await caller().signedInTenant();
      const { json } = await caller().update(tenant.token, { new_organization_name: newName() });
      const [before, after] = [claimsOf(tenant.token), claimsOf(json.access_token)];
      expect(after).toMatchObject({
        sid: before['sid'],
        auth_time: before['auth_time'],
        exp: before['exp'],
        organization: json.organization_name,
      });
      expect(json.expires_in).toBeLessThanOrEqual(3600);
      expect((await me(json.access_token)).json.organization).toBe(json.organization_name);
    });

    test('leaves the tokens of the session good', async () => {
      const tenant = await caller().tenant();
      const { json: tokens } = await caller().login(tenant);
      expect((await caller().update(tokens.access_token, { new_organization_name: newName() })).status).toBe(200);
      expect((await me(tokens.access_token)).json).toMatchObject({ admin_id: tenant.adminId });
      const refreshed = await caller().request('POST', '/admin/refresh', {
        body: { refresh_token: tokens.refresh_token },
      });
      expect(refreshed.status, refreshed.text).toBe(200);
    });

    test('that is asked for again with the same token is 200, and changes nothing more', async () => {
      const tenant = await caller().signedInTenant();
      const body = { new_organization_name: newName() };
      const first = await caller().update(tenant.token, body);
      const again = await caller().update(tenant.token, body);
      expect([first.status, again.status], again.text).toEqual([200, 200]);
      for (const field of METADATA) expect(again.json[field], field).toBe(first.json[field]);
    });

    test('to the name that the organization has is 200 without a token', async () => {
      const tenant = await caller().signedInTenant();
      const before = (await caller().get(tenant.name)).json;
      const { status, json } = await caller().update(tenant.token, { new_organization_name: tenant.name });
      expect([status, json]).toEqual([200, before]);
    });

    test('to the name of another organization is 409, and changes nothing', async () => {
      const [other, tenant] = await Promise.all([caller().tenant(), caller().signedInTenant()]);
      const email = newEmail();
      expectProblem(
        await caller().update(tenant.token, { new_organization_name: other.name.toLowerCase(), email }),
        409,
        'organization_name_taken',
      );
      expect((await caller().get(tenant.name)).json).toMatchObject({
        organization_id: tenant.organizationId,
        collection_name: tenant.collection,
        status: 'active',
      });
      expect((await caller().login(tenant)).status).toBe(200);
      expect((await caller().get(other.name)).json.organization_id).toBe(other.organizationId);
    });

    test('frees the name for others, who get a collection of their own', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().update(tenant.token, { new_organization_name: newName() })).status).toBe(200);
      const next = await caller().tenant(tenant.name);
      expect(next.organizationId).not.toBe(tenant.organizationId);
      expect(next.collection).not.toBe(tenant.collection);
      expect(next.collection).toMatch(new RegExp(`^${tenant.collection}_[a-z0-9]+$`));
    });

    test('back to an earlier name gets a collection that was never used', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().update(tenant.token, { new_organization_name: newName() })).status).toBe(200);
      const back = await caller().update(tenant.token, { new_organization_name: tenant.name });
      expect(back.status, back.text).toBe(200);
      expect(back.json.organization_name).toBe(tenant.name);
      expect(back.json.collection_name).toMatch(new RegExp(`^${tenant.collection}_[a-z0-9]+$`));
    });

    test('that changes only case or punctuation keeps the collection', async () => {
      const tenant = await caller().signedInTenant();
      const { status, json } = await caller().update(tenant.token, {
        new_organization_name: tenant.name.toUpperCase().replace(' ', ' & '),
      });
      expect([status, json.collection_name]).toEqual([200, tenant.collection]);
    });
  });

  describe('an update', () => {
    test('that asks for nothing is refused', async () => {
      const tenant = await caller().signedInTenant();
      expectProblem(await caller().update(tenant.token, {}), 422, 'invalid_input');
      expectProblem(await caller().update(tenant.token, { organization_name: tenant.name }), 422, 'invalid_input');
    });

    test('of the email gives a token, and the refresh token of the session stays good', async () => {
      const tenant = await caller().tenant();
      const { json: tokens } = await caller().login(tenant);
      const email = newEmail();
      const changed = await caller().update(tokens.access_token, { email });
      expect(changed.status, changed.text).toBe(200);
      expect(sorted(Object.keys(changed.json))).toEqual(sorted([...METADATA, ...TOKEN]));
      expect((await me(changed.json.access_token)).json.admin_email).toBe(email);
      const { refresh_token } = tokens;
      const refreshed = await caller().request('POST', '/admin/refresh', { body: { refresh_token } });
      expect(refreshed.status, refreshed.text).toBe(200);
      expect((await me(refreshed.json.access_token)).json.admin_email).toBe(email);
    });
  });

  describe('delete', () => {
    test('leaves no organization, no collection and no admin', async () => {
      const tenant = await caller().signedInTenant();
      const before = await countStored(service());
      expect(before[tenant.collection]).toBe(0);
      const { status, json } = await caller().remove(tenant.token, tenant.name);
      expect([status, json]).toEqual([200, { deleted: true, organization_name: tenant.name }]);
      expectProblem(await caller().get(tenant.name), 404, 'organization_not_found');
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');

      const after = await countStored(service());
      expect(after[tenant.collection]).toBeUndefined();
      expect(after['admins']).toBe((before['admins'] ?? 0) - 1);
    });

    test('frees the name', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      const next = await caller().tenant(tenant.name);
      expect(next.organizationId).not.toBe(tenant.organizationId);
      expect(next.collection).not.toBe(tenant.collection);
    });

    test('that is asked for again is 401, also where another organization took the name', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      expectProblem(await caller().remove(tenant.token, tenant.name), 401, 'invalid_token');
      const next = await caller().tenant(tenant.name);
      expectProblem(await caller().remove(tenant.token, tenant.name), 401, 'invalid_token');
      expect((await caller().get(tenant.name)).json.organization_id).toBe(next.organizationId);
    });

    test('leaves a receipt of what remains: nothing', async () => {
      const tenant = await caller().signedInTenant();
      const erasure = () =>
        caller().request('GET', '/org/erasure', { query: { organization_id: tenant.organizationId } });
      expectProblem(await erasure(), 404);
      expect((await caller().remove(tenant.token, tenant.name)).status).toBe(200);
      const { status, json } = await erasure();
      expect(status).toBe(200);
      expect(json).toEqual({
        organization_id: tenant.organizationId,
        erased_at: expect.stringMatching(TIMESTAMP),
        remaining: { collections: 0, admins: 0, sessions: 0, names: 0, mails: 0 },
      });
    });
  });
}
