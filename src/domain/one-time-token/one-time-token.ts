/**
 * One-time tokens: what a mail brings, to do one thing once. A token is the id of its mail and a secret. The secret
 * is made of random bits beside it and a key that only the service has, so that it can be sent again after a crash
 * and yet cannot be read in the store; what is presented is compared by its hash.
 */
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { MailDocument, MailKind } from '../mail/mail.ts';
import type { OrganizationDocument } from '../organization/organization.ts';
import { VISIBLE } from '../organization/organization.ts';
import { randomHex, sha256 } from '../secret.ts';

const SALT_BYTES = 32;

type Token = NonNullable<MailDocument['token']>;

/** A token for the mail of this id. @param adminEpoch the admin's epoch for which it is good; null: no admin's */
export async function newToken(context: Context, mailId: string, adminEpoch: number | null): Promise<Token> {
  const salt = randomHex(SALT_BYTES);
  return { salt, hash: await sha256(secretOf(context, mailId, salt)), admin_epoch: adminEpoch };
}

/** The token as it is sent. */
export const tokenText = (context: Context, { _id }: MailDocument, { salt }: Token): string =>
  `${_id}.${secretOf(context, _id, salt)}`;

/** HMAC-SHA-256 over 256 random bits: whoever lacks the key cannot tell it from 256 random bits of its own. */
const secretOf = (context: Context, mailId: string, salt: string): string =>
  context.keyedHash(`one-time token ${mailId} ${salt}`);

/** Whether an admin's token is still good: it ends with another email or password, or whatever else ends tokens. */
export const isGoodFor = (mail: MailDocument, admin: AdminDocument): boolean =>
  mail.token?.admin_epoch === admin.epoch && mail.to_key === admin.email_key;

/**
 * The mail that brought a token, while the token is good.
 * @throws {DomainError} invalid_one_time_token, the same for whatever is wrong with it
 */
export async function findMail(context: Context, kind: MailKind, token: string): Promise<MailDocument> {
  const [id = '', secret = ''] = token.split('.', 2);
  const mail = id === '' ? undefined : await context.master.mails.findOne({ _id: id, kind });
  if (mail === undefined || mail.expires_at <= context.clock()) throw invalidOneTimeToken();
  if (mail.token?.hash !== (await sha256(secret))) throw invalidOneTimeToken();
  return mail;
}

/**
 * Whose account an admin's token is for, while the token is good.
 * @throws {DomainError} invalid_one_time_token
 */
export async function findAccount(
  context: Context,
  mail: MailDocument,
): Promise<{ admin: AdminDocument; organization: OrganizationDocument }> {
  const [admin, organization] = await Promise.all([
    context.master.admins.findOne({ _id: mail.admin_id, organization_id: mail.organization_id }),
    context.master.organizations.findOne({ _id: mail.organization_id, status: { $in: VISIBLE } }),
  ]);
  if (admin === undefined || organization === undefined || !isGoodFor(mail, admin)) throw invalidOneTimeToken();
  return { admin, organization };
}

/**
 * Uses a token up, before what it is for is done: of all who present it at once, one gets through. Whoever dies right
 * after this has to ask for another.
 * @throws {DomainError} invalid_one_time_token
 */
export async function claimToken(context: Context, { _id, token }: MailDocument): Promise<void> {
  const claimed = await context.master.mails.deleteOne({ _id, 'token.hash': token?.hash ?? '' });
  if (claimed === 0) throw invalidOneTimeToken();
}

export const invalidOneTimeToken = (): DomainError =>
  new DomainError(
    'invalid_one_time_token',
    'This token is not known, was used, or is no longer good. Ask for another.',
  );
