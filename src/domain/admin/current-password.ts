import { countFailedSignIn } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import type { Budget } from '../throttle/budget.ts';
import { draw, reset, tooManyRequests } from '../throttle/budget.ts';
import type { AdminDocument } from './admin.ts';

/**
 * Whether this is the password of an admin who is signed in. Whoever found a token may guess only so often: each admin
 * has one budget (of LIMIT_LOGIN_ACCOUNT), wherever the guesses come from.
 * @throws {DomainError} too_many_requests, busy
 */
export async function isCurrentPassword(context: Context, admin: AdminDocument, password: string): Promise<boolean> {
  const limit = context.settings.limits.loginAccount;
  const budget: Budget = { name: 'current-password', owner: admin._id, limit };
  const drawn = await draw(context, budget);
  if (!drawn.granted) throw tooManyRequests(drawn.seconds);
  const fits = await context.passwords.verify(password, admin.password_hash);
  if (fits) await reset(context, budget);
  else await countFailedSignIn(context, admin._id, [admin]);
  return fits;
}
