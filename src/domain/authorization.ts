import { DomainError } from './errors.ts';

/** What an admin can be to an organization. */
export const ROLES = ['owner'] as const;

export type Role = (typeof ROLES)[number];

/** What can be done to an organization, beside what anyone may do. */
export type Action = 'organization.update' | 'organization.delete' | 'admin.read';

/** Who may do what. A handler names an action; nothing else decides. */
export const PERMISSIONS: Readonly<Record<Action, readonly Role[]>> = {
  'organization.update': ['owner'],
  'organization.delete': ['owner'],
  'admin.read': ['owner'],
};

/** The one refusal for what is not the caller's: the same whether its target exists or not. */
export const forbidden = (): DomainError =>
  new DomainError('forbidden', 'This token does not permit that. Sign in as an admin of the organization.');

/** @throws {DomainError} forbidden, unless the table permits it */
export function authorize(role: Role, action: Action): void {
  if (!PERMISSIONS[action].includes(role)) throw forbidden();
}
