import type { DomainError } from '../errors.ts';
import { invalid } from '../errors.ts';

/** The longest name, in code points and in bytes of UTF-8, after normalization. */
const MAX_CODE_POINTS = 64;
const MAX_BYTES = 200;

/** Control, format, private-use and unassigned code points. */
const REFUSED = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}]/u;

export type OrganizationName = {
  /** As it is shown: trimmed, NFKC, runs of white space made one. */
  readonly name: string;
  /** What tells organizations apart: the name in lower case. */
  readonly key: string;
  /** The key's runs of a-z and 0-9, joined by `_`; may be empty. */
  readonly slug: string;
};

/**
 * Normalizes a name as a person may type it. Every organization's name fits; a new one has to keep more rules: see
 * new-name.ts.
 * @param path the field that holds it, for the error
 * @throws {DomainError} invalid_input, saying what to change
 */
export function parseOrganizationName(input: string, path: string): OrganizationName {
  if (!input.isWellFormed()) throw invalid(path, 'Use well-formed Unicode text.');
  const name = input.normalize('NFKC').replace(/\s+/gu, ' ').trim();
  if (name === '') throw invalid(path, 'Give the organization a name.');
  const refused = REFUSED.exec(name);
  if (refused !== null) throw notVisible(path, refused[0]);
  if ([...name].length > MAX_CODE_POINTS) throw invalid(path, `Use at most ${MAX_CODE_POINTS} characters.`);
  if (new TextEncoder().encode(name).byteLength > MAX_BYTES) throw invalid(path, `Use at most ${MAX_BYTES} bytes.`);
  if (!/[\p{L}\p{N}]/u.test(name)) throw invalid(path, 'Use at least one letter or digit.');
  // Lower-casing can leave a sequence that composes: "key" is normalized again, so that equal keys are equal bytes.
  const key = name.toLowerCase().normalize('NFKC');
  return { name, key, slug: (key.match(/[a-z0-9]+/g) ?? []).join('_') };
}

/** The refusal of a name that holds a character which nobody sees. */
export function notVisible(path: string, character: string): DomainError {
  const code = character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0');
  return invalid(path, `Leave out control, invisible and private-use characters: here U+${code}.`);
}

/** The key that a name would have, or undefined when it could be nobody's name. For look-ups, which need no reason. */
export function organizationKey(input: string): string | undefined {
  try {
    return parseOrganizationName(input, 'organization_name').key;
  } catch {
    return undefined;
  }
}

/**
 * Names for an organization's collection, best first: `org_<slug>` where the slug is not empty, then ones that end
 * in characters of an id, which nobody else's can have.
 */
export function collectionCandidates(slug: string, id: string): string[] {
  const suffix = id.replaceAll('-', '').slice(-8);
  const stem = slug === '' ? 'org' : `org_${slug}`;
  return [...(slug === '' ? [] : [stem]), `${stem}_${suffix}`, `${stem}_${id.replaceAll('-', '')}`];
}
