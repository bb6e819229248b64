/**
 * The form of the log. Each organization has a chain of entries, numbered from 1; an entry holds the seal of the one
 * before and its own, over all that it says. A seal is keyed (HMAC), so that nobody with the database alone can alter
 * an entry or make one. A checkpoint says how far the chain goes, so that its end cannot be cut off unnoticed.
 */
import type { Filter, Index } from '../../store/port.ts';

/** Everything that is audited. */
export const AUDIT_ACTIONS = [
  'organization.created',
  'organization.renamed',
  'organization.deleted',
  'organization.restored',
  /** The end of the time in which a deleted organization could be restored. */
  'organization.purged',
  'admin.email_changed',
  /** The former address is back: see admin/undo.ts. */
  'admin.email_change_undone',
  'admin.email_verified',
  'admin.password_changed',
  'admin.password_reset',
  'admin.second_factor_enabled',
  'admin.second_factor_disabled',
  'admin.recovery_code_used',
  'admin.invited',
  'admin.invitation_withdrawn',
  'admin.joined',
  'admin.role_changed',
  'admin.removed',
  'session.signed_in',
  'session.sign_in_failed',
  /** Refused before the password was looked at: see rate-limit/sign-in-limits.ts. */
  'session.sign_in_throttled',
  /** The password was correct, and the code of the second factor or the organization was missing. */
  'session.sign_in_incomplete',
  'session.signed_out',
  'session.signed_out_everywhere',
  /** A session ended by its admin from another one. */
  'session.ended',
  /** A spent refresh token was presented: see session/refresh.ts. */
  'session.refresh_reused',
] as const;

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** Makes and checks seals. Keys have ids, so that older entries can be checked when the key has changed. */
export type Seals = {
  /** The id of the key that new seals are made with. */
  readonly current: string;
  /** The seal of a text under a key, or undefined when there is no key of this id. */
  seal(key: string, text: string): string | undefined;
};

export type Sealed = { readonly key: string; readonly seal: string };

/**
 * What is to be recorded of an event: ids only, never a secret, a name or an email. The client's address is concealed
 * (see address.ts). It is sealed when it is made, for it may wait in the database until it is recorded.
 */
export type AuditNote = Sealed & {
  readonly organization_id: string;
  /** No two entries are of one event: what makes recording it again do nothing. */
  readonly event_id: string;
  readonly action: AuditAction;
  /** An admin's id, `service`, or `anonymous`. */
  readonly actor: string;
  /** The id of what it was done to. */
  readonly target: string;
  readonly address: string | null;
  readonly request_id: string;
  readonly outcome: 'success' | 'failure';
  /** How many alike it stands for: failed sign-ins are counted together. */
  readonly count: number;
  /** When it happened. */
  readonly at: Date;
};

/** Notes that wait on a document, sealed together with whose they are: none can be added or taken away. */
export type PendingAudit = Sealed & { readonly notes: readonly AuditNote[] };

/** An entry of an organization's chain. It never changes. It is removed when it is old, after all before it. */
export type AuditEntry = Omit<AuditNote, 'key' | 'seal'> &
  Sealed & {
    /** {@link entryId} */
    readonly _id: string;
    readonly sequence: number;
    /** The seal of the entry before; empty in the first. */
    readonly previous: string;
  };

/** From where to where an organization's chain goes, at least. It is there before the organization is. */
export type AuditCheckpoint = Sealed & {
  /** The organization's id. */
  readonly _id: string;
  /** The sequence and the seal of an entry that was there; 0 and empty before the first. */
  readonly sequence: number;
  readonly entry: string;
  /** Likewise: entries up to this one are removed, or about to be; 0 and empty where all are there. */
  readonly removed_to: number;
  readonly removed_entry: string;
  /** The latest time of an entry that was removed; null where all are there. */
  readonly removed_until: Date | null;
  /** When it is to be brought up to the chain's end; null when nothing was recorded since. */
  readonly due_at: Date | null;
  /** The time of the oldest entry, as far as it is looked at; null while that is the last one the checkpoint knows. */
  readonly oldest_at: Date | null;
};

/** The place of an entry, its `_id`, arbitrates between writers: two can never take the same. */
export const AUDIT_INDEXES: readonly Index[] = [{ name: 'event_id', key: { event_id: 1 }, unique: true }];

export const CHECKPOINT_INDEXES: readonly Index[] = [
  { name: 'due_at', key: { due_at: 1 } },
  { name: 'oldest_at', key: { oldest_at: 1 } },
];

/** Failed sign-ins to one account, from a part of all addresses, that are not in the log yet. */
export type SignInFailures = {
  readonly _id: string;
  /** The account's; empty for one that does not exist. */
  readonly organization_id: string;
  readonly admin_id: string;
  readonly action: Extract<AuditAction, `session.sign_in_${string}`>;
  /** Of the entry that they will be recorded in. */
  readonly event_id: string;
  readonly count: number;
  /** The last one's, as the id of the request. */
  readonly address: string | null;
  readonly request_id: string;
  readonly first_at: Date;
  readonly last_at: Date;
};

export const SIGN_IN_FAILURE_INDEXES: readonly Index[] = [
  { name: 'organization_id', key: { organization_id: 1 } },
  { name: 'first_at', key: { first_at: 1 } },
];

/** The ends of chains by organization, as far as this instance knows: the next entry is tried after it. */
export type AuditTails = Map<
  string,
  {
    readonly sequence: number;
    readonly seal: string;
    /** The time of the entry. */
    readonly at: Date;
    /** When the checkpoint is due that this instance asked for last: no other is asked for before. */
    readonly checkpointDue: Date;
  }
>;

const DIGITS = 12;

/** More than any chain has. */
export const MAX_SEQUENCE = 10 ** DIGITS - 1;

/** Ids in the order of sequences. */
export const entryId = (organizationId: string, sequence: number): string =>
  `${organizationId}:${String(sequence).padStart(DIGITS, '0')}`;

/** How far a log was removed. A checkpoint from before entries were removed says nothing of it. */
export const removedOf = (
  checkpoint: Partial<AuditCheckpoint> | undefined,
): Pick<AuditCheckpoint, 'removed_to' | 'removed_entry' | 'removed_until'> => ({
  removed_to: checkpoint?.removed_to ?? 0,
  removed_entry: checkpoint?.removed_entry ?? '',
  removed_until: checkpoint?.removed_until ?? null,
});

/** The sequence that an entry's id stands for. */
export const sequenceOf = (id: string): number => Number.parseInt(id.slice(id.lastIndexOf(':') + 1), 10);

/** The entries of an organization from one sequence to before another. */
export const entriesBetween = (organizationId: string, from: number, before: number): Filter => ({
  _id: { $gte: entryId(organizationId, from), $lt: entryId(organizationId, before) },
});
