import { emailKey } from '../admin/schema.ts';
import { auditNote } from '../audit/note.ts';
import { record } from '../audit/record.ts';
import type { SignInFailures } from '../audit/schema.ts';
import { countSignInFailure } from '../audit/sign-in-failures.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import { limitByAccount } from '../rate-limit/sign-in-limits.ts';
import { requireSecondFactor } from '../second-factor/verify.ts';
import { beginOperation, ended, endOperation } from './journal.ts';
import { organizationKey } from './name.ts';
import type { OrganizationDocument } from './schema.ts';
import { organizationMetadata } from './schema.ts';

type RestoreOrganizationInput = {
  readonly organization_name: string;
  readonly email: string;
  readonly password: string;
  /** Of the second factor, for an owner who has one. */
  readonly code?: string | undefined;
};

/**
 * Brings a deleted organization back, with documents, indexes, admins and name, while it is kept. The work is the
 * same for one that is not there.
 * @throws {DomainError} invalid_credentials, the same for whatever did not fit; second_factor_required as a sign-in;
 *   operation_in_progress, conflict, too_many_requests, busy
 */
export const restoreOrganization = (context: Context, input: RestoreOrganizationInput) =>
  context.passwords.admit(() => restoreAdmitted(context, input));

async function restoreAdmitted(context: Context, input: RestoreOrganizationInput) {
  await limitByAddress(context, 'loginAddress');
  const { organizations, admins } = context.master;
  const key = organizationKey(input.organization_name) ?? '';
  const deleted = await organizations.findOne({ key, status: 'deleted', purge_at: { $gt: context.clock() } });
  const email_key = emailKey(input.email);
  const admin = await admins.findOne({ organization_id: deleted?._id ?? '', email_key, role: 'owner' });
  const accounts = admin === undefined || deleted === undefined ? [] : [{ admin, organization: deleted }];
  const failed = (action: SignInFailures['action']) =>
    countSignInFailure(context, { wanted: JSON.stringify([email_key, key]), accounts, action });
  const { succeeded } = await limitByAccount(context, {
    emailKey: email_key,
    admins: accounts.map((one) => one.admin),
    throttled: () => failed('session.sign_in_throttled'),
  });
  const fits = await context.passwords.verify(input.password, admin?.password_hash);
  if (deleted === undefined || admin === undefined || !fits) {
    await failed('session.sign_in_failed');
    throw new DomainError('invalid_credentials', 'No deleted organization fits this name, email and password.');
  }
  await requireSecondFactor(context, { admin, organization: deleted }, input.code);
  await succeeded([admin]);
  const id = context.newId();
  const event = { event_id: id, action: 'organization.restored', actor: admin._id, target: deleted._id } as const;
  const begun = await beginOperation(context, {
    organization: deleted,
    operation: { id, kind: 'restore', audit: await auditNote(context, deleted, event) },
    set: { status: 'active', purge_at: null, updated_at: context.clock() },
    raiseEpoch: true,
  });
  await resumeRestore(context, begun);
  return organizationMetadata({ ...begun, ...ended(context, begun) });
}

/** Finishes a restore: the write that began it brought everything back. */
export async function resumeRestore(context: Context, organization: OrganizationDocument): Promise<void> {
  if (organization.operation?.kind !== 'restore') return;
  await record(context, organization.operation.audit);
  await endOperation(context, organization);
}
