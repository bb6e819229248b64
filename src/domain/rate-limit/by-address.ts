import { NEIGHBOURHOOD, neighbourhoodOf, subscriberOf } from './address.ts';
import type { Budget, BudgetContext } from './budget.ts';
import { multiplied, requireBudget } from './budget.ts';
import type { Limit, LimitedAction } from './schema.ts';

/** The names that clients see in RateLimit headers, where they are not the action's. */
const BUDGET_NAMES: { readonly [A in LimitedAction]?: string } = {
  loginAddress: 'login-address',
  change: 'change-address',
};

/**
 * Consumes one attempt of the budget that the caller's address has for an action, and of its neighbourhood's. The
 * service's own work, which has no address, is not counted.
 * @throws {DomainError} too_many_requests, busy
 */
export const limitByAddress = (context: BudgetContext, action: LimitedAction): Promise<void> =>
  requireBudget(context, ...addressBudgets(context, action));

/** The budgets that the caller's address and its neighbourhood have for an action, with so many times its limit. */
export function addressBudgets({ request, settings }: BudgetContext, action: LimitedAction, times = 1): Budget[] {
  const { address } = request;
  if (address === null) return [];
  const budget = { name: BUDGET_NAMES[action] ?? action, limit: multiplied(settings.limits[action], times) };
  return [{ ...budget, owner: subscriberOf(address) }, ...neighbourhoodBudgets(address, budget)];
}

/**
 * The budget that all of an address's neighbourhood has together. None in IPv4.
 * @param of.limit what one block has
 * @param of.account whose account it is for; left out: it is for no account
 */
export function neighbourhoodBudgets(
  address: string,
  { name, limit, account = '' }: { readonly name: string; readonly limit: Limit | null; readonly account?: string },
): Budget[] {
  const neighbourhood = neighbourhoodOf(address);
  if (neighbourhood === undefined) return [];
  const owner = JSON.stringify([account, neighbourhood]);
  return [{ name: `${name}-neighbourhood`, owner, limit: multiplied(limit, NEIGHBOURHOOD), silent: true }];
}
