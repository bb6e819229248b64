import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../src/domain/errors.ts';
import { nameClaimId } from '../../src/domain/organization/claims.ts';
import { getOrganization } from '../../src/domain/organization/get.ts';
import { parseOrganizationName } from '../../src/domain/organization/name.ts';
import { parseNewName } from '../../src/domain/organization/new-name.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf, principalOf } from '../support/instance.ts';

const RESERVED_NAMES = 'Acme, Ülker Gıda, 株式会社エー';

/** A name of each script that people, or their ancestors, write with. */
const SCRIPTS = {
  Latin: 'Ülker Công ty Łódź',
  Cyrillic: 'Яндекс',
  Greek: 'Ελλάδα',
  Hebrew: 'מכבי',
  'Hebrew with points': 'בְּרֵאשִׁית',
  Arabic: 'شركة',
  'Arabic with marks': 'مُحَمَّدٌ',
  Persian: 'فارسی ۱۲۳',
  Syriac: 'ܣܘܪܝܝܐ',
  Thaana: 'ދިވެހި',
  NKo: 'ߒߞߏ',
  Samaritan: 'ࠔࠌࠓ',
  Mandaic: 'ࡌࡀࡍࡃ',
  Devanagari: 'हिन्दी संस्थान',
  Bengali: 'বাংলাদেশ ব্যাংক',
  Gurmukhi: 'ਪੰਜਾਬੀ',
  Gujarati: 'ગુજરાતી',
  Oriya: 'ଓଡ଼ିଆ',
  Tamil: 'தமிழ்நாடு',
  Telugu: 'తెలుగు',
  Kannada: 'ಕನ್ನಡ',
  Malayalam: 'മലയാളം',
  Sinhala: 'සිංහල',
  Thai: 'ที่ปรึกษา น้ำ',
  Lao: 'ລາວ',
  Tibetan: 'བོད་ཀྱི་སྐད',
  Myanmar: 'မြန်မာ ကြောင့်',
  Georgian: 'საქართველო',
  Armenian: 'Հայաստան',
  Ethiopic: 'ኢትዮጵያ',
  Cherokee: 'ᏣᎳᎩ',
  'Canadian Aboriginal': 'ᐃᓄᒃᑎᑐᑦ',
  Ogham: 'ᚑᚌᚐᚋ',
  Runic: 'ᚠᚢᚦᚨᚱᚲ',
  Khmer: 'កម្ពុជា ខ្មែរ',
  Mongolian: 'ᠮᠣᠩᠭᠣᠯ',
  Limbu: 'ᤕᤠᤰᤌᤢᤱ',
  'Tai Le': 'ᥖᥭᥰ',
  'New Tai Lue': 'ᦟᦲᧉ',
  Buginese: 'ᨅᨔ ᨕᨘᨁᨗ',
  Balinese: 'ᬩᬲᬩᬮᬶ',
  Javanese: 'ꦗꦮ',
  Sundanese: 'ᮞᮥᮔ᮪ᮓ',
  Batak: 'ᯅᯖᯂ᯲',
  Lepcha: 'ᰛᰩᰵ',
  'Ol Chiki': 'ᱚᱞ ᱪᱤᱠᱤ',
  Tifinagh: 'ⵜⵉⴼⵉⵏⴰⵖ',
  Coptic: 'ⲘⲈⲦⲢⲈⲘ',
  Glagolitic: 'ⰃⰎⰀⰃⰑⰎ',
  Hiragana: 'ひらがな',
  Katakana: 'カタカナ・データー',
  Han: '中华人民共和国',
  'Han beyond the BMP': '\u{20000}\u{20001}',
  Bopomofo: 'ㄅㄆㄇㄈ',
  Hangul: '한국어',
  Yi: 'ꆈꌠꉙ',
  Lisu: 'ꓡꓲ ꓢꓴ',
  Vai: 'ꕙꔤ',
  'Meetei Mayek': 'ꯃꯩꯇꯩ',
  Gothic: '\u{10332}\u{1033f}\u{10344}',
  Adlam: '\u{1e900}\u{1e923}\u{1e924}',
} as const;

const HONEST = [
  ...['TestCo', 'AT&T', 'Yahoo!', 'C++', 'node.js', 'E*TRADE', '50/50', '7-Eleven', 'Toys "R" Us', 'Coffee @ Home'],
  ...[
    '日本電気 NEC',
    'Hyundai 현대',
    '株式会社ABC テスト',
    'ABC カフェ·バー',
    '7-ELEVEN 統一超商',
    'ㄅㄆ KTV 台北',
    '3M 한국 韓國',
  ],
  ...[
    'Школа №5',
    'Детский сад № 12',
    'Кафе · Бар',
    'ООО «Ромашка»',
    'Ρόδος 24/7',
    'מכבי 2000',
    'شركة ٣٤٥',
    'हिन्दी। १२',
  ],
  ...[
    'Acme & Sons',
    'Acmeist',
    'Rooted',
    'Systema',
    'Help Me Grow',
    'The Support Group',
    'Awww. Cats',
    'Tenantry Users',
  ],
  ...['Rocket \u{1F680}', 'L’Oréal', 'Hawaiʻi', 'café'.normalize('NFD'), '\u0130stanbul', 'Iğdır', '½ Price', 'AC/DC'],
];

const BLANKS = ['\uFE0F', '\u034F', '\u2800', '\u180B', '\u17B4', '\u{E0100}', '\u115F', '\u1160', '\u3164', '\uFFA0'];
const MORE_BLANKS = ['\u{1D159}', '\uFFFC', '\u{13441}', '\u200B', '\u200D', '\u00AD', '\u2066'];

const WITH_REASONS = {
  'letters of one script': [
    ...[
      '\u0422\u0435st',
      'T\u0435stCo',
      'Googl\u0435',
      '\u0391pple',
      'Яndex',
      'TestC\u0585',
      'Te\u13DAtCo',
      'α社',
      'עבריתABC',
    ],
    ...[
      'Ромaшка',
      'Ελλάда',
      'हिन्दीবাংলা',
      '한국어ひらがな',
      'Test\u2801Co',
      'Test\u30FCДа',
      'Test\u0640Co',
      'N\u043E 5',
      'No5a\u0441',
    ],
    ...['\u{1D6A8}pple', '\u00B5Torrent', 'ΑВС', '中文ไทย', 'Test\u{16FE4}Co'],
  ],
  'digits of one kind': ['1\u0662', '\u0661\u06F2', '7\u0967', '\u1040\u1090', 'شركة ٣ 24'],
  'marks on a letter': [
    'Test\u0301\u0302\u0303\u0304\u0305',
    'Test\u0323\u0323Co',
    'Ki\u0307wi',
    'j\u0307',
    'K\u0131\u0307w',
    'Ki\u0323\u0307w',
  ],
  'Leave out links': [
    ...[
      'https://evil.example',
      'Pay: ftp://x',
      'Test ：／／Co',
      '//evil.example',
      'www.evil.example',
      'See WWW.evil.example',
    ],
    ...['=?utf-8?Q?Tenantry?=', 'Test =?', 'Test ?=', 'mailto:a@b.example', 'ｗｗｗ．evil.example'],
  ],
  reserved: [
    ...[
      'admin',
      'Ad-min',
      'ADMIN ',
      'a d m i n',
      'Admins',
      'Ádmín',
      'adm\u0131n',
      'ADM\u0130N',
      'ａｄｍｉｎ',
      '"Support"',
      'no reply',
      'No-Reply',
    ],
    ...['Tenantry', 'TENANTRY!', 'security', 'Root', 'Post Master', 'billing', 'official', '*staff*', 'Help Desk'],
    ...['acme', 'A.C.M.E.', 'acmes', 'ulker gida', '株式会社 エー'],
  ],
} as const;

describe('a new name', () => {
  const { context } = openInstance();

  const reasonOf = (name: string): string | undefined => {
    try {
      parseNewName(context, name, 'organization_name');
      return undefined;
    } catch (error) {
      expect(error).toBeInstanceOf(DomainError);
      expect(error).toMatchObject({ code: 'invalid_input', issues: [{ path: 'organization_name' }] });
      return (error as DomainError).issues[0]?.message;
    }
  };

  test.each(Object.entries(SCRIPTS))('may be in %s', (_, name) => {
    expect(reasonOf(name), name).toBeUndefined();
    expect(reasonOf(`"${name}" & \u{1F600}!`), name).toBeUndefined();
  });

  test.each(HONEST)('may be %s', (name) => {
    expect(reasonOf(name)).toBeUndefined();
  });

  test('may have the letters of any script', () => {
    const refused: string[] = [];
    // Each block has letters at some of these.
    for (let code = 0; code < 0x20000; code += 8) {
      if ((code >= 0x3400 && code < 0xa000) || (code >= 0xac00 && code < 0xd7a4)) continue;
      const letter = String.fromCodePoint(code);
      if (!/[\p{L}--\p{Default_Ignorable_Code_Point}]/v.test(letter) || letter !== letter.normalize('NFKC')) continue;
      if (reasonOf(letter) !== undefined) refused.push(letter);
    }
    expect(refused).toEqual([]);
  });

  test.each([...BLANKS, ...MORE_BLANKS].map((blank) => [code(blank), blank]))('has no %s', (_, blank) => {
    for (const spoof of [`Test${blank}Co`, `TestCo${blank}`, `${blank}TestCo`]) {
      expect(reasonOf(spoof)).toMatch(
        /^Leave out control, invisible and private-use characters: here U\+[0-9A-F]{4,6}\.$/,
      );
    }
    expect(reasonOf(`TestCo${blank}`)).toContain(code(blank.normalize('NFKC')));
  });

  test('has no code point that Unicode says to leave out of what is shown', () => {
    let looked = 0;
    for (let code = 0; code <= 0x10ffff; code++) {
      const character = String.fromCodePoint(code);
      // JavaScript counts U+FEFF as white space: the name shows a space.
      if (!/[\p{Default_Ignorable_Code_Point}--\uFEFF]/v.test(character)) continue;
      looked++;
      expect(reasonOf(`Test${character}Co`), code.toString(16)).toContain('invisible');
    }
    expect(looked).toBeGreaterThan(4000);
  });

  test.each(Object.entries(WITH_REASONS).flatMap(([reason, names]) => names.map((name) => [name, reason] as const)))(
    'is not %j: %s',
    (name, reason) => {
      expect(reasonOf(name)).toContain(reason);
    },
  );

  test('stays good when it is parsed again, in any case or not', () => {
    const pieces = fc.constantFrom(
      ...Object.values(SCRIPTS),
      ...HONEST,
      ...BLANKS,
      '\u0301',
      '\u0307',
      ' ',
      '1',
      '-',
      'a',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 4 }), (parts) => {
        const name = parts.join('');
        if (reasonOf(name) !== undefined) return;
        expect(reasonOf(parseOrganizationName(name, 'organization_name').name)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});

describe('a name from before these rules', () => {
  const OLD = ['\u0422\u0435st', 'Admin', 'Test\uFE0FCo', 'Pay http://x', 'Ki\u0307wi', 'Test 1\u0662'];

  test.each(OLD)('is found, stays, and can be given up: %j', async (old) => {
    const { services, context } = openInstance();
    await services.prepare();
    const { organizations, names } = context.master;
    const { organization, admin } = await ownerOf(context, 'TestCo');
    const { key, slug, name } = parseOrganizationName(old, 'organization_name');
    await organizations.updateOne({ _id: organization._id }, { $set: { name, key, slug } });
    const claim = await names.findOne({ _id: nameClaimId('testco') });
    if (claim === undefined) throw new Error('Nobody has claimed the name.');
    await names.insertOne({ ...claim, _id: nameClaimId(key) });

    const owner = () => principalOf(context, organization._id, admin._id);
    expect(await getOrganization(context, { organization_name: old })).toMatchObject({ organization_name: name });
    const email = 'new@example.com';
    const asItIs = { organization_name: old, new_organization_name: old, email };
    expect(await updateOrganization(context, { principal: await owner(), ...asItIs })).toMatchObject({
      organization_name: name,
    });
    expect((await owner()).admin.email).toBe(email);
    const better = { principal: await owner(), organization_name: old, new_organization_name: 'Better' };
    expect(await updateOrganization(context, better)).toMatchObject({ organization_name: 'Better' });
    await expect(
      updateOrganization(context, { principal: await owner(), new_organization_name: old }),
    ).rejects.toMatchObject({
      code: 'invalid_input',
      issues: [{ path: 'new_organization_name' }],
    });
  });
});

function openInstance() {
  const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), { RESERVED_NAMES });
  return { services, context: services.context };
}

function code(character: string): string {
  return `U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}`;
}
