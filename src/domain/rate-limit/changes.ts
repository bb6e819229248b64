import type { AdminDocument } from '../admin/schema.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { BudgetContext } from './budget.ts';
import { consumeInTurn, requireBudget, tooManyRequests } from './budget.ts';
import { addressBudgets } from './by-address.ts';

/** What all admins of one address have together, as a multiple of what one has. */
const ADMINS = 4;

/**
 * Consumes one attempt of the budgets (LIMIT_CHANGE) that an admin, and the caller's address, have for changes. What is
 * refused is refunded: an admin whose own budget is used up does not use up that of the others at the address. Nobody
 * needs more budgets to end sessions or to delete: a thief who uses these up can still be locked out.
 * @throws {DomainError} too_many_requests, busy
 */
export async function limitChanges(context: BudgetContext, { _id }: Pick<AdminDocument, '_id'>): Promise<void> {
  const own = { name: 'change', owner: _id, limit: context.settings.limits.change };
  const address = addressBudgets(context, 'change', ADMINS);
  const consumed = (await Promise.all([consumeInTurn(context, [own]), consumeInTurn(context, address)])).flat();
  const waits = consumed.flatMap((one) => (one.granted ? [] : one.seconds));
  if (waits.length === 0) return;
  await Promise.all(consumed.map((one) => one.granted && one.refund()));
  throw tooManyRequests(Math.max(...waits));
}

/**
 * Consumes one attempt of the budget (LIMIT_RENAME) that an organization has for renames. An attempt that fails counts
 * as well.
 * @throws {DomainError} too_many_requests, busy
 */
export function limitRenames(context: BudgetContext, { _id }: Pick<OrganizationDocument, '_id'>): Promise<void> {
  return requireBudget(context, { name: 'rename', owner: _id, limit: context.settings.limits.rename });
}
