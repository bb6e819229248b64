/**
 * Writing an admin. Every write that raises an admin's version compares it, so that a change is made once and of the
 * document that it was made for. Audit notes of the change are in the same write.
 */
import { isStoreError } from '../../store/port.ts';
import { flushPendingAudit, wasChangedBy, withPendingAudit } from '../audit/pending.ts';
import type { Recording } from '../audit/record.ts';
import type { AuditNote, PendingAudit } from '../audit/schema.ts';
import { countSignInFailure } from '../audit/sign-in-failures.ts';
import type { Context, Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { changedMeanwhile } from '../organization/refusals.ts';
import type { Budget } from '../rate-limit/budget.ts';
import { requireBudget, reset } from '../rate-limit/budget.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Principal } from '../session/schema.ts';
import type { AdminChange, AdminDocument } from './schema.ts';
import { emailKey } from './schema.ts';

/** Others write the admin in between at most this often before the caller is asked to try again. */
const ATTEMPTS = 5;

/**
 * Makes a change of an admin that needs the version it was made for, once for its id. A change that is refused can
 * never be made by another instance later.
 * @returns the refusal, conflict or admin_email_taken; undefined when the change is made
 */
export async function changeAdmin(context: Recording, change: AdminChange): Promise<DomainError | undefined> {
  const { admins } = context.master;
  const { admin_id: _id, version, set, audit } = change;
  const changed_by = audit.notes[0]?.event_id ?? '';
  let refusal = changedMeanwhile();
  let isMade = false;
  const admin = await admins.findOne({ _id });
  try {
    const changes = { ...set, changed_by };
    isMade = admin?.version === version && (await write(context, admin, { set: changes, raiseEpoch: true, audit }));
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    refusal = emailTaken();
    await retryOnUnknownOutcome(context, () => admins.updateOne({ _id, version }, { $inc: { version: 1 } }));
  }
  if (!isMade) {
    const now = await admins.findOne({ _id });
    if (now === undefined || !(await wasChangedBy(context, now, changed_by))) return refusal;
  }
  await flushPendingAudit(context, _id);
  return undefined;
}

/**
 * Makes a change of an admin that can be made of any version, however often others write the admin in between.
 * @param admin as it was last read
 * @param update.isNeeded whether there is still something to do; asked again when others have written the admin
 * @returns the admin that the change was made of; undefined for one that is gone
 * @throws {DomainError} conflict when others write the admin all the time
 */
export async function updateAdmin(
  context: Recording,
  admin: AdminDocument,
  update: {
    readonly isNeeded: (admin: AdminDocument) => boolean;
    readonly set: { readonly [field: string]: boolean };
    readonly raiseEpoch: boolean;
    readonly audit: AuditNote;
  },
): Promise<AdminDocument | undefined> {
  const { isNeeded, audit, raiseEpoch } = update;
  const set = { ...update.set, changed_by: audit.event_id, updated_at: context.clock() };
  let current: AdminDocument | undefined = admin;
  for (let attempt = 1; current !== undefined && isNeeded(current); attempt++) {
    if (attempt > ATTEMPTS) throw changedMeanwhile();
    if (await write(context, current, { set, raiseEpoch, audit: [audit] })) break;
    current = await context.master.admins.findOne({ _id: admin._id });
  }
  await flushPendingAudit(context, admin._id);
  return current;
}

/** Writes a change with its notes. @returns false when the admin is not as it was read */
async function write(
  context: Recording,
  admin: AdminDocument,
  change: Pick<AdminChange, 'set'> & {
    readonly raiseEpoch: boolean;
    readonly audit: PendingAudit | readonly AuditNote[];
  },
): Promise<boolean> {
  const { _id, version } = admin;
  const $set = { ...change.set, ...withPendingAudit(context, admin, change.audit) };
  const $inc = { version: 1, ...(change.raiseEpoch && { epoch: 1 }) };
  const { matched } = await retryOnUnknownOutcome(context, () =>
    context.master.admins.updateOne({ _id, version }, { $set, $inc }),
  );
  return matched === 1;
}

/** @throws {DomainError} admin_email_taken where another admin of the organization has the email, as of now */
export async function requireFreeEmail(
  { master }: Needs<'master'>,
  { _id, organization_id }: AdminDocument,
  email: string,
): Promise<void> {
  const other = await master.admins.findOne({ organization_id, email_key: emailKey(email) });
  if (other !== undefined && other._id !== _id) throw emailTaken();
}

export const emailTaken = (): DomainError =>
  new DomainError('admin_email_taken', 'Another admin of this organization has that email. Use another one.');

/**
 * Whether this is the password of an admin who is signed in. A token's holder may guess a limited number of times: each
 * session has one budget (of LIMIT_LOGIN_ACCOUNT) for guesses from all addresses. A thief in one cannot use up another.
 * @throws {DomainError} too_many_requests, busy
 */
export async function isCurrentPassword(
  context: Context,
  input: Pick<Principal, 'organization' | 'admin' | 'session'> & { readonly password: string },
): Promise<boolean> {
  const { organization, admin, session, password } = input;
  const limit = context.settings.limits.loginAccount;
  const budget: Budget = { name: 'current-password', owner: session._id, limit, grows: true };
  await requireBudget(context, budget);
  const { passwords } = context;
  const fits = await passwords.share(() => passwords.verify(password, admin.password_hash));
  const failure = { wanted: admin._id, accounts: [{ organization, admin }], action: 'session.sign_in_failed' } as const;
  await (fits ? reset(context, budget) : countSignInFailure(context, failure));
  return fits;
}

/**
 * Replaces the hash of a correct password when it was made at a lower cost than is configured now. A password that was
 * changed in between stays as it is. Never throws: no sign-in is refused for this.
 */
export async function rehash(
  context: Context,
  { admin, password }: { readonly admin: AdminDocument; readonly password: string },
): Promise<void> {
  const { _id, password_hash } = admin;
  if (!context.passwords.isOutdated(password_hash)) return;
  try {
    const stronger = await context.passwords.hash(password);
    await context.master.admins.updateOne({ _id, password_hash }, { $set: { password_hash: stronger } });
  } catch (error) {
    context.log('warn', 'password.not_rehashed', { request_id: context.request.id, error });
  }
}
