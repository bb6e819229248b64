import type { Account } from '../admin/account.ts';
import { updateAdmin } from '../admin/credentials.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { auditNote } from '../audit/note.ts';
import { wasChangedBy } from '../audit/pending.ts';
import type { SignInFailures } from '../audit/schema.ts';
import { countSignInFailure } from '../audit/sign-in-failures.ts';
import type { Context, Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { Budget } from '../rate-limit/budget.ts';
import { consume, reset, tooManyRequests } from '../rate-limit/budget.ts';
import { recognize } from '../rate-limit/sign-in-limits.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { recoveryCodeHash } from './recovery-codes.ts';
import type { SecondFactor } from './schema.ts';
import { totpStep } from './totp.ts';

/**
 * The guesses of codes that one admin has, from all addresses that the admin does not recognize; and as many from all
 * that it does. Only who has the password, or a token, can use them up. They are not by device or address: each reset of
 * the password makes one known, and would buy new guesses. No variable turns it off: a code has six digits.
 */
const GUESSES = { count: 5, seconds: 300 };

/** A code of the authenticator app; any other text may be a recovery code. */
const TOTP_FORM = /^\d{6}$/;

/** A code without what only makes it easy to read. */
export const plainCode = (code: string): string => code.toLowerCase().replaceAll(/[\s-]/g, '');

/**
 * Asks for the second factor of an admin who has just given the correct password. Asks nothing of the store for an admin
 * who has none. A sign-in without the code is counted as an incomplete one.
 * @throws {DomainError} second_factor_required without a code; invalid_credentials; too_many_requests, busy
 */
export async function requireSecondFactor(context: Context, account: Account, code: string | undefined): Promise<void> {
  const factor = account.admin.second_factor ?? null;
  if (factor === null) return;
  if (code === undefined) {
    await countFailure(context, account, 'session.sign_in_incomplete');
    throw new DomainError(
      'second_factor_required',
      'Send `code` too: the code of your authenticator app, or a recovery code.',
    );
  }
  if (!(await useCode(context, { account, factor, code }))) {
    throw new DomainError('invalid_credentials', 'The code is not correct, or was used already.');
  }
}

/**
 * Whether this is a code of the second factor that was not used before. It is used up: of several requests at once, one
 * succeeds.
 * @throws {DomainError} too_many_requests, busy
 */
export const useCode = (
  context: Context,
  input: { readonly account: Account; readonly factor: SecondFactor; readonly code: string },
): Promise<boolean> =>
  guess(context, input.account, async () => {
    const code = plainCode(input.code);
    const { account, factor } = input;
    return TOTP_FORM.test(code) ? useTotp(context, account, { factor, code }) : useRecovery(context, account, code);
  });

/**
 * Draws on the admin's guesses, and counts a wrong one as a failed sign-in. A correct one resets the guesses.
 * @throws {DomainError} too_many_requests, busy
 */
export async function guess<T>(
  context: Context,
  account: Account,
  check: () => Promise<T | false>,
): Promise<T | false> {
  const { admin } = account;
  const isRecognized = recognize(context, admin) !== undefined;
  const owner = isRecognized ? JSON.stringify([admin._id, 'recognized']) : admin._id;
  const budget: Budget = { name: 'second-factor', owner, limit: GUESSES, grows: true };
  const consumed = await consume(context, budget);
  if (!consumed.granted) {
    await countFailure(context, account, 'session.sign_in_throttled');
    throw tooManyRequests(consumed.seconds);
  }
  const result = await check();
  await (result === false ? countFailure(context, account, 'session.sign_in_failed') : reset(context, budget));
  return result;
}

const countFailure = (context: Context, account: Account, action: SignInFailures['action']): Promise<void> =>
  countSignInFailure(context, { wanted: account.admin._id, accounts: [account], action });

/** What the secret of an admin's second factor is encrypted about: it is of no use on another admin. */
export const aboutSecret = ({ _id }: Pick<AdminDocument, '_id'>): string => `second factor of ${_id}`;

/** The time step of a code; undefined for one that is not good, and for a secret that cannot be read. */
export async function stepOf(
  context: Needs<'encryption' | 'clock' | 'log' | 'request'>,
  admin: Pick<AdminDocument, '_id'>,
  { secret, code }: { readonly secret: string; readonly code: string },
): Promise<number | undefined> {
  const readable = await context.encryption.decrypt(secret, aboutSecret(admin));
  if (readable !== undefined) return totpStep(readable, code, context.clock());
  context.log('error', 'second_factor.not_readable', { request_id: context.request.id, admin_id: admin._id });
  return undefined;
}

/** A code is good once: codes of its time step, and from before, end with it. */
async function useTotp(
  context: Context,
  { admin }: Account,
  { factor, code }: { readonly factor: SecondFactor; readonly code: string },
): Promise<boolean> {
  const { secret } = factor;
  const step = await stepOf(context, admin, { secret, code });
  if (step === undefined) return false;
  const use = context.newId();
  const { admins } = context.master;
  const { matched } = await retryOnUnknownOutcome(context, () =>
    admins.updateOne(
      { _id: admin._id, 'second_factor.secret': secret, 'second_factor.last_step': { $lt: step } },
      { $set: { 'second_factor.last_step': step, 'second_factor.last_use': use } },
    ),
  );
  // Where the reply of an earlier try was lost, the code was used by this request.
  return matched === 1 || (await admins.count({ _id: admin._id, 'second_factor.last_use': use })) === 1;
}

async function useRecovery(context: Context, { admin, organization }: Account, code: string): Promise<boolean> {
  const hash = recoveryCodeHash(context, admin._id, code);
  const isGood = ({ second_factor }: AdminDocument) => second_factor?.recovery_codes?.[hash] === true;
  if (!isGood(admin)) return false;
  const event = { event_id: context.newId(), action: 'admin.recovery_code_used', actor: admin._id } as const;
  await updateAdmin(context, admin, {
    isNeeded: isGood,
    set: { [`second_factor.recovery_codes.${hash}`]: false },
    raiseEpoch: false,
    audit: await auditNote(context, organization, event),
  });
  // Another request may have used it in between.
  const now = await context.master.admins.findOne({ _id: admin._id });
  return now !== undefined && wasChangedBy(context, now, event.event_id);
}
