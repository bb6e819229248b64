/** An admin's own second factor: a secret waits until a first code shows that the admin has it. */
import { requireAdmin } from '../admin/account.ts';
import { makeChange } from '../admin/change.ts';
import { isCurrentPassword } from '../admin/credentials.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { isFreshSignIn } from '../authorization.ts';
import type { Context } from '../context.ts';
import { DomainError, invalid } from '../errors.ts';
import { changedMeanwhile } from '../organization/refusals.ts';
import { enqueueChangeMails, requireNotices } from '../outbox/account-mails.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { continueSession } from '../session/continue-session.ts';
import type { Principal } from '../session/schema.ts';
import type { AccessToken } from '../session/tokens.ts';
import { newRecoveryCodes, recoveryCodeHash } from './recovery-codes.ts';
import type { SecondFactor } from './schema.ts';
import { hasSecondFactor, recoveryCodesLeft } from './schema.ts';
import { newTotpSecret, totpUri } from './totp.ts';
import { aboutSecret, guess, plainCode, stepOf, useCode } from './verify.ts';

/** How long a new secret waits for its first code, in milliseconds. */
const WAITS_MS = 15 * 60 * 1000;

/**
 * Makes a secret for the principal's authenticator app. It waits for {@link confirmSecondFactor}; one that waits already
 * ends.
 * @throws {DomainError} second_factor_in_force; reauthentication_required when the password is not correct;
 *   too_many_requests, busy
 */
export async function beginSecondFactor(
  context: Context,
  { principal, current_password: password }: { readonly principal: Principal; readonly current_password: string },
): Promise<{ secret: string; uri: string }> {
  const { admin, organization } = principal;
  requireNone(admin);
  if (!(await isCurrentPassword(context, { ...principal, password }))) throw notReauthenticated();
  const secret = newTotpSecret();
  const second_factor_waiting = {
    secret: await context.encryption.encrypt(secret, aboutSecret(admin)),
    expires_at: new Date(context.clock().getTime() + WAITS_MS),
  };
  // Nothing is in force by this: it is neither recorded, nor a change that others have to look out for.
  await retryOnUnknownOutcome(context, () =>
    context.master.admins.updateOne({ _id: admin._id }, { $set: { second_factor_waiting } }),
  );
  return { secret, uri: totpUri(secret, `${admin.email} (${organization.name})`) };
}

/**
 * Puts the secret that waits in force, by a code that was made of it. The admin's other sessions end, and this one
 * continues.
 * @returns the recovery codes, which nobody can read again, and an access token
 * @throws {DomainError} second_factor_in_force; second_factor_not_found when none waits; invalid_input for a wrong code;
 *   too_many_requests, operation_in_progress, conflict, busy
 */
export async function confirmSecondFactor(
  context: Context,
  { principal, code }: { readonly principal: Principal; readonly code: string },
): Promise<AccessToken & { recovery_codes: string[] }> {
  const { admin } = principal;
  requireNone(admin);
  const waiting = admin.second_factor_waiting ?? null;
  if (waiting === null || waiting.expires_at <= context.clock()) {
    throw new DomainError('second_factor_not_found', 'No new secret waits: POST /admin/second-factor first.');
  }
  const { secret } = waiting;
  const first = { secret, code: plainCode(code) };
  const step = await guess(context, principal, async () => (await stepOf(context, admin, first)) ?? false);
  if (step === false) throw invalid('code', 'Use the present code of the authenticator app. Check its clock.');
  await requireNotices(context, admin, { notices: ['second_factor_enabled'] });
  const recovery_codes = newRecoveryCodes();
  const hashes = recovery_codes.map((shown) => recoveryCodeHash(context, admin._id, plainCode(shown)));
  const second_factor: SecondFactor = {
    version: admin.version,
    secret,
    last_step: step,
    last_use: '',
    recovery_codes: Object.fromEntries(hashes.map((hash) => [hash, true])),
  };
  const signedInAt = new Date(principal.claims.auth_time * 1000);
  const token = await change(context, principal, { second_factor, signedInAt });
  return { ...token, recovery_codes };
}

/**
 * Turns the principal's second factor off. The admin's other sessions end, and this one continues.
 * @param input.code may be left out where no recovery code is left, and the sign-in is recent: it was made with a code
 * @throws {DomainError} second_factor_not_found; reauthentication_required when the password or the code is not correct;
 *   too_many_requests, operation_in_progress, conflict, busy
 */
export async function removeSecondFactor(
  context: Context,
  input: { readonly principal: Principal; readonly current_password: string; readonly code?: string | undefined },
): Promise<AccessToken> {
  const { principal, current_password: password, code } = input;
  const { admin, organization } = principal;
  const factor = admin.second_factor ?? null;
  if (factor === null) throw new DomainError('second_factor_not_found', 'You have no second factor.');
  if (!(await isCurrentPassword(context, { ...principal, password }))) throw notReauthenticated();
  const needsNoCode = recoveryCodesLeft(admin) === 0 && isFreshSignIn(context, principal);
  if (code === undefined && !needsNoCode) throw notReauthenticated();
  if (code !== undefined && !(await useCode(context, { account: principal, factor, code }))) throw notReauthenticated();
  // A recovery code that was used has changed the admin. What ended this session meanwhile must not.
  const now = await requireAdmin(context, organization, admin._id);
  if (now.epoch !== admin.epoch) throw changedMeanwhile();
  return change(context, { ...principal, admin: now }, { second_factor: null, signedInAt: context.clock() });
}

async function change(
  context: Context,
  principal: Principal,
  { second_factor, signedInAt }: { readonly second_factor: SecondFactor | null; readonly signedInAt: Date },
): Promise<AccessToken> {
  const { admin } = principal;
  const notice = second_factor === null ? 'second_factor_disabled' : 'second_factor_enabled';
  const refusal = await makeChange(context, principal, {
    actions: [`admin.${notice}`],
    set: { second_factor, second_factor_waiting: null },
    enqueue: (made) => enqueueChangeMails(context, { admin, change: made, notices: [notice] }),
  });
  if (refusal !== undefined) throw refusal;
  // Of the epoch that this change made: what another change has ended meanwhile does not begin anew.
  return continueSession(context, { ...principal, admin: { ...admin, epoch: admin.epoch + 1 }, signedInAt });
}

function requireNone(admin: AdminDocument): void {
  if (!hasSecondFactor(admin)) return;
  throw new DomainError(
    'second_factor_in_force',
    'You have a second factor. Turn it off before you set another one up.',
  );
}

const notReauthenticated = (): DomainError =>
  new DomainError('reauthentication_required', 'The password, or the code, is not correct.');
