import type { Index } from '../../store/port.ts';
import type { Role } from '../roles.ts';

export type MailKind =
  /** Asks the receiver to confirm the address. Brings a one-time token. */
  | 'verification'
  /** No mail: a token that lets an admin choose another password. A mail for `password_forgotten` brings it. */
  | 'password_reset'
  /** Asks the receiver to become an admin. Brings a one-time token. */
  | 'invitation'
  /** Tells the old address that the account has another one, or is to have one. Brings a token that undoes it. */
  | 'email_changed'
  /** Tells an address that it is no longer the account's, because such a change was undone. */
  | 'email_change_undone'
  | 'password_changed'
  /** Brings a token that removes the second factor. */
  | 'second_factor_enabled'
  | 'second_factor_disabled'
  /** Answers a request for a new password, with a token for each account. They are looked for after the answer. */
  | 'password_forgotten';

/** What tells an admin's present address of a change of the account, which a thief may have made. */
export const NOTICES = [
  'email_changed',
  'email_change_undone',
  'password_changed',
  'second_factor_enabled',
  'second_factor_disabled',
] as const satisfies readonly MailKind[];

export type Notice = (typeof NOTICES)[number];

/**
 * A mail to be sent, and the one-time token that it brings: one document, so that neither is ever without the other.
 * It is written before the thing it is about, and removed when it was sent, or when its token was used.
 */
export type MailDocument = {
  readonly _id: string;
  readonly kind: MailKind;
  /** Null for `password_forgotten`. */
  readonly organization_id: string | null;
  /** The admin that it is for; null for `invitation` and `password_forgotten`. */
  readonly admin_id: string | null;
  readonly to: string;
  /** The address in lower case. */
  readonly to_key: string;
  readonly token: {
    /** The secret is derived from this and a key that only the service has. */
    readonly salt: string;
    /** SHA-256 of the secret, in hex. The secret itself is nowhere. */
    readonly hash: string;
    /**
     * The admin's epoch for which it is good, or for a `password_reset` the admin's `token_epoch`; null for `invitation`,
     * and for what undoes a change.
     */
    readonly admin_epoch: number | null;
  } | null;
  /** For a `verification`: its token makes `to` the admin's address. */
  readonly is_new_email?: true;
  /** For what its token undoes: the admin's version before, and whether the address was verified. See admin/undo.ts. */
  readonly undo?: { readonly version: number; readonly email_verified: boolean };
  readonly invitation: { readonly role: Role; readonly invited_by: string } | null;
  /** The change of the admin that it tells of: it is sent only when that was made. */
  readonly change: { readonly id: string; readonly version: number } | null;
  /** For `password_forgotten`: the organization that was named, by its key. */
  readonly organization_key: string | null;
  /** For `password_forgotten`: it is within the budget of its receiver, and is not counted when it is tried again. */
  readonly is_counted?: true;
  readonly attempts: number;
  /** When it is tried next; null when it was sent, or is not sent by itself, and is kept for its token. */
  readonly due_at: Date | null;
  readonly created_at: Date;
  /** When it is no longer of use, and its token is no longer good. */
  readonly expires_at: Date;
};

export const MAIL_INDEXES: readonly Index[] = [
  { name: 'organization_id_kind', key: { organization_id: 1, kind: 1 } },
  { name: 'admin_id_kind', key: { admin_id: 1, kind: 1 } },
  { name: 'due_at', key: { due_at: 1 } },
  { name: 'expires_at', key: { expires_at: 1 }, expireAfterSeconds: 0 },
];

const MINUTE = 60_000;

/** How long each is of use, in milliseconds. */
export const LIFETIME_MS: Readonly<Record<MailKind, number>> = {
  verification: 24 * 60 * MINUTE,
  password_reset: 60 * MINUTE,
  invitation: 7 * 24 * 60 * MINUTE,
  email_changed: 7 * 24 * 60 * MINUTE,
  email_change_undone: 24 * 60 * MINUTE,
  password_changed: 24 * 60 * MINUTE,
  second_factor_enabled: 7 * 24 * 60 * MINUTE,
  second_factor_disabled: 24 * 60 * MINUTE,
  password_forgotten: 60 * MINUTE,
};

/** A mail as every mailer takes it. The mailer adds the sender. */
export type Message = {
  /** The same when it is sent again: receivers and providers may recognize a repetition by it. */
  readonly id: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
};

/**
 * `sent`: the next server in line has taken the message. `kept`: it was written to a directory, for development.
 * `dropped`: no mail is configured, and the message went nowhere.
 */
export type Delivery = 'sent' | 'kept' | 'dropped';

/** The port for mail. */
export type Mailer = {
  /**
   * Hands one message over.
   * @returns where it went
   * @throws {MailError} and nothing else: see mailer.ts
   */
  send(message: Message): Promise<Delivery>;
};
