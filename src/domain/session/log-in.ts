import type { Account } from '../admin/account.ts';
import { rehash } from '../admin/credentials.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { emailKey } from '../admin/schema.ts';
import { recordEvent } from '../audit/record.ts';
import { countSignInFailure } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { organizationKey } from '../organization/name.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import type { DeviceCookie } from '../rate-limit/device-cookie.ts';
import { createDeviceCookie } from '../rate-limit/device-cookie.ts';
import type { AccountLimits } from '../rate-limit/sign-in-limits.ts';
import { limitByAccount } from '../rate-limit/sign-in-limits.ts';
import { openSession } from './open-session.ts';
import type { Tokens } from './tokens.ts';

/** The accounts of one email that a sign-in without `organization_name` tries: this bounds its hashing. */
const MAX_ACCOUNTS = 8;

export type LogInInput = {
  email: string;
  password: string;
  organization_name?: string | undefined;
  /** The cookies that the device has from earlier sign-ins. */
  device_cookies?: readonly string[];
};

export type LogInResult = Tokens & {
  admin_id: string;
  admin_email: string;
  organization: string;
  /** For the device to keep. It is no part of the answer's body. */
  device_cookie: DeviceCookie;
};

/**
 * Signs an admin in. The work is the same for an account that does not exist.
 * @throws {DomainError} invalid_credentials, the same for every reason; organization_required when the password is
 *   correct for accounts of several organizations; too_many_requests, busy
 */
export const logIn = (context: Context, input: LogInInput): Promise<LogInResult> =>
  context.passwords.admit(() => logInAdmitted(context, input));

async function logInAdmitted(context: Context, input: LogInInput): Promise<LogInResult> {
  const { candidates, limits } = await findAccounts(context, input);
  if (candidates.length > MAX_ACCOUNTS) throw organizationRequired([]);
  const accounts = candidates.filter(({ admin }) => limits.admitted.includes(admin));
  const matching: Account[] = [];
  // One after the other: a sign-in that hashed for all its accounts at once could fill the hasher's bound by itself.
  for (const account of accounts) {
    if (await context.passwords.verify(input.password, account.admin.password_hash)) matching.push(account);
  }
  if (accounts.length === 0) await context.passwords.verify(input.password, undefined);
  const [account, ...others] = matching;
  if (account === undefined) {
    await countFailure(context, input, accounts, 'session.sign_in_failed');
    throw invalidCredentials();
  }
  const settled = matching.map(({ admin }) =>
    Promise.all([limits.succeeded(admin), rehash(context, { admin, password: input.password })]),
  );
  if (others.length > 0) {
    await Promise.all(settled);
    throw organizationRequired(matching.map(({ organization }) => organization.name));
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
 * The accounts that the sign-in may be for, and those of them whose password may be tried.
 * @throws {DomainError} too_many_requests, busy
 */
async function findAccounts(
  context: Context,
  input: LogInInput,
): Promise<{ candidates: readonly Account[]; limits: AccountLimits }> {
  const [{ admins, named }] = await Promise.all([findAdmins(context, input), limitByAddress(context, 'loginAddress')]);
  const active = named === undefined ? findActive(context, admins) : Promise.resolve(named);
  const accounts = active.then((organizations) =>
    admins.flatMap((admin) =>
      organizations.filter(({ _id }) => _id === admin.organization_id).map((found) => ({ admin, organization: found })),
    ),
  );
  const asked = { emailKey: emailKey(input.email), admins, deviceCookies: input.device_cookies };
  const limiting = limitByAccount(context, asked).catch(async (error: unknown) => {
    if (error instanceof DomainError && error.code === 'too_many_requests') {
      await countFailure(context, input, await accounts, 'session.sign_in_throttled');
    }
    throw error;
  });
  const [candidates, limits] = await Promise.all([accounts, limiting]);
  return { candidates, limits };
}

/** The admins of the email; with the organization of the name, or none, where one is named. */
async function findAdmins(
  { master }: Context,
  { email, organization_name }: LogInInput,
): Promise<{ readonly admins: readonly AdminDocument[]; readonly named?: readonly OrganizationDocument[] }> {
  const { admins, organizations } = master;
  const email_key = emailKey(email);
  if (organization_name === undefined) {
    return { admins: await admins.find({ email_key }, { sort: { _id: 1 }, limit: MAX_ACCOUNTS + 1 }) };
  }
  const key = organizationKey(organization_name);
  const organization = key === undefined ? undefined : await organizations.findOne({ key, status: 'active' });
  const own = { organization_id: organization?._id ?? '', email_key };
  return { admins: await admins.find(own, { limit: 1 }), named: organization === undefined ? [] : [organization] };
}

const findActive = ({ master }: Context, admins: readonly AdminDocument[]): Promise<OrganizationDocument[]> =>
  master.organizations.find({ _id: { $in: admins.map((admin) => admin.organization_id) }, status: 'active' });

/** One write for each account that was tried, and one for an account that does not exist. */
function countFailure(
  context: Context,
  { email, organization_name }: LogInInput,
  accounts: readonly Account[],
  action: 'session.sign_in_failed' | 'session.sign_in_throttled',
): Promise<void> {
  const wanted = JSON.stringify([emailKey(email), organizationKey(organization_name ?? '') ?? '']);
  return countSignInFailure(context, { wanted, accounts, action });
}

const invalidCredentials = (): DomainError =>
  new DomainError('invalid_credentials', 'The email, the password or the organization is not correct.');

const organizationRequired = (organizations: readonly string[]): DomainError =>
  new DomainError('organization_required', 'Name the organization to sign in to, in organization_name.', {
    organizations,
  });
