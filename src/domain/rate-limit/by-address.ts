import { subscriberOf } from './address.ts';
import type { BudgetContext } from './budget.ts';
import { requireBudget } from './budget.ts';
import type { LimitedAction } from './schema.ts';

/** The names that clients see in RateLimit headers. */
const BUDGET_NAMES: Readonly<Record<LimitedAction, string>> = {
  create: 'create',
  mail: 'mail',
  refresh: 'refresh',
  loginAddress: 'login-address',
};

/**
 * Consumes one attempt of the budget that the caller's address has for an action. The service's own work, which has no
 * address, is not counted.
 * @throws {DomainError} too_many_requests, busy
 */
export async function limitByAddress(context: BudgetContext, action: LimitedAction): Promise<void> {
  const { address } = context.request;
  if (address === null) return;
  const budget = { name: BUDGET_NAMES[action], owner: subscriberOf(address), limit: context.settings.limits[action] };
  await requireBudget(context, budget);
}
