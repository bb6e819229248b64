import type { AdminDocument } from '../admin/admin.ts';
import { emailKey } from '../admin/admin.ts';
import { rehash } from '../admin/rehash.ts';
import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import { countFailedSignIn } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { organizationKey } from '../organization/name.ts';
import type { OrganizationDocument } from '../organization/organization.ts';
import { VISIBLE } from '../organization/organization.ts';
import type { DeviceMark } from '../throttle/device.ts';
import { markDevice } from '../throttle/device.ts';
import { admit, takeSignIn } from '../throttle/sign-in.ts';
import { openSession } from './open-session.ts';
import type { Tokens } from './session.ts';

/** Accounts of one address that a sign-in without `organization_name` tries: what bounds its hashing. */
const MAX_ACCOUNTS = 8;

export type LogInInput = {
  email: string;
  password: string;
  organization_name?: string | undefined;
  /** Marks that the device has of earlier sign-ins. */
  marks?: readonly string[];
};

export type LogInResult = Tokens & { admin_id: string; admin_email: string; organization: string };

/** What a sign-in gives, and the mark for its device to keep. */
export type LoggedIn = LogInResult & { mark: DeviceMark };

type Account = { readonly admin: AdminDocument; readonly organization: OrganizationDocument };

/**
 * Signs an admin in. The work is the same for an account that does not exist.
 * @throws {DomainError} invalid_credentials, the same for whatever did not fit; organization_required when the
 *   password fits accounts of several organizations; too_many_requests, busy
 */
export async function logIn(context: Context, input: LogInInput): Promise<LoggedIn> {
  await takeSignIn(context);
  const found = await findAccounts(context, input);
  if (found.length > MAX_ACCOUNTS) throw organizationRequired([]);
  const admins = found.map(({ admin }) => admin);
  const { admitted, succeeded } = await admit(context, emailKey(input.email), admins, input.marks).catch(
    async (error: unknown) => {
      if (error instanceof DomainError && error.code === 'too_many_requests') {
        await countFailedSignIn(context, wantedBy(input), admins, 'session.sign_in_throttled');
      }
      throw error;
    },
  );
  const accounts = found.filter(({ admin }) => admitted.includes(admin));
  if (accounts.length === 0) {
    await context.passwords.verify(input.password, undefined);
    throw await failed(context, input, []);
  }

  const fits = await Promise.all(
    accounts.map(({ admin }) => context.passwords.verify(input.password, admin.password_hash)),
  );
  const matching = accounts.filter((_, index) => fits[index]);
  const [account, ...others] = matching;
  if (account === undefined) throw await failed(context, input, accounts);
  await Promise.all(
    matching.map(({ admin }) => Promise.all([succeeded(admin), rehash(context, admin, input.password)])),
  );
  if (others.length > 0) throw organizationRequired(matching.map(({ organization }) => organization.name));

  // Before there is a session, so that none is ever there unrecorded.
  const { admin, organization } = account;
  const note = noteOf(context, 'session.signed_in', { actor: admin._id, target: admin._id });
  await record(context, organization._id, context.newId(), note);
  return {
    ...(await openSession(context, account, context.clock())),
    admin_id: account.admin._id,
    admin_email: account.admin.email,
    organization: account.organization.name,
    mark: markDevice(context, account.admin),
  };
}

/** The refusal, once the failure is counted: one write for each account that was tried, and for one that is not there. */
async function failed(context: Context, input: LogInInput, accounts: readonly Account[]): Promise<DomainError> {
  await countFailedSignIn(
    context,
    wantedBy(input),
    accounts.map(({ admin }) => admin),
  );
  return invalidCredentials();
}

const wantedBy = ({ email, organization_name }: LogInInput): string =>
  JSON.stringify([emailKey(email), organizationKey(organization_name ?? '') ?? '']);

async function findAccounts(context: Context, input: LogInInput): Promise<Account[]> {
  const { admins, organizations } = context.master;
  const email_key = emailKey(input.email);
  if (input.organization_name !== undefined) {
    const key = organizationKey(input.organization_name);
    const organization = key === undefined ? undefined : await organizations.findOne({ key, status: { $in: VISIBLE } });
    const admin = await admins.findOne({ organization_id: organization?._id ?? '', email_key });
    return organization !== undefined && admin !== undefined ? [{ admin, organization }] : [];
  }
  const found = await admins.find({ email_key }, { sort: { _id: 1 }, limit: MAX_ACCOUNTS + 1 });
  const owners = await organizations.find({
    _id: { $in: found.map((admin) => admin.organization_id) },
    status: { $in: VISIBLE },
  });
  const byId = new Map(owners.map((organization) => [organization._id, organization]));
  return found.flatMap((admin) => {
    const organization = byId.get(admin.organization_id);
    return organization === undefined ? [] : [{ admin, organization }];
  });
}

const invalidCredentials = (): DomainError =>
  new DomainError('invalid_credentials', 'The email, the password or the organization is not right.');

const organizationRequired = (organizations: readonly string[]): DomainError =>
  new DomainError('organization_required', 'Say which organization to sign in to, in organization_name.', {
    organizations,
  });
