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
  /** Inviting, withdrawing, changing roles, removing, ending another admin's sessions. */
  | 'admins.manage'
  /** The sessions of another admin, with the devices and addresses that they are used from. */
  | 'sessions.read'
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
  'sessions.read': ['owner'],
  'audit.read': ['owner', 'admin'],
};

/**
 * What an admin may do whose email is not verified, or who has no second factor, where REQUIRE_VERIFIED_EMAIL or
 * REQUIRE_SECOND_FACTOR asks for that.
 */
export const UNVERIFIED_MAY: readonly Action[] = ['account.read', 'account.update', 'admins.read'];

/** What gives or takes power: it needs a recent sign-in, or a stolen access token could make its thief an owner. */
export const NEEDS_FRESH_SIGN_IN: readonly Action[] = ['admins.manage'];

export const isPermitted = (role: Role, action: Action): boolean => PERMISSIONS[action].includes(role);
