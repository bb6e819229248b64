import { describe, expect, test } from 'vitest';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { countStored } from '../../support/stored.ts';
import type { Cell } from './cell.ts';

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const METADATA = ['organization_id', 'organization_name', 'collection_name', 'status', 'created_at', 'updated_at'];
const TOKENS = ['access_token', 'token_type', 'expires_in', 'refresh_token'];

const sorted = (names: Iterable<string>) => [...names].sort();

export function organizationPromises({ service, caller }: Cell): void {
  describe('the life of an organization', () => {
    test('create answers the organization, its collection and its admin, and nothing else', async () => {
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
    });

    test('get answers the metadata to anyone, without email or hash', async () => {
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

    test('get answers 304 without a body to a caller who has it, until it changes', async () => {
      const tenant = await caller().signedInTenant();
      const etag = (await caller().get(tenant.name)).headers.get('ETag') ?? '';
      expect(etag).toMatch(/^(W\/)?"[^"]+"$/);
      for (const known of [etag, `"other", ${etag}`, `W/${etag.replace(/^W\//, '')}`, '*']) {
        const unchanged = await caller().get(tenant.name, { 'If-None-Match': known });
        expect(unchanged.status, known).toBe(304);
        expect(unchanged.text).toBe('');
        expect(unchanged.headers.get('ETag')).toBe(etag);
      }
      expect((await caller().get(tenant.name, { 'If-None-Match': '"other"' })).status).toBe(200);

      const shouted = tenant.name.toUpperCase();
      expect((await caller().update(tenant.token, { new_organization_name: shouted })).status).toBe(200);
      const changed = await caller().get(tenant.name, { 'If-None-Match': etag });
      expect(changed.status).toBe(200);
      expect(changed.json.organization_name).toBe(shouted);
    });

    test('get answers 404 for a name that nobody has, and for one that nobody can have', async () => {
      for (const name of [newName(), '$', 'a\0b', '..', '\u{1F600}', 'x'.repeat(65)]) {
        expectProblem(await caller().get(name), 404, 'organization_not_found');
      }
    });

    test('get refuses a query with a field that is not known, twice or not there', async () => {
      for (const query of [
        '',
        '?organization_name=',
        '?organization_name=a&b=c',
        '?organization_name=a&organization_name=b',
      ]) {
        expectProblem(await caller().request('GET', `/org/get${query}`), 422, 'invalid_input');
      }
    });

    test('login answers tokens, the admin and the organization, and nothing else', async () => {
      const tenant = await caller().tenant();
      const { status, json, headers } = await caller().login({ ...tenant, email: tenant.email.toUpperCase() });
      expect(status).toBe(200);
      expect(headers.get('Cache-Control')).toContain('no-store');
      expect(json).toEqual({
        access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        token_type: 'bearer',
        expires_in: 3600,
        refresh_token: expect.stringMatching(/^\S{32,}$/),
        admin_id: tenant.adminId,
        admin_email: tenant.email,
        organization: tenant.name,
      });
    });

    test('a rename moves the name and the collection, and answers fresh tokens', async () => {
      const tenant = await caller().signedInTenant();
      const name = newName('Renamed');
      const { status, json } = await caller().update(tenant.token, {
        organization_name: tenant.name,
        new_organization_name: `  ${name.replace(' ', '   ')} `,
      });
      expect(status).toBe(200);
      expect(sorted(Object.keys(json))).toEqual(sorted([...METADATA, ...TOKENS]));
      expect(json).toMatchObject({
        organization_id: tenant.organizationId,
        organization_name: name,
        collection_name: `org_${name.toLowerCase().replace(' ', '_')}`,
        status: 'active',
        token_type: 'bearer',
      });
      expectProblem(await caller().get(tenant.name), 404);
      expect((await caller().get(name)).json.organization_id).toBe(tenant.organizationId);

      const counts = await countStored(service());
      expect(counts[json.collection_name]).toBe(0);
      expect(counts[tenant.collection]).toBeUndefined();
    });

    test('a rename to the name it has already is 200', async () => {
      const tenant = await caller().signedInTenant();
      const { status, json } = await caller().update(tenant.token, { new_organization_name: tenant.name });
      expect(status).toBe(200);
      expect(json).toMatchObject({ organization_name: tenant.name, collection_name: tenant.collection });
    });

    test('a rename to a name that another has is 409, and changes nothing', async () => {
      const other = await caller().tenant();
      const tenant = await caller().signedInTenant();
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

    test('a name that was left is free for others', async () => {
      const tenant = await caller().signedInTenant();
      expect((await caller().update(tenant.token, { new_organization_name: newName() })).status).toBe(200);
      const next = await caller().tenant(tenant.name);
      expect(next.organizationId).not.toBe(tenant.organizationId);
    });

    test('delete leaves nothing: no organization, no collection, no admin, and the name is free', async () => {
      const tenant = await caller().signedInTenant();
      const before = await countStored(service());
      const { status, json } = await caller().remove(tenant.token, tenant.name);
      expect(status).toBe(200);
      expect(json).toEqual({ deleted: true, organization_name: tenant.name });
      expectProblem(await caller().get(tenant.name), 404, 'organization_not_found');
      expectProblem(await caller().login(tenant), 401, 'invalid_credentials');

      const after = await countStored(service());
      expect(before[tenant.collection]).toBe(0);
      expect(after[tenant.collection]).toBeUndefined();
      expect(after['organizations']).toBe((before['organizations'] ?? 0) - 1);
      expect(after['admins']).toBe((before['admins'] ?? 0) - 1);

      expect((await caller().tenant(tenant.name)).organizationId).not.toBe(tenant.organizationId);
    });
  });

  describe('a name', () => {
    test('is had by exactly one of 20 who create it at once, in differing case, spacing and normal form', async () => {
      const stem = newName('Ärzte Übung');
      const spellings = [
        stem,
        stem.toUpperCase(),
        stem.toLowerCase().normalize('NFD'),
        `  ${stem.replaceAll(' ', '   ')}\u3000`,
        stem.normalize('NFD').replaceAll(' ', '\u00a0'),
      ];
      const before = await countStored(service());
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => caller().create(spellings[index % spellings.length] ?? stem)),
      );
      const created = answers.filter(({ status }) => status === 200);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
      for (const answer of answers) {
        if (answer.status === 409) expectProblem(answer, 409, 'organization_name_taken');
      }
      for (const spelling of spellings) {
        expect((await caller().get(spelling)).json.organization_id).toBe(created[0]?.json.organization_id);
      }
      const after = await countStored(service());
      expect(after['organizations']).toBe((before['organizations'] ?? 0) + 1);
      expect(after['admins']).toBe((before['admins'] ?? 0) + 1);
      const collections = Object.keys(after).filter((name) => !(name in before) && name.startsWith('org_'));
      expect(collections).toHaveLength(1);
    });

    test('that differs from another only in what a collection cannot hold gets a collection of its own', async () => {
      const id = newName('').trim();
      const names = [`A B ${id}`, `A-B ${id}`, `a_b ${id}`, `A.B ${id}`, `A/B ${id}`, `A$B ${id}`];
      const collections = [];
      for (const name of names) {
        const { status, json, text } = await caller().create(name);
        expect(status, text).toBe(200);
        expect(json.organization_name).toBe(name);
        collections.push(json.collection_name);
      }
      expect(new Set(collections).size).toBe(names.length);
      expect(collections[0]).toBe(`org_a_b_${id}`);
      for (const [index, name] of names.entries()) {
        expect((await caller().get(name)).json.collection_name).toBe(collections[index]);
      }
    });

    test('may be in any script', async () => {
      const collections = new Set<string>();
      const names = [
        '日本語株式会社',
        'Привет',
        'مرحبا بالعالم',
        'Ελλάδα',
        '한국어',
        'हिन्दी',
        'İstanbul',
        'Größe',
        '٣٤٥',
        '\u{20000}',
      ];
      for (const name of names) {
        const { status, json, text } = await caller().create(name);
        expect(status, text).toBe(200);
        expect(json.organization_name).toBe(name.normalize('NFKC'));
        expect(json.collection_name).toMatch(/^org_[a-z0-9_]+$/);
        collections.add(json.collection_name);
        expect((await caller().get(name)).json.organization_id).toBe(json.organization_id);
      }
      expect(collections.size).toBe(names.length);
      expectProblem(await caller().create('i\u0307stanbul'), 409, 'organization_name_taken');
    });

    test('is refused, with the reason, when it has neither letter nor digit', async () => {
      for (const name of ['\u{1F600}', '\u{1F468}\u{1F3FD}', '..', '$', '---', ' ', '\t\n', '']) {
        expectProblem(await caller().create(name), 422, 'invalid_input');
      }
      expect((await caller().create(`${newName()} \u{1F600}`)).status).toBe(200);
    });

    test('is taken at every limit and refused one over it', async () => {
      const filler = newName('').trim();
      const fits = [
        filler.padEnd(64, 'x'),
        `${filler}${'\u{1F600}'.repeat(47)}`.padEnd(10 + 47 * 2, 'x'),
        '\u{20001}'.repeat(50),
        'q',
      ];
      for (const name of fits) {
        expect((await caller().create(name)).status, `${[...name].length} ${Buffer.byteLength(name)}`).toBe(200);
      }
      const over = [filler.padEnd(65, 'x'), `${'\u{20001}'.repeat(50)}x`, 'x'.repeat(1025), 'x'.repeat(20_000)];
      for (const name of over) {
        const answer = await caller().create(name);
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path).toBe('organization_name');
      }
    });

    test('that a database would stumble over gets its own collection or a 422, never a clash or a 500', async () => {
      const existing = (await caller().tenant()).collection;
      const names = [
        'system.users',
        'system.indexes',
        '$x',
        '$cmd',
        'a\0b',
        'a\u0000',
        '../../etc/passwd',
        'a..b',
        '.a',
        'a.',
        '__proto__',
        'constructor',
        'prototype',
        'toString',
        'admins',
        'organizations',
        'claims',
        'sessions',
        'org_organizations',
        existing,
        existing.slice('org_'.length),
        'a"b',
        "a'; DROP TABLE organizations; --",
        'a`b',
        '\ud800x',
        'a\u200bb',
        'a\u202eb',
        '\u3164',
        'a\u{E000}',
        '%00',
        '{"$ne":null}',
        'null',
        'undefined',
        'NaN',
        '0',
        '-1',
        'CON',
        '~',
        'a\\b',
        'a/b',
        'a\nb',
        'a;b',
        '\uFEFFa',
        '\u1160x',
      ];
      const collections = new Set<string>();
      for (const name of names) {
        const answer = await caller().create(name);
        if (answer.status === 200) {
          expect(collections.has(answer.json.collection_name), name).toBe(false);
          expect(answer.json.collection_name).toMatch(/^org_[a-z0-9_]+$/);
          collections.add(answer.json.collection_name);
          expect((await caller().get(name)).json.organization_id).toBe(answer.json.organization_id);
        } else {
          expectProblem(answer, 422, 'invalid_input');
          expect(answer.json.errors[0].path).toBe('organization_name');
        }
      }
      expect(collections.size).toBeGreaterThan(25);
    });

    test('is held to the same rules by a rename', async () => {
      const tenant = await caller().signedInTenant();
      for (const name of ['\u{1F600}', 'a\0b', '..', 'x'.repeat(65), '\ud800x', '', ' ']) {
        const answer = await caller().update(tenant.token, { new_organization_name: name });
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path).toBe('new_organization_name');
      }
      expect((await caller().get(tenant.name)).json.collection_name).toBe(tenant.collection);
    });
  });

  describe('an email and a password', () => {
    test('are taken at every limit and refused one over it', async () => {
      const atLimit = ['zq81-xw0', '\u{1F600}'.repeat(8), 'x'.repeat(72), 'é'.repeat(36), '\u{1F600}'.repeat(18)];
      for (const password of atLimit) {
        const name = newName();
        const email = newEmail();
        expect((await caller().create(name, { email, password })).status, password).toBe(200);
        expect((await caller().login({ email, password })).status, password).toBe(200);
      }
      const refused = [
        '1234567',
        '\u{1F600}'.repeat(7),
        'x'.repeat(73),
        'é'.repeat(37),
        'x'.repeat(20_000),
        '1234\x005678',
        '',
      ];
      for (const password of refused) {
        const answer = await caller().create(newName(), { password });
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path).toBe('password');
      }
      for (const email of ['', 'a', 'a@', '@example.com', 'a b@example.com', `${'x'.repeat(250)}@example.com`]) {
        const answer = await caller().create(newName(), { email });
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path).toBe('email');
      }
    });
  });
}
