/**
 * One-time tokens: a mail brings one, to do one thing once. A token is the id of its mail and a secret. The secret is
 * derived from random bits in the mail's document and a key that only the service has. So it can be sent again after a
 * crash, and cannot be read in the store. A presented secret is compared by its hash.
 */
import type { Account } from '../admin/account.ts';
import { findAccount, KEPT } from '../admin/account.ts';
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { MailDocument, MailKind } from '../outbox/schema.ts';
import type { BudgetContext } from '../rate-limit/budget.ts';
import { requireBudget } from '../rate-limit/budget.ts';
import { limitByAddress } from '../rate-limit/by-address.ts';
import { randomHex, sha256 } from '../secret.ts';

const SALT_BYTES = 32;

/** The id of a mail and a secret: the store is asked for nothing else. */
const FORM = /^([0-9a-f-]{36})\.([0-9a-f]{64})$/;

type Token = NonNullable<MailDocument['token']>;

/** A token for the mail of this id. @param adminEpoch the epoch of the admin for which it is good; null: for none */
export async function newToken(context: Needs<'keyedHash'>, mailId: string, adminEpoch: number | null): Promise<Token> {
  const salt = randomHex(SALT_BYTES);
  return { salt, hash: await sha256(secretOf(context, mailId, salt)), admin_epoch: adminEpoch };
}

/** The token as it is sent, and the hash of its secret under the service's present key. */
export async function tokenText(context: Needs<'keyedHash'>, { _id }: MailDocument, { salt }: Token) {
  const secret = secretOf(context, _id, salt);
  return { text: `${_id}.${secret}`, hash: await sha256(secret) };
}

/** HMAC-SHA-256 over 256 random bits: without the key it cannot be told from other random bits. */
const secretOf = ({ keyedHash }: Needs<'keyedHash'>, mailId: string, salt: string): string =>
  keyedHash(`one-time token ${mailId} ${salt}`);

/**
 * Whether an admin's token is still good. A verification ends with another email, and when the admin's epoch rises. What
 * gives an owner the account back ends by nothing that a thief can do who is signed in. A reset ends with another email,
 * and with any change that a mailed token makes. What undoes a second factor is good while that very one is in force;
 * what undoes a change of email, until that, or an earlier one, is undone.
 */
export function isGoodFor({ kind, token, undo, is_new_email, to_key }: MailDocument, admin: AdminDocument): boolean {
  if (undo !== undefined) {
    if (kind === 'second_factor_enabled') return admin.second_factor?.version === undo.version;
    const { from, to } = admin.undone ?? { from: 0, to: -1 };
    return undo.version < from || undo.version > to;
  }
  const epoch = kind === 'password_reset' ? (admin.token_epoch ?? 0) : admin.epoch;
  return token?.admin_epoch === epoch && (is_new_email === true || to_key === admin.email_key);
}

/**
 * The mail that brought a token, while the token is good. An address has a budget of wrong tokens (LIMIT_CHANGE), and
 * each correct one has a budget of its own, which nobody else can use up.
 * @throws {DomainError} invalid_one_time_token, the same for every reason; too_many_requests, busy
 */
export async function findMail(
  context: BudgetContext,
  { kind, token }: { readonly kind: MailKind | { readonly $in: readonly MailKind[] }; readonly token: string },
): Promise<MailDocument> {
  const [, _id, secret = ''] = FORM.exec(token) ?? [];
  const mail = _id === undefined ? undefined : await context.master.mails.findOne({ _id, kind });
  const isGood = mail?.token?.hash === (await sha256(secret)) && mail.expires_at > context.clock();
  if (!isGood) {
    await limitByAddress(context, 'token');
    throw invalidOneTimeToken();
  }
  await requireBudget(context, { name: 'token', owner: mail._id, limit: context.settings.limits.token });
  return mail;
}

/**
 * The account that an admin's token is for, while the token is good.
 * @throws {DomainError} invalid_one_time_token
 */
export async function accountOf(context: Needs<'master'>, mail: MailDocument): Promise<Account> {
  const account = await findAccount(context, mail, KEPT);
  if (account === undefined || !isGoodFor(mail, account.admin)) throw invalidOneTimeToken();
  return account;
}

/**
 * Uses a token up, before the thing it is for is done: of several requests at once, one succeeds. After a crash right
 * after this, another token has to be asked for.
 * @throws {DomainError} invalid_one_time_token
 */
export async function claimToken({ master }: Needs<'master'>, { _id, token }: MailDocument): Promise<void> {
  const claimed = await master.mails.deleteOne({ _id, 'token.hash': token?.hash ?? '' });
  if (claimed === 0) throw invalidOneTimeToken();
}

export const invalidOneTimeToken = (): DomainError =>
  new DomainError(
    'invalid_one_time_token',
    'This token is unknown, was used already, or is no longer valid. Ask for another one.',
  );
