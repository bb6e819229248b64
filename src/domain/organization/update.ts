import { emailKey } from '../admin/admin.ts';
import { checkNewPassword } from '../admin/password-policy.ts';
import { forbidden } from '../authorization.ts';
import type { Context } from '../context.ts';
import { DomainError, invalid } from '../errors.ts';
import type { Principal } from '../session/authenticate.ts';
import { invalidToken } from '../session/authenticate.ts';
import type { Tokens } from '../session/session.ts';
import { openSession } from '../session/session.ts';
import { beginOperation } from './lifecycle.ts';
import { organizationKey, parseOrganizationName } from './name.ts';
import type { AdminChange, OrganizationDocument, OrganizationMetadata, RenameOperation } from './organization.ts';
import { organizationMetadata } from './organization.ts';
import { carryOnRename, changeAdmin } from './rename.ts';

export type UpdateOrganizationInput = {
  /** The target: the token's own organization, also when left out. */
  organization_name?: string | undefined;
  new_organization_name?: string | undefined;
  email?: string | undefined;
  password?: string | undefined;
  current_password?: string | undefined;
};

/**
 * Renames the principal's organization and changes the admin's email and password: all of it or nothing.
 * @throws {DomainError} invalid_input, forbidden, reauthentication_required, organization_name_taken,
 *   admin_email_taken, operation_in_progress, conflict, busy
 */
export async function updateOrganization(
  context: Context,
  principal: Principal,
  input: UpdateOrganizationInput,
): Promise<OrganizationMetadata & Tokens> {
  const { organization } = principal;
  if (input.organization_name !== undefined && organizationKey(input.organization_name) !== organization.key) {
    throw forbidden();
  }
  const newName =
    input.new_organization_name === undefined
      ? undefined
      : parseOrganizationName(input.new_organization_name, 'new_organization_name');
  if (input.password !== undefined) checkNewPassword(input.password, 'password');
  if (newName === undefined && input.email === undefined && input.password === undefined) {
    throw invalid('', 'Say what to change: new_organization_name, email or password.');
  }

  const signedInAt = await signIn(context, principal, input);
  const operationId = context.newId();
  const change = await adminChange(context, principal, input);
  let updated = organization;
  if (newName !== undefined && newName.name !== organization.name) {
    const operation: RenameOperation = {
      id: operationId,
      kind: 'rename',
      step: 'claiming',
      from: { name: organization.name, key: organization.key, collection: organization.placement.collection },
      to: { ...newName, collection: organization.placement.collection },
      admin: change,
    };
    updated = await carryOnRename(context, await beginOperation(context, organization, operation, 'renaming'));
  } else if (change !== null) {
    const refusal = await changeAdmin(context, operationId, change);
    if (refusal !== undefined) throw refusal;
  }
  return { ...organizationMetadata(updated), ...(await freshTokens(context, principal, updated, signedInAt)) };
}

/**
 * When the principal last gave the password: now, with a right `current_password`.
 * @throws {DomainError} reauthentication_required when that is too long ago for what is asked
 */
async function signIn(context: Context, principal: Principal, input: UpdateOrganizationInput): Promise<Date> {
  const now = context.clock();
  const signedInAt = new Date(principal.claims.auth_time * 1000);
  if (input.current_password !== undefined) {
    if (await context.passwords.verify(input.current_password, principal.admin.password_hash)) return now;
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
  { admin }: Principal,
  { email, password }: UpdateOrganizationInput,
): Promise<AdminChange | null> {
  if (email === undefined && password === undefined) return null;
  const set: Record<string, string | Date> = { updated_at: context.clock() };
  if (email !== undefined) {
    set['email'] = email;
    set['email_key'] = emailKey(email);
  }
  if (password !== undefined) set['password_hash'] = await context.passwords.hash(password);
  return { admin_id: admin._id, version: admin.version, set };
}

/** The principal's old tokens have ended where something changed: the answer brings new ones. */
async function freshTokens(
  context: Context,
  principal: Principal,
  organization: OrganizationDocument,
  signedInAt: Date,
): Promise<Tokens> {
  const admin = await context.master.admins.findOne({ _id: principal.admin._id });
  if (admin === undefined) throw invalidToken();
  return openSession(context, { organization, admin }, signedInAt);
}
