import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../src/domain/errors.ts';
import { collectionCandidates, organizationKey, parseOrganizationName } from '../../src/domain/organization/name.ts';
import { checkCollectionName } from '../../src/store/subset.ts';

const RUNS = { numRuns: 5000 };

/** Any text, from what keyboards give to what attackers do. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.string({ maxLength: 80 }),
);

const parse = (text: string) => {
  try {
    return parseOrganizationName(text, 'organization_name');
  } catch (error) {
    expect(error).toBeInstanceOf(DomainError);
    expect(error).toMatchObject({ code: 'invalid_input', issues: [{ path: 'organization_name' }] });
    return undefined;
  }
};

describe('a name, whatever was typed,', () => {
  test('is refused in the domain’s words or stays what it is when it is parsed again', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const parsed = parse(text);
        if (parsed !== undefined) expect(parse(parsed.name)).toEqual(parsed);
      }),
      RUNS,
    );
  });

  test('has one key in any case, spacing and normal form', () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom('NFC', 'NFD', 'NFKC', 'NFKD'), (text, form) => {
        const parsed = parse(text);
        if (parsed === undefined) return;
        const spaced = `  ${parsed.name.replaceAll(' ', ' \t ')}\n`;
        expect(organizationKey(spaced.normalize(form))).toBe(parsed.key);
        expect(organizationKey(parsed.key)).toBe(parsed.key);
      }),
      RUNS,
    );
  });

  test('gives collection names that every store takes', () => {
    fc.assert(
      fc.property(anyText, fc.uuid(), (text, id) => {
        const parsed = parse(text);
        if (parsed === undefined) return;
        const candidates = collectionCandidates(parsed.slug, id);
        for (const candidate of candidates) {
          checkCollectionName(candidate);
          expect(candidate).toMatch(/^org_/);
        }
        expect(new Set(candidates).size).toBe(candidates.length);
      }),
      RUNS,
    );
  });
});
