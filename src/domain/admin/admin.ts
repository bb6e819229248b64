import type { Index } from '../../store/port.ts';
import type { DueNotes } from '../audit/due.ts';
import type { Role } from '../authorization.ts';
import type { KnownAddresses } from '../throttle/sign-in.ts';

/** An admin as it is stored in the master database's `admins`. An admin belongs to one organization. */
export type AdminDocument = {
  readonly _id: string;
  readonly organization_id: string;
  readonly email: string;
  /** The address in lower case: what tells admins of an organization apart. */
  readonly email_key: string;
  /** Whether the address has shown to be the admin's. */
  readonly email_verified: boolean;
  readonly password_hash: string;
  readonly role: Role;
  readonly version: number;
  /** Raised by what must end the tokens issued so far: another email or password. */
  readonly epoch: number;
  /** The operation that last changed this admin, so that carrying it on changes nothing twice. */
  readonly changed_by: string;
  /** From where the admin signed in of late: see throttle/sign-in.ts. Changes without the version. */
  readonly known_addresses?: KnownAddresses;
  /** Of what was changed and is not in the audit log yet, and since when; not there when all is. */
  readonly audit_due?: DueNotes;
  readonly audit_due_at?: Date;
  readonly created_at: Date;
  readonly updated_at: Date;
};

export const ADMIN_INDEXES: readonly Index[] = [
  { name: 'organization_id_email_key', key: { organization_id: 1, email_key: 1 }, unique: true },
  { name: 'organization_id_role', key: { organization_id: 1, role: 1 } },
  { name: 'email_key', key: { email_key: 1 } },
  { name: 'created_at', key: { created_at: 1 } },
  { name: 'audit_due_at', key: { audit_due_at: 1 } },
];

export const emailKey = (email: string): string => email.toLowerCase();

/** What the admins of an organization see of one another. */
export type AdminView = { admin_id: string; email: string; email_verified: boolean; role: Role; created_at: Date };

export const adminView = ({ _id, email, email_verified, role, created_at }: AdminDocument): AdminView => ({
  admin_id: _id,
  email,
  email_verified,
  role,
  created_at,
});
