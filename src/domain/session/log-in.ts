import { rehash } from '../admin/credentials.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { emailKey } from '../admin/schema.ts';
import { auditNote } from '../audit/note.ts';
import type { Recording } from '../audit/record.ts';
import { record } from '../audit/record.ts';
import { countSignInFailure } from '../audit/sign-in-failures.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { organizationKey } from '../organization/name.ts';
import type { BudgetContext } from '../rate-limit/budget.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import type { DeviceCookie } from '../rate-limit/device-cookie.ts';
import { createDeviceCookie } from '../rate-limit/device-cookie.ts';
import type { AccountLimits } from '../rate-limit/sign-in-limits.ts';
import { limitByAccount } from '../rate-limit/sign-in-limits.ts';
import { openSession } from './open-session.ts';
import type { SignedIn, Tokens } from './tokens.ts';

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

type LogInContext = Recording & BudgetContext & Needs<'settings' | 'passwords' | 'tokens' | 'newId'>;

/**
 * Signs an admin in. The work is the same for an account that does not exist.
 * @throws {DomainError} invalid_credentials, the same for every reason; organization_required when the password is
 *   correct for accounts of several organizations; too_many_requests, busy
 */
export async function logIn(context: LogInContext, input: LogInInput): Promise<LogInResult> {
  const { candidates, limits } = await findAccounts(context, input);
  if (candidates.length > MAX_ACCOUNTS) throw organizationRequired([]);
  const accounts = candidates.filter(({ admin }) => limits.admitted.includes(admin));
  const fits = await Promise.all(
    accounts.map(({ admin }) => context.passwords.verify(input.password, admin.password_hash)),
  );
  if (accounts.length === 0) await context.passwords.verify(input.password, undefined);
  const matching = accounts.filter((_, index) => fits[index]);
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
  await Promise.all([recordSignIn(context, account), ...settled]);
  return {
    ...(await openSession(context, account)),
    admin_id: account.admin._id,
    admin_email: account.admin.email,
    organization: account.organization.name,
    device_cookie: createDeviceCookie(context, account.admin),
  };
}

/**
 * The accounts that the sign-in may be for, and those of them whose password may be tried.
 * @throws {DomainError} too_many_requests, busy
 */
async function findAccounts(
  context: LogInContext,
  input: LogInInput,
): Promise<{ candidates: readonly SignedIn[]; limits: AccountLimits }> {
  const email_key = emailKey(input.email);
  const [found] = await Promise.all([
    input.organization_name === undefined
      ? findByEmail(context, email_key)
      : findInOrganization(context, email_key, input.organization_name),
    limitByAddress(context, 'loginAddress'),
  ]);
  const active = found.accounts();
  const limiting = limitByAccount(context, {
    emailKey: email_key,
    admins: found.admins,
    deviceCookies: input.device_cookies,
  }).catch(async (error: unknown) => {
    if (error instanceof DomainError && error.code === 'too_many_requests') {
      await countFailure(context, input, await active, 'session.sign_in_throttled');
    }
    throw error;
  });
  const [candidates, limits] = await Promise.all([active, limiting]);
  return { candidates, limits };
}

/** Admins of an email, and with them a way to those whose organization is active. */
type Found = { readonly admins: readonly AdminDocument[]; accounts(): Promise<readonly SignedIn[]> };

async function findByEmail({ master }: Needs<'master'>, email_key: string): Promise<Found> {
  const admins = await master.admins.find({ email_key }, { sort: { _id: 1 }, limit: MAX_ACCOUNTS + 1 });
  return {
    admins,
    accounts: async () => {
      const ids = admins.map(({ organization_id }) => organization_id);
      const active = await master.organizations.find({ _id: { $in: ids }, status: 'active' });
      const byId = new Map(active.map((organization) => [organization._id, organization]));
      return admins.flatMap((admin) => {
        const organization = byId.get(admin.organization_id);
        return organization === undefined ? [] : [{ admin, organization }];
      });
    },
  };
}

async function findInOrganization({ master }: Needs<'master'>, email_key: string, name: string): Promise<Found> {
  const key = organizationKey(name);
  const organization = key === undefined ? undefined : await master.organizations.findOne({ key, status: 'active' });
  const admin = await master.admins.findOne({ organization_id: organization?._id ?? '', email_key });
  const accounts = organization === undefined || admin === undefined ? [] : [{ admin, organization }];
  return { admins: accounts.map((account) => account.admin), accounts: async () => accounts };
}

async function recordSignIn(context: LogInContext, { admin, organization }: SignedIn): Promise<void> {
  const note = await auditNote(context, organization, {
    event_id: context.newId(),
    action: 'session.signed_in',
    actor: admin._id,
    target: admin._id,
  });
  await record(context, note);
}

/** One write for each account that was tried, and one for an account that does not exist. */
function countFailure(
  context: LogInContext,
  { email, organization_name }: LogInInput,
  accounts: readonly SignedIn[],
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
