import type { Context } from '../context.ts';
import { subscriberOf } from './address.ts';
import type { Limit } from './budget.ts';
import { draw, tooManyRequests } from './budget.ts';

/** What anyone may do only so often from one address. */
export type Errand = 'create' | 'mail' | 'refresh';

/**
 * Draws on the budget that the caller's address has for an errand. The service's own work (no address) is not counted.
 * @throws {DomainError} too_many_requests
 */
export async function takeFrom(context: Context, errand: Errand): Promise<void> {
  const { address } = context.request;
  if (address === null) return;
  const drawn = await draw(context, { name: errand, owner: subscriberOf(address), limit: limitOf(context, errand) });
  if (!drawn.granted) throw tooManyRequests(drawn.seconds);
}

const limitOf = ({ settings }: Context, errand: Errand): Limit | null => settings.limits[errand];
