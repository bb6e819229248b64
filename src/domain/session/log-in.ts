import type { Account } from '../admin/account.ts';
import { findAccounts } from '../admin/account.ts';
import { rehash } from '../admin/credentials.ts';
import { emailKey } from '../admin/schema.ts';
import { recordEvent } from '../audit/record.ts';
import type { SignInFailures } from '../audit/schema.ts';
import { countSignInFailure } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { organizationKey } from '../organization/name.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import { createDeviceCookie } from '../rate-limit/device-cookie.ts';
import { limitByAccount } from '../rate-limit/sign-in-limits.ts';
import { hasSecondFactor } from '../second-factor/schema.ts';
import { requireSecondFactor } from '../second-factor/verify.ts';
import { openSession } from './open-session.ts';

/** The accounts of one email that a sign-in without `organization_name` finds: this bounds its hashing. */
const MAX_ACCOUNTS = 8;

type LogInInput = {
  email: string;
  password: string;
  organization_name?: string | undefined;
  /** Of the second factor, for an admin who has one. */
  code?: string | undefined;
};

/**
 * Signs an admin in. Store calls, budgets and hashing are the same for an account that does not exist, and whatever
 * accounts others have created for the email. Only several verified accounts cost more: a hash for each. Nobody is told
 * of a second factor, and nothing is refunded, without the correct password; with it alone, nothing is refunded either.
 * @throws {DomainError} invalid_credentials, the same for every reason; organization_required when the password is
 *   correct for several verified accounts; second_factor_required when it is correct, and not enough;
 *   too_many_requests, busy
 */
export const logIn = (context: Context, input: LogInInput) =>
  context.passwords.admit(() => logInAdmitted(context, input));

async function logInAdmitted(context: Context, input: LogInInput) {
  const { password, organization_name: name } = input;
  const email_key = emailKey(input.email);
  const organization_key = name === undefined ? null : (organizationKey(name) ?? '');
  const wanted = JSON.stringify([email_key, organization_key ?? '']);
  const failed = (action: SignInFailures['action'], accounts: readonly Account[]) =>
    countSignInFailure(context, { wanted, accounts, action });
  const [candidates] = await Promise.all([
    findCandidates(context, email_key, organization_key),
    limitByAddress(context, 'loginAddress'),
  ]);
  const admins = candidates.map(({ admin }) => admin);
  const throttled = () => failed('session.sign_in_throttled', candidates);
  const limits = await limitByAccount(context, { emailKey: email_key, admins, throttled });
  const accounts = candidates.filter(({ admin }) => limits.admitted.includes(admin));
  const matching: Account[] = [];
  // One after the other: a sign-in that hashed for all its accounts at once could fill the hasher's bound by itself.
  for (const account of accounts) {
    if (await context.passwords.verify(password, account.admin.password_hash)) matching.push(account);
  }
  if (accounts.length === 0) await context.passwords.verify(password, undefined);
  const [account, ...others] = matching;
  if (account === undefined) {
    await failed('session.sign_in_failed', accounts);
    throw new DomainError('invalid_credentials', 'The email, the password or the organization is not correct.');
  }
  if (others.length === 0) await requireSecondFactor(context, account, input.code);
  // Of several accounts, those whose password is enough.
  const complete = matching.map(({ admin }) => admin).filter((admin) => others.length === 0 || !hasSecondFactor(admin));
  const settled = [
    complete.length > 0 && limits.succeeded(complete),
    ...matching.map(({ admin }) => rehash(context, { admin, password })),
  ];
  if (others.length > 0) {
    await Promise.all([failed('session.sign_in_incomplete', matching), ...settled]);
    throw new DomainError('organization_required', 'Name the organization to sign in to, in organization_name.', {
      organizations: matching.map(({ organization }) => organization.name),
    });
  }
  // The log has its entry before there is a session: no session is ever there unrecorded.
  const { admin, organization } = account;
  const event = { event_id: context.newId(), action: 'session.signed_in', actor: admin._id } as const;
  await Promise.all([recordEvent(context, organization, event), ...settled]);
  return {
    ...(await openSession(context, account)),
    admin_id: admin._id,
    admin_email: admin.email,
    organization: organization.name,
    device_cookie: createDeviceCookie(context, admin),
  };
}

/**
 * The accounts that the sign-in may be for: the one of the organization that is named; otherwise the verified ones of the
 * email, or the oldest one when none is verified. Anyone may create an account for another's email. So nobody can add
 * accounts to those that a stranger's sign-in tries, or put one before another's.
 */
async function findCandidates(
  context: Context,
  email_key: string,
  organization_key: string | null,
): Promise<Account[]> {
  const accounts = await findAccounts(context, { email_key, organization_key, status: 'active', limit: MAX_ACCOUNTS });
  const verified = accounts.filter(({ admin }) => admin.email_verified);
  return verified.length > 0 ? verified : accounts.slice(0, 1);
}
