import type { Needs } from '../context.ts';
import { invalid } from '../errors.ts';
import type { OrganizationName } from './name.ts';
import { notVisible, parseOrganizationName } from './name.ts';

/**
 * Code points that show nothing: the default-ignorable ones, and those whose picture is blank (Braille, a musical
 * notehead, an embedded object, two Egyptian blanks), for which Unicode has no property.
 */
const BLANK = /[\p{Default_Ignorable_Code_Point}\u2800\uFFFC\u{1D159}\u{13441}\u{13442}]/u;

/** What programs that read mail act on: links, and encoded words (RFC 2047). */
const MAIL_SYNTAX = /:\/\/|^\/\/|mailto:|\bwww\.|=\?|\?=/i;

/** In NFD: a dot above a letter that has one already, or is one without. */
const SECOND_DOT = /[\p{Soft_Dotted}\u0131\u0237]\p{M}*?\u0307/u;

/** What goes with every script; of "No 5", what NFKC makes of a numero sign, the letters too. */
const OF_ANY_SCRIPT = /[\p{scx=Zyyy}\p{scx=Zinh}]|(?!\p{L})\p{sc=Zyyy}|\bNo(?= ?\d)/gu;

/** Latin with what it usually stands beside: with each script alone, UTS 39's level "highly restrictive". */
const MIXTURES = ['Latn Hani Hira Kana', 'Latn Hani Bopo', 'Latn Hani Hang'];

/** The other scripts of Unicode 17, by their codes in ISO 15924. Letters of one that is missing here are refused. */
const SCRIPTS = `Arab Cyrl Grek Hebr Deva Thai
  Adlm Aghb Ahom Armi Armn Avst Bali Bamu Bass Batk Beng Berf Bhks Brah Brai Bugi Buhd Cakm Cans Cari Cham Cher Chrs
  Copt Cpmn Cprt Diak Dogr Dsrt Dupl Egyp Elba Elym Ethi Gara Geor Glag Gong Gonm Goth Gran Gujr Gukh Guru Hano Hatr
  Hluw Hmng Hmnp Hung Ital Java Kali Kawi Khar Khmr Khoj Kits Knda Krai Kthi Lana Laoo Lepc Limb Lina Linb Lisu Lyci
  Lydi Mahj Maka Mand Mani Marc Medf Mend Merc Mero Mlym Modi Mong Mroo Mtei Mult Mymr Nagm Nand Narb Nbat Newa Nkoo
  Nshu Ogam Olck Onao Orkh Orya Osge Osma Ougr Palm Pauc Perm Phag Phli Phlp Phnx Plrd Prti Rjng Rohg Runr Samr Sarb
  Saur Sgnw Shaw Shrd Sidd Sidt Sind Sinh Sogd Sogo Sora Soyo Sund Sunu Sylo Syrc Tagb Takr Tale Talu Taml Tang Tavt
  Tayo Telu Tfng Tglg Thaa Tibt Tirh Tnsa Todr Tols Toto Tutg Ugar Vaii Vith Wara Wcho Xpeo Xsux Yezi Yiii Zanb`;

/** Names by which people know the service and its staff, as {@link folded} makes them. */
const RESERVED = [
  ...['abuse', 'account', 'admin', 'administrator', 'billing', 'customerservice', 'customersupport', 'donotreply'],
  ...['help', 'helpdesk', 'hostmaster', 'mailerdaemon', 'moderator', 'noc', 'noreply', 'official', 'operator', 'owner'],
  ...['postmaster', 'root', 'security', 'staff', 'superuser', 'support', 'sysadmin', 'system', 'systemadministrator'],
  ...['techsupport', 'tenantry', 'webmaster'],
];

/** The names that nobody may take: the service's own, and the operator's. */
export const reservedNames = (more: readonly string[]): ReadonlySet<string> =>
  new Set([...RESERVED, ...more.map(folded)]);

/**
 * Normalizes a name that an organization is to get.
 * @throws {DomainError} invalid_input, saying what to change, for a name that none could have, shows as another one does,
 *   is acted on by programs, or is reserved
 */
export function parseNewName(context: Needs<'settings'>, input: string, path: string): OrganizationName {
  const parsed = parseOrganizationName(input, path);
  checkNewName(context, parsed, path);
  return parsed;
}

/**
 * Checks what holds for new names only: an organization that has its name from before these rules keeps it.
 * @throws {DomainError} invalid_input, saying what to change
 */
export function checkNewName({ settings }: Needs<'settings'>, { name }: OrganizationName, path: string): void {
  const blank = BLANK.exec(name);
  if (blank !== null) throw notVisible(path, blank[0]);
  if (MAIL_SYNTAX.test(name)) throw invalid(path, 'Leave out links (://, www., mailto:) and the signs =? and ?=.');
  if (hasUnreadableMarks(name.normalize('NFD'))) {
    throw invalid(path, 'Use at most four marks on a letter, none of them twice, and no dot above an i or j.');
  }
  if (!isOfOneScript(name)) {
    throw invalid(
      path,
      'Use letters of one script: this mixes letters of several, which can look alike. Latin letters may stand beside Chinese, Japanese or Korean ones.',
    );
  }
  if (hasMixedDigits(name)) throw invalid(path, 'Use digits of one kind: this mixes digits of several scripts.');
  const letters = folded(name);
  if (settings.reservedNames.has(letters) || settings.reservedNames.has(letters.replace(/s$/, ''))) {
    throw invalid(path, 'This name is reserved. Use another one.');
  }
}

/** Whether a letter has more marks than can be told apart (UTS 39, section 5.4). */
function hasUnreadableMarks(decomposed: string): boolean {
  const stacks = (decomposed.match(/[\p{Mn}\p{Me}]+/gu) ?? []).map((marks) => [...marks]);
  return SECOND_DOT.test(decomposed) || stacks.some((marks) => marks.length > 4 || new Set(marks).size < marks.length);
}

function isOfOneScript(name: string): boolean {
  const letters = name.replace(OF_ANY_SCRIPT, '');
  return [...MIXTURES, ...SCRIPTS.split(/\s+/)].some((scripts) => {
    const classes = scripts.replace(/\w+ ?/g, (script) => `\\p{scx=${script.trim()}}`);
    try {
      // Made when it is needed: to make all of them takes V8 20 ms.
      return new RegExp(`^[${classes}]*$`, 'u').test(letters);
    } catch {
      // A runtime with Unicode 16 knows neither the newest scripts nor their letters, which are refused as unassigned.
      return false;
    }
  });
}

/** The digits of a numbering system are ten code points in a row. */
function hasMixedDigits(name: string): boolean {
  const digits = (name.match(/\p{Nd}/gu) ?? []).map((digit) => digit.codePointAt(0) ?? 0);
  return Math.max(...digits) - Math.min(...digits) > 9;
}

/** Letters and digits alone, without case, accents and the dots of i: `Ád-mın` is `admin`. */
const folded = (name: string): string =>
  name
    .normalize('NFKC')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFD')
    .replace(/[^\p{L}\p{M}\p{N}]|\p{sc=Inherited}/gu, '');
