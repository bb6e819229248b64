/**
 * The form of the log. Each organization has a chain of entries, numbered from 1; an entry holds the seal of the one
 * before and its own, over all that it says. A seal is keyed (HMAC), so that who can write to the database can neither
 * alter an entry nor make one. The head says how far the chain goes, so that its end cannot be cut off unnoticed.
 */
import type { Filter, Index } from '../../store/port.ts';
import type { AuditAction } from './event.ts';

/** Makes and checks seals. Keys have ids, so that older entries can be checked when the key has changed. */
export type Seals = {
  /** The id of the key that new seals are made with. */
  readonly current: string;
  /** The seal of a text under a key, or undefined when there is no key of this id. */
  seal(key: string, text: string): string | undefined;
};

/** An entry of an organization's chain. It never changes, and is never removed. */
export type AuditEntry = {
  /** {@link entryId} */
  readonly _id: string;
  readonly organization_id: string;
  readonly sequence: number;
  /** No two entries are of one event: what makes recording it again do nothing. */
  readonly event_id: string;
  /** When it happened. */
  readonly at: Date;
  readonly actor: string;
  readonly action: AuditAction;
  readonly target: string;
  /** Concealed: see address.ts. Null when there was none. */
  readonly address: string | null;
  readonly request_id: string;
  readonly outcome: 'success' | 'failure';
  /** How many alike it stands for: failed sign-ins are counted together. */
  readonly count: number;
  /** The seal of the entry before; empty in the first. */
  readonly previous: string;
  /** The id of the key of `seal`. */
  readonly key: string;
  readonly seal: string;
};

/**
 * How far an organization's chain goes. It is there before the first entry, and an entry is written only when the head
 * is at the one before: so it is never more than one behind, whoever dies when.
 */
export type AuditHead = {
  /** The organization's id. */
  readonly _id: string;
  /** The sequence and the seal of the last entry; 0 and empty before the first. */
  readonly sequence: number;
  readonly entry: string;
  /** What the addresses are concealed with; null once they have been given up. */
  readonly address_key: string | null;
  readonly key: string;
  readonly seal: string;
};

/** The place of an entry arbitrates between writers: two can never take the same. */
export const AUDIT_INDEXES: readonly Index[] = [{ name: 'event_id', key: { event_id: 1 }, unique: true }];

const DIGITS = 12;

/** Ids in the order of sequences. */
export const entryId = (organizationId: string, sequence: number): string =>
  `${organizationId}:${String(sequence).padStart(DIGITS, '0')}`;

/** The entries of an organization from one sequence to before another. */
export const entriesBetween = (organizationId: string, from: number, before: number): Filter => ({
  _id: { $gte: entryId(organizationId, from), $lt: entryId(organizationId, before) },
});

/** More than any chain has. */
export const BEYOND = 10 ** DIGITS - 1;

type Unsealed<T extends { key: string; seal: string }> = Omit<T, 'key' | 'seal'>;

/** Every field of an entry that its seal is over, in order: all but the seal. */
const textOfEntry = (entry: Omit<AuditEntry, 'seal'>): string =>
  JSON.stringify([
    'entry',
    entry._id,
    entry.organization_id,
    entry.sequence,
    entry.event_id,
    entry.at,
    entry.actor,
    entry.action,
    entry.target,
    entry.address,
    entry.request_id,
    entry.outcome,
    entry.count,
    entry.previous,
    entry.key,
  ]);

const textOfHead = ({ _id, sequence, entry, address_key, key }: Omit<AuditHead, 'seal'>): string =>
  JSON.stringify(['head', _id, sequence, entry, address_key, key]);

export const sealEntry = (seals: Seals, entry: Unsealed<AuditEntry>): AuditEntry => withSeal(seals, entry, textOfEntry);

export const sealHead = (seals: Seals, head: Unsealed<AuditHead>): AuditHead => withSeal(seals, head, textOfHead);

function withSeal<T extends object>(
  seals: Seals,
  content: T,
  textOf: (keyed: T & { key: string }) => string,
): T & { key: string; seal: string } {
  const keyed = { ...content, key: seals.current };
  const seal = seals.seal(keyed.key, textOf(keyed));
  if (seal === undefined) throw new Error('The current key of the audit log is not there.');
  return { ...keyed, seal };
}

const ENTRY_FIELDS = 15;
const HEAD_FIELDS = 6;

/** Whether the entry is as it was made: nothing altered, nothing added, nothing taken. */
export const isGenuineEntry = (seals: Seals, entry: AuditEntry): boolean =>
  Object.keys(entry).length === ENTRY_FIELDS &&
  entry.at instanceof Date &&
  seals.seal(String(entry.key), textOfEntry(entry)) === entry.seal;

export const isGenuineHead = (seals: Seals, head: AuditHead): boolean =>
  Object.keys(head).length === HEAD_FIELDS && seals.seal(String(head.key), textOfHead(head)) === head.seal;
