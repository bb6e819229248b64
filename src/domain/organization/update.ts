import { emailKey } from '../admin/admin.ts';
import { isCurrentPassword } from '../admin/current-password.ts';
import { checkNewPassword } from '../admin/password-policy.ts';
import { noteOf } from '../audit/event.ts';
import { authorize, forbidden } from '../authorization.ts';
import type { Context } from '../context.ts';
import { DomainError, invalid } from '../errors.ts';
import { postChangeMails } from '../mail/account-mails.ts';
import { sendSoon, unpostMails } from '../mail/outbox.ts';
import type { AccessClaims } from '../session/access-token.ts';
import type { Principal } from '../session/authenticate.ts';
import { invalidToken } from '../session/authenticate.ts';
import { renewSession } from '../session/open-session.ts';
import type { Tokens } from '../session/session.ts';
import { currentEpoch } from '../session/session.ts';
import { beginOperation, recoverStale, whenEnded, whenIdle } from './lifecycle.ts';
import type { OrganizationName } from './name.ts';
import { organizationKey, parseOrganizationName } from './name.ts';
import type { AdminChange, OrganizationDocument, OrganizationMetadata, RenameOperation } from './organization.ts';
import { organizationMetadata, VISIBLE } from './organization.ts';
import { changedMeanwhile } from './refusals.ts';
import { carryOnRename, changeAdmin } from './rename.ts';

/** How often a rename that another request or instance carries on is looked at, in milliseconds. */
const FOLLOW_MS = 100;

export type UpdateOrganizationInput = {
  /** The target: the token's own organization, also when left out. */
  organization_name?: string | undefined;
  new_organization_name?: string | undefined;
  email?: string | undefined;
  password?: string | undefined;
  current_password?: string | undefined;
};

/** The answer while the documents are still copied to the new collection: the organization as it is, and no tokens. */
export type RenamingOrganization = OrganizationMetadata & { access_token?: never };

/**
 * Renames the principal's organization and changes the admin's email and password: all of it or nothing. Where the
 * server does not rename a collection, its documents are copied, and after a while without the caller.
 * @throws {DomainError} invalid_input, forbidden, reauthentication_required, organization_name_taken,
 *   admin_email_taken, operation_in_progress, conflict, too_many_requests, busy
 */
export async function updateOrganization(
  context: Context,
  principal: Principal,
  input: UpdateOrganizationInput & { new_organization_name?: undefined },
): Promise<OrganizationMetadata & Tokens>;
export async function updateOrganization(
  context: Context,
  principal: Principal,
  input: UpdateOrganizationInput,
): Promise<(OrganizationMetadata & Tokens) | RenamingOrganization>;
export async function updateOrganization(
  context: Context,
  principal: Principal,
  input: UpdateOrganizationInput,
): Promise<(OrganizationMetadata & Tokens) | RenamingOrganization> {
  const { organization, admin, session } = principal;
  const newName = checkUpdate(context, principal, input);
  const until = copyDeadline(context);
  if (newName !== undefined && isAskedBy(principal.claims, organization, newName)) {
    return followRename(context, principal.claims, input, until);
  }
  const signedInAt = await signIn(context, principal, input);
  const operationId = context.newId();
  const change = await adminChange(context, operationId, principal, input);
  const { email, password } = input;
  const mails = await postChangeMails(context, admin, operationId, { email, password: password !== undefined });
  let updated = organization;
  let raised = 0;
  try {
    if (newName !== undefined && newName.name !== organization.name) {
      updated = await rename(context, principal, operationId, newName, change, until);
      raised = 1;
    } else if (change !== null) {
      await whenNoOtherChanges(context, organization);
      const refusal = await changeAdmin(context, operationId, change);
      if (refusal !== undefined) throw refusal;
    }
  } catch (error) {
    // Unavailable: nobody knows. Then the mails are sent if the change turns out to have happened.
    if (error instanceof DomainError && error.code !== 'unavailable') await unpostMails(context, mails);
    throw error;
  }
  sendSoon(context, mails);
  if (isCopying(updated)) return followRename(context, principal.claims, input, until);
  // The old tokens have ended where something changed. The new ones are of the epochs that this change made: what another
  // change has ended meanwhile, another password say, does not begin anew.
  const changed = {
    organization: { ...updated, epoch: organization.epoch + raised },
    admin: { ...admin, email: input.email ?? admin.email, epoch: admin.epoch + (change === null ? 0 : 1) },
  };
  const tokens = await renewSession(context, changed, session._id, signedInAt);
  return { ...organizationMetadata(updated), ...tokens };
}

async function rename(
  context: Context,
  { organization, admin, claims }: Principal,
  operationId: string,
  newName: OrganizationName,
  change: AdminChange | null,
  until: Date,
): Promise<OrganizationDocument> {
  const { collection } = organization.placement;
  const operation: RenameOperation = {
    id: operationId,
    kind: 'rename',
    step: 'claiming',
    copy: null,
    from: { name: organization.name, key: organization.key, collection },
    to: { ...newName, collection },
    admin: change,
    asked_by: claims.jti,
    audit: noteOf(context, 'organization.renamed', { actor: admin._id, target: organization._id }),
  };
  return carryOnRename(context, await beginOperation(context, organization, operation, { status: 'renaming' }), until);
}

/**
 * Checks what can be checked of an update without asking the store.
 * @returns the new name, where there is to be one
 * @throws {DomainError} invalid_input; forbidden for any other organization, existing or not, and for a new name where
 *   the role does not permit one
 */
export function checkUpdate(
  context: Context,
  { organization, admin }: Principal,
  { organization_name, new_organization_name, email, password }: UpdateOrganizationInput,
): OrganizationName | undefined {
  if (organization_name !== undefined && organizationKey(organization_name) !== organization.key) throw forbidden();
  if (new_organization_name !== undefined) authorize(context, admin, 'organization.update');
  if (new_organization_name === undefined && email === undefined && password === undefined) {
    throw invalid('', 'Say what to change: new_organization_name, email or password.');
  }
  if (password !== undefined) {
    const owner = { email: email ?? admin.email, organizationName: new_organization_name ?? organization.name };
    checkNewPassword(password, 'password', owner);
  }
  return new_organization_name === undefined
    ? undefined
    : parseOrganizationName(new_organization_name, 'new_organization_name');
}

/**
 * The answer to a rename that is asked for again with the token that did it, after its reply was lost.
 * @throws {DomainError} invalid_token when it was another change, or anything has ended that reply's tokens since;
 *   conflict when it was under way, and rolled back; operation_in_progress
 */
export async function repeatUpdate(
  context: Context,
  claims: AccessClaims,
  input: UpdateOrganizationInput,
): Promise<(OrganizationMetadata & Tokens) | RenamingOrganization> {
  const { organizations, admins } = context.master;
  const found = await organizations.findOne({ _id: claims.org_id, status: { $in: VISIBLE } });
  const newName =
    input.new_organization_name === undefined
      ? undefined
      : parseOrganizationName(input.new_organization_name, 'new_organization_name');
  // The rename itself may be under way still, or left to others by an instance that died.
  if (found !== undefined && newName !== undefined && isAskedBy(claims, found, newName)) {
    return followRename(context, claims, input, copyDeadline(context));
  }
  const organization = found && (await whenEnded(context, found));
  const admin = await admins.findOne({ _id: claims.admin_id, organization_id: claims.org_id });
  if (organization === undefined || admin === undefined || newName === undefined) throw invalidToken();
  if (!VISIBLE.includes(organization.status)) throw invalidToken();
  const { last_change, name } = organization;
  const same =
    last_change?.kind === 'rename' &&
    last_change.asked_by === claims.jti &&
    currentEpoch({ organization, admin }) === claims.epoch + last_change.raised &&
    newName.name === name &&
    (last_change.raised === 2) === (input.email !== undefined || input.password !== undefined) &&
    (input.email ?? admin.email) === admin.email &&
    (input.password === undefined || (await context.passwords.verify(input.password, admin.password_hash)));
  // Where the token is in force still, the rename that was under way has been rolled back.
  if (!same) throw currentEpoch({ organization, admin }) === claims.epoch ? changedMeanwhile() : invalidToken();
  const tokens = await renewSession(context, { organization, admin }, claims.sid, new Date(claims.auth_time * 1000));
  return { ...organizationMetadata(organization), ...tokens };
}

const isAskedBy = ({ jti }: AccessClaims, { operation }: OrganizationDocument, { name }: OrganizationName): boolean =>
  operation?.kind === 'rename' && operation.asked_by === jti && operation.to.name === name;

/** Until when a request that came now waits for a copy of documents. */
const copyDeadline = ({ clock, settings }: Context): Date => new Date(clock().getTime() + settings.copyWaitMs);

/** The answer to a rename that another request or instance carries on, or to one that is asked for again. */
async function followRename(
  context: Context,
  claims: AccessClaims,
  input: UpdateOrganizationInput,
  until: Date,
): Promise<(OrganizationMetadata & Tokens) | RenamingOrganization> {
  for (;;) {
    const current = await context.master.organizations.findOne({ _id: claims.org_id });
    if (current === undefined) throw invalidToken();
    if (current.operation?.kind !== 'rename' || current.operation.asked_by !== claims.jti) {
      return repeatUpdate(context, claims, input);
    }
    if (context.clock() >= until) {
      if (isCopying(current)) return organizationMetadata(current);
      throw new DomainError('operation_in_progress', 'The change of this organization is under way. Try again.');
    }
    if (!(await recoverStale(context, current, until))) await context.wait(FOLLOW_MS);
  }
}

const isCopying = ({ operation }: OrganizationDocument): boolean =>
  operation?.kind === 'rename' && operation.step === 'copying';

/**
 * Waits for a rename that may have changed the admin: until it is committed, what it did to the admin must stay to be
 * seen. The organization is read after the admin was, so a rename that the admin's version knows of is found.
 * @throws {DomainError} operation_in_progress, conflict
 */
export async function whenNoOtherChanges(context: Context, organization: OrganizationDocument): Promise<void> {
  const current = await context.master.organizations.findOne({ _id: organization._id });
  if (current === undefined || current.epoch !== organization.epoch) throw changedMeanwhile();
  await whenIdle(context, current);
}

/**
 * When the principal last gave the password: now, with a right `current_password`.
 * @throws {DomainError} reauthentication_required when that is too long ago for what is asked
 */
async function signIn(context: Context, principal: Principal, input: UpdateOrganizationInput): Promise<Date> {
  const now = context.clock();
  const signedInAt = new Date(principal.claims.auth_time * 1000);
  if (input.current_password !== undefined) {
    if (await isCurrentPassword(context, principal.admin, input.current_password)) return now;
    throw reauthenticationRequired();
  }
  const fresh = now.getTime() - signedInAt.getTime() <= context.settings.freshSignInSeconds * 1000;
  if (!fresh && (input.email !== undefined || input.password !== undefined)) throw reauthenticationRequired();
  return signedInAt;
}

const reauthenticationRequired = (): DomainError =>
  new DomainError(
    'reauthentication_required',
    'Changing email or password needs a recent sign-in: sign in again, or give the right current_password.',
  );

async function adminChange(
  context: Context,
  operationId: string,
  { admin }: Principal,
  { email, password }: UpdateOrganizationInput,
): Promise<AdminChange | null> {
  if (email === undefined && password === undefined) return null;
  const set: Record<string, string | boolean | Date> = { updated_at: context.clock() };
  if (email !== undefined) {
    set['email'] = email;
    set['email_key'] = emailKey(email);
    if (emailKey(email) !== admin.email_key) set['email_verified'] = false;
  }
  if (password !== undefined) set['password_hash'] = await context.passwords.hash(password);
  const own = { actor: admin._id, target: admin._id };
  const audit = {
    ...(email !== undefined && { [`${operationId}:email`]: noteOf(context, 'admin.email_changed', own) }),
    ...(password !== undefined && { [`${operationId}:password`]: noteOf(context, 'admin.password_changed', own) }),
  };
  return { admin_id: admin._id, version: admin.version, set, audit };
}
