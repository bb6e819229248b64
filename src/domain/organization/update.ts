import { toAdminChange } from '../admin/change.ts';
import { changeAdmin, isCurrentPassword, requireFreeEmail } from '../admin/credentials.ts';
import { checkNewPassword, hashNewPassword } from '../admin/password-policy.ts';
import { emailKey } from '../admin/schema.ts';
import type { AuditAction } from '../audit/schema.ts';
import { authorize, forbidden, isFreshSignIn, reauthenticationRequired } from '../authorization.ts';
import type { Context, Needs } from '../context.ts';
import { DomainError, invalid } from '../errors.ts';
import { enqueueChangeMails, requireNotices } from '../outbox/account-mails.ts';
import { cancelMails, sendInBackground } from '../outbox/outbox.ts';
import type { Notice } from '../outbox/schema.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import { limitRenames } from '../rate-limit/changes.ts';
import type { DeviceCookie } from '../rate-limit/device-cookie.ts';
import { recognizeCaller } from '../rate-limit/sign-in-limits.ts';
import { hasSecondFactor } from '../second-factor/schema.ts';
import { continueSession } from '../session/continue-session.ts';
import type { Principal } from '../session/schema.ts';
import type { AccessToken } from '../session/tokens.ts';
import { isNameTaken } from './claims.ts';
import { waitForOtherChanges } from './journal.ts';
import type { OrganizationName } from './name.ts';
import { organizationKey, parseOrganizationName } from './name.ts';
import { checkNewName } from './new-name.ts';
import { nameTaken } from './refusals.ts';
import { renameOrganization } from './rename.ts';
import type { OrganizationDocument } from './schema.ts';
import { organizationMetadata } from './schema.ts';

type Credentials = {
  readonly email?: string | undefined;
  readonly password?: string | undefined;
  readonly current_password?: string | undefined;
};

export type UpdateOrganizationInput = Credentials & {
  readonly principal: Principal;
  /** The target: the token's own organization, also when left out. */
  readonly organization_name?: string | undefined;
  readonly new_organization_name?: string | undefined;
};

/** A token for the caller's session; with a new password, also the device's cookie, which is no part of the answer's body. */
type ChangedSession = AccessToken & { readonly device_cookie?: DeviceCookie | undefined };

/**
 * Renames the principal's organization and changes the admin's email and password: all of it or nothing. What is as it
 * is asked for changes nothing, ends nothing and gives nothing.
 * @returns the organization as it is now, and what the caller goes on with where something changed
 * @throws {DomainError} invalid_input, forbidden, reauthentication_required, organization_name_taken,
 *   admin_email_taken, operation_in_progress, conflict, too_many_requests, busy
 */
export async function updateOrganization(context: Context, input: UpdateOrganizationInput) {
  const newName = checkUpdate(context, input);
  const { organization, session } = await change(context, input, { newName, passwordField: 'password' });
  return { ...organizationMetadata(organization), ...session };
}

/**
 * Changes the principal's own email or password. Where the password is refused, its field is `new_password`.
 * @throws {DomainError} as {@link updateOrganization}
 */
export async function changeCredentials(
  context: Context,
  input: Credentials & { readonly principal: Principal },
): Promise<ChangedSession> {
  const { session } = await change(context, input, { passwordField: 'new_password' });
  return session ?? continueSession(context, { ...input.principal, signedInAt: input.principal.session.signed_in_at });
}

async function change(
  context: Context,
  input: Credentials & { readonly principal: Principal },
  { newName, passwordField }: { readonly newName?: OrganizationName | undefined; readonly passwordField: string },
): Promise<{ readonly organization: OrganizationDocument; readonly session?: ChangedSession }> {
  const { principal, password } = input;
  const { organization, admin, session, claims } = principal;
  const asked = input.email === admin.email ? undefined : input.email;
  if (newName === undefined && asked === undefined && password === undefined) return { organization };
  await limitUpdate(context, organization, { newName, email: asked });
  const signedInAt = await requireFreshSignIn(context, input);
  const isOther = asked !== undefined && emailKey(asked) !== admin.email_key;
  if (isOther) await requireFreeEmail(context, admin, asked);
  // Another address waits until it is verified, where the configuration says so.
  const waits = isOther && context.settings.requireVerifiedEmail;
  const email = waits ? undefined : asked;
  const newEmail = isOther ? { email: asked, waits } : undefined;
  const [notices, actions]: [Notice[], AuditAction[]] = [[], []];
  if (isOther) notices.push('email_changed');
  if (email !== undefined) actions.push('admin.email_changed');
  if (password !== undefined) {
    notices.push('password_changed');
    actions.push('admin.password_changed');
  }
  const set = {
    ...(email !== undefined && { email, email_key: emailKey(email), email_verified: admin.email_verified && !isOther }),
    ...(password !== undefined && (await hashNewPassword(context, password, passwordField))),
  };
  // Last: what is refused draws nothing on the budgets of receivers.
  await requireNotices(context, admin, { notices, newEmail });
  const adminChange = actions.length === 0 ? null : await toAdminChange(context, principal, { actions, set });
  const mails = await enqueueChangeMails(context, { admin, change: adminChange, notices, newEmail });
  let updated = organization;
  try {
    if (newName !== undefined) {
      const rename = { organization, operationId: context.newId(), actorId: admin._id, name: newName };
      updated = await renameOrganization(context, { ...rename, change: adminChange });
    } else if (adminChange !== null) {
      await waitForOtherChanges(context, organization);
      const refusal = await changeAdmin(context, adminChange);
      if (refusal !== undefined) throw refusal;
    }
  } catch (error) {
    // Unavailable: nobody knows. Then the mails are sent if the change turns out to have happened.
    if (error instanceof DomainError && error.code !== 'unavailable') await cancelMails(context, mails);
    throw error;
  }
  sendInBackground(context, mails);
  if (newName === undefined && adminChange === null) return { organization };
  // Of the epochs that this change made: what another change has ended meanwhile does not begin anew.
  const changed = {
    organization: { ...updated, epoch: organization.epoch },
    admin: { ...admin, ...set, epoch: admin.epoch + (adminChange === null ? 0 : 1) },
  };
  const token = await continueSession(context, { ...changed, session, claims, signedInAt });
  const device_cookie = password === undefined ? undefined : await recognizeCaller(context, changed.admin);
  return { organization: updated, session: { ...token, device_cookie } };
}

/**
 * Checks what can be checked of an update without asking the store.
 * @returns the new name, where there is to be one
 * @throws {DomainError} invalid_input; forbidden for any other organization, existing or not, and for a new name where
 *   the role does not permit one
 */
export function checkUpdate(
  context: Needs<'clock' | 'settings'>,
  input: UpdateOrganizationInput,
): OrganizationName | undefined {
  const { principal, organization_name, new_organization_name, email, password } = input;
  const { organization, admin, claims } = principal;
  if (new_organization_name !== undefined) authorize(context, principal, 'organization.update');
  const target = organization_name === undefined ? organization.key : organizationKey(organization_name);
  const name =
    new_organization_name === undefined
      ? undefined
      : parseOrganizationName(new_organization_name, 'new_organization_name');
  // A rename that is asked for again names the organization as it was when the token was issued.
  const isRepeated = name?.name === organization.name && target === organizationKey(claims.organization);
  if (target !== organization.key && !isRepeated) throw forbidden();
  if (new_organization_name === undefined && email === undefined && password === undefined) {
    throw invalid('', 'Say what to change: new_organization_name, email or password.');
  }
  if (password !== undefined) {
    const owner = { email: email ?? admin.email, organizationName: new_organization_name ?? organization.name };
    checkNewPassword(context, password, 'password', owner);
  }
  if (name === undefined || name.name === organization.name) return undefined;
  checkNewName(context, name, 'new_organization_name');
  return name;
}

/**
 * Bounds renames and mails, and looks whether the new name is taken: all of it before anything is hashed.
 * @throws {DomainError} too_many_requests, organization_name_taken, busy
 */
async function limitUpdate(
  context: Context,
  organization: OrganizationDocument,
  { newName, email }: { readonly newName: OrganizationName | undefined; readonly email: string | undefined },
): Promise<void> {
  const [isTaken] = await Promise.all([
    newName && isNameTaken(context, { key: newName.key, organizationId: organization._id }),
    newName && limitRenames(context, organization),
    email === undefined ? undefined : limitByAddress(context, 'mail'),
  ]);
  if (isTaken) throw nameTaken();
}

/**
 * When the principal last signed in: now, with a correct `current_password`, unless the admin has a second factor. Then
 * the password alone does not stand for a sign-in.
 * @throws {DomainError} reauthentication_required when that is too long ago for what is asked
 */
async function requireFreshSignIn(
  context: Context,
  { principal, email, password, current_password }: Credentials & { readonly principal: Principal },
): Promise<Date> {
  const isNeeded = email !== undefined || password !== undefined;
  const isEnough = current_password !== undefined && !hasSecondFactor(principal.admin);
  if (isNeeded && !isEnough && !isFreshSignIn(context, principal)) throw reauthenticationRequired();
  if (current_password !== undefined) {
    const fits = await isCurrentPassword(context, { ...principal, password: current_password });
    if (!fits) throw reauthenticationRequired();
    if (isEnough) return context.clock();
  }
  return new Date(principal.claims.auth_time * 1000);
}
