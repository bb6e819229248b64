/** What an admin can be to an organization, from the most to the least. */
export const ROLES = ['owner', 'admin', 'viewer'] as const;

export type Role = (typeof ROLES)[number];

/** What can be done to an organization, beside what anyone may do. */
export type Action =
  /** Its name. */
  | 'organization.update'
  | 'organization.delete'
  /** One's own account: who one is, one's sessions. */
  | 'account.read'
  /** One's own email and password, and ending one's sessions. */
  | 'account.update'
  /** Who its admins are, and who is invited. */
  | 'admins.read'
  /** Inviting, withdrawing, changing roles, removing. */
  | 'admins.manage'
  /** The audit log, with the addresses that admins came from. */
  | 'audit.read';

/** Who may do what. A route or a verb names an action; nothing else decides. */
export const PERMISSIONS: Readonly<Record<Action, readonly Role[]>> = {
  'organization.update': ['owner', 'admin'],
  'organization.delete': ['owner'],
  'account.read': ['owner', 'admin', 'viewer'],
  'account.update': ['owner', 'admin', 'viewer'],
  'admins.read': ['owner', 'admin', 'viewer'],
  'admins.manage': ['owner'],
  'audit.read': ['owner', 'admin'],
};

/** What an admin may do with an email that is not verified, where REQUIRE_VERIFIED_EMAIL asks for one that is. */
export const UNVERIFIED_MAY: readonly Action[] = ['account.read', 'account.update', 'admins.read'];

export const isPermitted = (role: Role, action: Action): boolean => PERMISSIONS[action].includes(role);
