import type { AdminDocument } from '../admin/schema.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { BudgetContext } from './budget.ts';
import { requireBudget } from './budget.ts';
import { limitByAddress } from './by-address.ts';

/** What all admins of one address have together, as a multiple of what one has. */
const ADMINS = 4;

/**
 * Consumes one attempt of the budgets (LIMIT_CHANGE) that an admin, and the caller's address, have for changes. Nobody
 * needs more budgets to end sessions or to delete: a thief who uses these up can still be locked out.
 * @throws {DomainError} too_many_requests, busy
 */
export async function limitChanges(context: BudgetContext, { _id }: Pick<AdminDocument, '_id'>): Promise<void> {
  const budget = { name: 'change', owner: _id, limit: context.settings.limits.change };
  await Promise.all([requireBudget(context, budget), limitByAddress(context, 'change', ADMINS)]);
}

/**
 * Consumes one attempt of the budget (LIMIT_RENAME) that an organization has for renames. An attempt that fails counts
 * as well.
 * @throws {DomainError} too_many_requests, busy
 */
export function limitRenames(context: BudgetContext, { _id }: Pick<OrganizationDocument, '_id'>): Promise<void> {
  return requireBudget(context, { name: 'rename', owner: _id, limit: context.settings.limits.rename });
}
