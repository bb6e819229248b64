import { randomInt } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import { countStored } from '../../support/stored.ts';
import type { TestEnv } from './test-env.ts';

const SCRIPTS = [
  '日本語株式会社',
  'Привет',
  'مرحبا بالعالم',
  'Ελλάδα',
  '한국어',
  'हिन्दी',
  'İstanbul',
  'Größe',
  'መለያ',
  '٣٤٥',
  'ABC テスト',
  'Hyundai 현대',
  '\u{20000}',
];

/** Names that a database or a program may read as something else. */
const HOSTILE = [
  'system.users',
  '$cmd',
  'a\0b',
  '../../etc/passwd',
  'a..b',
  '.a',
  '__proto__',
  'constructor',
  'toString',
  'admins',
  'organizations',
  'org_organizations',
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
  'NaN',
  '0',
  'CON',
  '~',
  'a\\b',
  'a\nb',
  '\uFEFFa',
  '\u1160x',
];

const LOOK_ALIKES = [
  ['U+FE0F', 'TestCo\uFE0F', 'U+FE0F'],
  ['U+034F', 'Test\u034FCo', 'U+034F'],
  ['U+2800', 'TestCo\u2800', 'U+2800'],
  ['U+180B', 'TestCo\u180B', 'U+180B'],
  ['U+17B4', 'TestCo\u17B4', 'U+17B4'],
  ['U+E0100', 'TestCo\u{E0100}', 'U+E0100'],
  ['Cyrillic letters among Latin ones', '\u0422\u0435st', 'one script'],
  ['letters of two old scripts', '\u{10330}\u16A0', 'one script'],
  ['digits of two kinds', '5\u0665', 'digits of one kind'],
  ['marks that cover each other', 'Test\u0323\u0323Co', 'four marks'],
  ['a dot on an i', 'Wi\u0307ki', 'no dot'],
  ['a link', 'Pay at https://evil.example', 'Leave out links'],
  ['an encoded word', '=?utf-8?Q?Tenantry?=', 'Leave out links'],
  ['the service’s name', 'Tenantry', 'reserved'],
  ['the name of its staff', ' A d-mins ', 'reserved'],
] as const;

const PASSWORDS_AT_A_LIMIT = [
  ['8 letters', 'zq81-xw0'],
  ['8 characters outside the BMP', '\u{1F600}'.repeat(8)],
  ['72 bytes', 'x'.repeat(72)],
  ['72 bytes of two-byte letters', 'é'.repeat(36)],
  ['72 bytes of emoji', '\u{1F600}'.repeat(18)],
] as const;

const REFUSED_PASSWORDS = [
  ['7 letters', '1234567'],
  ['7 emoji', '\u{1F600}'.repeat(7)],
  ['73 bytes', 'x'.repeat(73)],
  ['74 bytes of two-byte letters', 'é'.repeat(37)],
  ['20,000 letters', 'x'.repeat(20_000)],
  ['a NUL', '1234\x005678'],
  ['nothing', ''],
] as const;

const REFUSED_EMAILS = ['', 'a', 'a@', '@example.com', 'a b@example.com', `${'x'.repeat(250)}@example.com`];

/** Names that differ in punctuation only. */
const SIMILAR = [
  (stem: string) => `A B ${stem}`,
  (stem: string) => `A-B ${stem}`,
  (stem: string) => `a_b ${stem}`,
  (stem: string) => `A/B ${stem}`,
];

/** Digits that no other name has, counted from a zero. */
const newDigits = (zero: string) =>
  String(randomInt(2 ** 47)).replace(/\d/g, (digit) => String.fromCodePoint(zero.charCodeAt(0) + Number(digit)));

/** The same text in ideographs: without a letter from a to z, and as rare as before. */
const inIdeographs = (first: number, text: string) =>
  [...text].map((letter) => String.fromCodePoint(first + letter.charCodeAt(0))).join('');

export function nameSuite({ service, caller }: TestEnv): void {
  describe('a name', () => {
    test('goes to exactly one of 20 who create it at once, in differing case, spacing and normal form', async () => {
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
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
      const created = answers.find(({ status }) => status === 200);
      for (const answer of answers) {
        if (answer !== created) expectProblem(answer, 409, 'organization_name_taken');
      }
      for (const spelling of spellings) {
        expect((await caller().get(spelling)).json.organization_id).toBe(created?.json.organization_id);
      }
      const after = await countStored(service());
      expect(after['admins']).toBe((before['admins'] ?? 0) + 1);
      const collections = Object.keys(after).filter((name) => !(name in before) && name.startsWith('org_'));
      expect(collections).toEqual([created?.json.collection_name]);
    });

    test('that differs from another in punctuation only gets a collection of its own', async () => {
      const stem = newName('').trim();
      const collections: string[] = [];
      for (const make of SIMILAR) {
        const { status, json, text } = await caller().create(make(stem));
        expect([status, json.organization_name], text).toEqual([200, make(stem)]);
        collections.push(json.collection_name);
      }
      expect(collections[0]).toBe(`org_a_b_${stem}`);
      expect(new Set(collections).size).toBe(SIMILAR.length);
    });

    test.each(SCRIPTS)('may be %s', async (stem) => {
      const name = `${stem} ${newDigits(stem === '٣٤٥' ? '٠' : '0')}`;
      const { status, json, text } = await caller().create(name);
      expect(status, text).toBe(200);
      expect(json.organization_name).toBe(name.normalize('NFKC'));
      expect(json.collection_name).toMatch(/^org_[a-z0-9_]+$/);
      expect((await caller().get(name)).json.organization_id).toBe(json.organization_id);
    });

    test('without letters a to z gets a collection that is named by a token', async () => {
      const name = inIdeographs(0x4e00, newName('').trim());
      const { status, json, text } = await caller().create(name);
      expect(status, text).toBe(200);
      expect(json.collection_name).toMatch(/^org_[a-z0-9]+$/);
    });

    test('is taken in every spelling of its lower case', async () => {
      const stem = newName('').trim();
      const created = await caller().create(`İstanbul ${stem}`);
      expect(created.status, created.text).toBe(200);
      expectProblem(await caller().create(`İSTANBUL ${stem.toUpperCase()}`), 409, 'organization_name_taken');
      const found = await caller().get(`i\u0307stanbul ${stem}`);
      expect(found.json.organization_id).toBe(created.json.organization_id);
    });

    test.each([
      ['an emoji', '\u{1F600}'],
      ['an emoji of two code points', '\u{1F468}\u{1F3FD}'],
      ['dots', '..'],
      ['a dollar', '$'],
      ['hyphens', '---'],
      ['a space', ' '],
      ['white space', '\t\n'],
      ['nothing', ''],
    ])('that is %s is refused', async (_, name) => {
      const answer = await caller().create(name);
      expectProblem(answer, 422, 'invalid_input');
      expect(answer.json.errors[0].path).toBe('organization_name');
    });

    test('may hold an emoji beside letters', async () => {
      expect((await caller().create(`${newName()} \u{1F600}`)).status).toBe(200);
    });

    test.each([
      ['64 letters', (stem: string) => stem.padEnd(64, 'x')],
      ['198 bytes of letters and emoji', (stem: string) => `${stem}${'\u{1F600}'.repeat(47)}`],
      ['50 ideographs and 200 bytes', (stem: string) => inIdeographs(0x20000, stem).padEnd(100, '\u{20001}')],
    ])('of %s is taken', async (_, make) => {
      const name = make(newName('').trim());
      const { status, text } = await caller().create(name);
      expect(status, `${[...name].length} code points, ${Buffer.byteLength(name)} bytes: ${text}`).toBe(200);
    });

    test.each([
      ['65 letters', 'x'.repeat(65)],
      ['201 bytes', `${'\u{20001}'.repeat(50)}x`],
      ['20,000 letters', 'x'.repeat(20_000)],
    ])('of %s is refused', async (_, name) => {
      const answer = await caller().create(name);
      expectProblem(answer, 422, 'invalid_input');
      expect(answer.json.errors[0].path).toBe('organization_name');
    });

    test.each(LOOK_ALIKES)(
      'that shows as another one does, with %s, is refused with the reason',
      async (_, name, reason) => {
        const answer = await caller().create(name);
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors).toEqual([{ path: 'organization_name', message: expect.stringContaining(reason) }]);
      },
    );

    test.each(HOSTILE)('%j gets a collection of its own or is refused', async (name) => {
      const answer = await caller().create(name);
      if (answer.status === 200) {
        expect(answer.json.collection_name).toMatch(/^org_[a-z0-9_]+$/);
        expect((await caller().get(name)).json).toMatchObject({
          organization_id: answer.json.organization_id,
          collection_name: answer.json.collection_name,
        });
      } else {
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path).toBe('organization_name');
      }
    });

    test('that is a collection’s name gets a collection of its own', async () => {
      const tenant = await caller().tenant();
      for (const name of [tenant.collection, tenant.collection.slice('org_'.length)]) {
        const { status, json, text } = await caller().create(name);
        expect(status, text).toBe(200);
        expect(json.collection_name).not.toBe(tenant.collection);
      }
    });

    test('that create refuses is refused by a rename too, which changes nothing', async () => {
      const tenant = await caller().signedInTenant();
      for (const name of [
        '\u{1F600}',
        'a\0b',
        '..',
        'x'.repeat(65),
        '\ud800x',
        '',
        ' ',
        '\u0422\u0435st',
        'Te\u034Fst',
        'Support',
      ]) {
        const answer = await caller().update(tenant.token, { new_organization_name: name });
        expectProblem(answer, 422, 'invalid_input');
        expect(answer.json.errors[0].path, JSON.stringify(name)).toBe('new_organization_name');
      }
      expect((await caller().get(tenant.name)).json.collection_name).toBe(tenant.collection);
    });
  });

  describe('create', () => {
    test.each(PASSWORDS_AT_A_LIMIT)('takes a password of %s, which signs in', async (_, password) => {
      const email = newEmail();
      expect((await caller().create(newName(), { email, password })).status).toBe(200);
      expect((await caller().login({ email, password })).status).toBe(200);
    });

    test.each(REFUSED_PASSWORDS)('refuses a password of %s', async (_, password) => {
      const answer = await caller().create(newName(), { password });
      expectProblem(answer, 422, 'invalid_input');
      expect(answer.json.errors[0].path).toBe('password');
    });

    test.each(REFUSED_EMAILS)('refuses the email "%s"', async (email) => {
      const answer = await caller().create(newName(), { email });
      expectProblem(answer, 422, 'invalid_input');
      expect(answer.json.errors[0].path).toBe('email');
    });
  });
}
