import type { Index } from '../../store/port.ts';
import type { PendingAudit } from '../audit/schema.ts';
import type { Role } from '../roles.ts';
import type { SecondFactor, WaitingSecondFactor } from '../second-factor/schema.ts';

/** An admin as it is stored in the master database's `admins`. An admin belongs to one organization. */
export type AdminDocument = {
  readonly _id: string;
  readonly organization_id: string;
  readonly email: string;
  /** The address in lower case: what tells admins of an organization apart. */
  readonly email_key: string;
  /** Whether the address was shown to be the admin's. */
  readonly email_verified: boolean;
  /** Empty after an undo, until the password is reset: no password fits. */
  readonly password_hash: string;
  /** Another one with each new password, and the same with a stronger hash of it; absent for the first password. */
  readonly password_id?: string;
  readonly role: Role;
  /**
   * Raised by every write but those of `known_addresses`, of a stronger hash of the same password, of a second factor
   * that waits, and of the last time step whose code was used.
   */
  readonly version: number;
  /** Raised by what must end the tokens issued so far: another email, password or role, and logging out everywhere. */
  readonly epoch: number;
  /** Raised by each change that the token of a mail made, and by nothing else; absent: there was none. */
  readonly token_epoch?: number;
  /** The change or operation that last changed this admin: it is made once, and the audit log must know of it. */
  readonly changed_by: string;
  /** Addresses that the admin signed in from, as keyed hashes with the password: until when each is known. */
  readonly known_addresses?: { readonly [address: string]: Date };
  /** Absent or null: the password is enough to sign in. */
  readonly second_factor?: SecondFactor | null;
  readonly second_factor_waiting?: WaitingSecondFactor | null;
  /** The last undone change of email, with all that followed: the versions whose mails can undo nothing any more. */
  readonly undone?: { readonly from: number; readonly to: number };
  /** What was changed and is not in the audit log yet; null when all is. */
  readonly audit_pending: PendingAudit | null;
  /** When what is pending is recorded by the reconciler at the latest; null when nothing is. */
  readonly audit_due_at: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
};

export const ADMIN_INDEXES: readonly Index[] = [
  { name: 'organization_id_email_key', key: { organization_id: 1, email_key: 1 }, unique: true },
  { name: 'organization_id_role', key: { organization_id: 1, role: 1 } },
  { name: 'email_key_email_verified', key: { email_key: 1, email_verified: -1, _id: 1 } },
  { name: 'audit_due_at', key: { audit_due_at: 1 } },
];

/** A change of an admin: made once, of the version that it was made for. */
export type AdminChange = {
  readonly admin_id: string;
  readonly version: number;
  readonly set: {
    readonly [field: string]:
      | (string | number | boolean | Date | NonNullable<AdminDocument['undone']> | SecondFactor)
      | null;
  };
  /** What is recorded of it, sealed together: the first one's `event_id` is the change's own id. */
  readonly audit: PendingAudit;
};

export const emailKey = (email: string): string => email.toLowerCase();

/** What the admins of an organization see of one another. */
export const adminView = ({ _id, email, email_verified, role, created_at }: AdminDocument) => ({
  admin_id: _id,
  email,
  email_verified,
  role,
  created_at,
});
