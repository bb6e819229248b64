/**
 * The outbox: mails wait in the master database until a mailer has taken them. The request that enqueues a mail sends
 * it after the answer; when that instance dies, or the mailer does not take it, the reconciler sends it. A mail may be
 * sent twice. It is tried ever more seldom, until it expires: neither a server's quota nor a failure of hours loses one.
 */

import type { Account } from '../admin/account.ts';
import { findAccounts, KEPT } from '../admin/account.ts';
import type { AdminDocument } from '../admin/schema.ts';
import { wasChangedBy } from '../audit/pending.ts';
import type { Needs } from '../context.ts';
import { DomainError } from '../errors.ts';
import { isGoodFor, newToken, tokenText } from '../one-time-token/one-time-token.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import type { BudgetContext } from '../rate-limit/budget.ts';
import { consume, tooManyRequests } from '../rate-limit/budget.ts';
import { insertUnlessThere } from '../retry.ts';
import { MailError } from './mailer.ts';
import type { MailDocument, MailKind } from './schema.ts';
import { LIFETIME_MS, NOTICES } from './schema.ts';
import type { MailPart } from './wording.ts';
import { toMessage } from './wording.ts';

/** The accounts of one address that a mail brings tokens for; and that are looked at, of whatever organizations. */
const MAX_ACCOUNTS = 8;
const MAX_FOUND = 100;

/** The time until the next try doubles up to this, in milliseconds. */
const LONGEST_MS = 6 * 60 * 60 * 1000;

export type EnqueueContext = BudgetContext & Needs<'newId' | 'wait'>;

type SendContext = EnqueueContext & Needs<'mailer'>;

type NewMail = Pick<MailDocument, 'kind' | 'to' | 'to_key'> &
  Partial<Omit<MailDocument, 'token' | 'attempts' | 'due_at' | 'created_at' | 'expires_at'>> & {
    /** For a kind that brings a token: the admin's epoch, or `token_epoch`, for which it is good, or null. */
    readonly epoch?: number | null;
  };

/** What a mail is to its receiver. */
type Counted = Pick<MailDocument, 'kind' | 'to_key'> & {
  /** Whether it goes to the verified address of the account that it is about. */
  readonly isVerified?: boolean;
};

/**
 * Writes a mail to be sent, unless its receiver has had too many: see {@link countForRecipient}. No caller is told of
 * that, for strangers may have caused the others.
 * @returns the mail, or none
 */
export async function enqueueMail(
  context: EnqueueContext,
  { isVerified = false, ...mail }: NewMail & Counted,
): Promise<MailDocument[]> {
  const seconds = await countForRecipient(context, { ...mail, isVerified });
  return seconds === undefined ? [await insertMail(context, mail)] : [];
}

/** Counts a mail that is asked for by name. @throws {DomainError} too_many_requests, where its receiver has had too many */
export async function requireRecipientBudget(context: EnqueueContext, mail: Counted): Promise<void> {
  const seconds = await countForRecipient(context, mail);
  if (seconds !== undefined) throw tooManyRequests(seconds);
}

/**
 * Counts a mail for its receiver, over all kinds, senders and organizations. What strangers can cause is counted by
 * itself, so that they cannot keep a verified owner from the mails of the own account. Notices to a verified address are
 * neither counted nor held back: a thief who causes them must not use up the owner's resets.
 * @returns the seconds until there may be another one, when this one may not be sent
 */
async function countForRecipient(
  context: EnqueueContext,
  { kind, to_key, isVerified = false }: Counted,
): Promise<number | undefined> {
  if (isVerified && NOTICES.some((notice) => notice === kind)) return undefined;
  const counted = recipientClass(kind, isVerified);
  const budget = {
    name: 'mail-recipient',
    // Of a verified account exactly the address: another spelling may be another's mailbox.
    owner: JSON.stringify([counted, counted === 'account' ? to_key : mailboxOf(to_key)]),
    limit: context.settings.limits.mailRecipient,
    silent: true,
  };
  const consumed = await consume(context, budget).catch((error: unknown) => {
    // Lost to that many others, who have used it up.
    if (error instanceof DomainError) return { granted: false, seconds: 1 } as const;
    throw error;
  });
  if (consumed.granted) return undefined;
  context.log('warn', 'mail.over_budget', { request_id: context.request.id, kind });
  return consumed.seconds;
}

/** A reset tells that there is an account: were it counted with what strangers send, their refusals would tell it too. */
function recipientClass(kind: MailKind, isVerified: boolean): 'stranger' | 'account' | 'reset' {
  if (kind === 'verification' || kind === 'invitation') return 'stranger';
  if (isVerified) return 'account';
  return kind === 'password_forgotten' ? 'reset' : 'stranger';
}

/**
 * The address without its tag (RFC 5233) and the dots of its local part: with many providers, all of them lead to the
 * same mailbox. With others, they share a budget.
 */
function mailboxOf(address: string): string {
  const at = address.lastIndexOf('@');
  return address.slice(0, at).split('+', 1).join('').replaceAll('.', '') + address.slice(at);
}

/**
 * Writes a mail to be sent: by {@link sendInBackground} when the thing it is about is done, else by the reconciler. Of
 * several with the same id, the first one stays. It is not counted.
 */
export async function insertMail(context: EnqueueContext, { epoch, ...fields }: NewMail): Promise<MailDocument> {
  const now = context.clock();
  const after = (ms: number) => new Date(now.getTime() + ms);
  const id = fields._id ?? context.newId();
  const mail: MailDocument = {
    organization_id: null,
    admin_id: null,
    invitation: null,
    change: null,
    organization_key: null,
    ...fields,
    _id: id,
    token: epoch === undefined ? null : await newToken(context, id, epoch),
    attempts: 0,
    due_at: fields.kind === 'password_reset' ? null : after(context.settings.leaseMs),
    created_at: now,
    expires_at: after(LIFETIME_MS[fields.kind]),
  };
  await insertUnlessThere(context, () => context.master.mails.insertOne(mail));
  return mail;
}

/** A mail that brings an admin a token, to the admin's present address. */
export const tokenMail = (
  kind: 'verification' | 'password_reset',
  { _id: admin_id, organization_id, email: to, email_key: to_key, epoch, token_epoch = 0 }: AdminDocument,
) => ({ kind, organization_id, admin_id, to, to_key, epoch: kind === 'password_reset' ? token_epoch : epoch });

/** Removes mails about a change that was refused. */
export async function cancelMails({ master }: Needs<'master'>, mails: readonly MailDocument[]): Promise<void> {
  if (mails.length > 0) await master.mails.deleteMany({ _id: { $in: mails.map(({ _id }) => _id) } });
}

/** Sends mails after the answer. The reconciler tries failed ones again. */
export function sendInBackground(context: Needs<'runInBackground'>, mails: readonly MailDocument[]): void {
  if (mails.length === 0) return;
  void context.runInBackground(async (background) => {
    for (const mail of mails) await sendDueMail(background, mail);
  });
}

/** `mailer_away`: this mail and all others are tried later, for the mailer takes none now. */
type SendResult = 'mailer_away' | undefined;

/**
 * Tries to send a mail once. The instance that moves `due_at` has the mail until then; the others do nothing.
 * @param mail as it was last read
 */
export async function sendDueMail(context: SendContext, { _id, due_at, attempts }: MailDocument): Promise<SendResult> {
  const { mails, organizations, admins } = context.master;
  if (due_at === null) return undefined;
  const ms = Math.min(context.settings.leaseMs * 2 ** attempts, LONGEST_MS);
  const next = new Date(context.clock().getTime() + ms);
  const mail = await mails.findOneAndUpdate({ _id, due_at }, { $set: { due_at: next }, $inc: { attempts: 1 } });
  if (mail === undefined) return undefined;
  if (mail.expires_at <= context.clock()) return giveUp(context, mail);
  if (mail.kind === 'password_forgotten') return sendResets(context, mail);
  const [organization, admin] = await Promise.all([
    organizations.findOne({ _id: mail.organization_id }),
    mail.admin_id === null ? undefined : admins.findOne({ _id: mail.admin_id }),
  ]);
  const decision = await deliveryDecision(context, mail, organization, admin);
  if (decision === 'send') return deliver(context, mail, [await partOf(context, mail, organization?.name ?? '')]);
  if (decision === 'drop') await mails.deleteOne({ _id });
  return undefined;
}

/**
 * Answers a request for a new password, by one mail with a token for each account of the address: so a verified owner's
 * token is in it, whoever asked, and whichever request the budget lets through. An unverified owner's can be kept out, by
 * older accounts of the address, or by other spellings of the mailbox, which use up its budget.
 */
async function sendResets(context: SendContext, request: MailDocument): Promise<SendResult> {
  const { mails } = context.master;
  const { _id, kind, to_key, is_counted } = request;
  const drop = async (): Promise<undefined> => {
    await mails.deleteOne({ _id });
  };
  const accounts = await accountsFor(context, request);
  if (accounts[0] === undefined) return drop();
  // The address as an account has it: whoever asked has spelled it in the request.
  const { email: to, email_verified: isVerified } = accounts[0].admin;
  if (is_counted !== true) {
    if ((await countForRecipient(context, { kind, to_key, isVerified })) !== undefined) return drop();
    await mails.updateOne({ _id }, { $set: { is_counted: true } });
  }
  const parts = accounts.map(async ({ admin, organization }) =>
    partOf(context, await resetOf(context, request, admin), organization.name),
  );
  return deliver(context, { ...request, to }, await Promise.all(parts));
}

/** The token that a request brings an admin: the same one when its mail is sent again. */
async function resetOf(context: EnqueueContext, request: MailDocument, admin: AdminDocument): Promise<MailDocument> {
  const source = ['password reset', request._id, admin._id, admin.token_epoch ?? 0];
  // Of the form that one-time tokens ask of an id.
  const _id = context.keyedHash(JSON.stringify(source)).slice(0, 36);
  const inserted = await insertMail(context, { ...tokenMail('password_reset', admin), _id });
  return (await context.master.mails.findOne({ _id })) ?? inserted;
}

/**
 * The accounts that a request may be for: the verified ones of the address, the one of the organization that is named,
 * then the oldest. None, where the named organization has none.
 */
async function accountsFor(
  context: Needs<'master'>,
  { to_key: email_key, organization_key }: MailDocument,
): Promise<Account[]> {
  const wanted = { email_key, organization_key, status: KEPT, limit: MAX_FOUND };
  const own = await findAccounts(context, wanted);
  if (organization_key === null || own.length === 0) return own.slice(0, MAX_ACCOUNTS);
  const all = await findAccounts(context, { ...wanted, organization_key: null });
  const others = all.filter(({ admin }) => admin._id !== own[0]?.admin._id).slice(0, MAX_ACCOUNTS - 1);
  const verified = others.filter(({ admin }) => admin.email_verified);
  return [...verified, ...own, ...others.slice(verified.length)];
}

/** Whether the thing that a mail is about has happened, may still happen, or will not. */
export async function deliveryDecision(
  context: Needs<'master'>,
  mail: MailDocument,
  organization: OrganizationDocument | undefined,
  admin: AdminDocument | undefined,
): Promise<'send' | 'wait' | 'drop'> {
  if (organization === undefined) return 'drop';
  if (organization.status === 'creating') return 'wait';
  if (!KEPT.$in.some((status) => status === organization.status)) return 'drop';
  if (mail.invitation !== null) return organization.status === 'active' ? 'send' : 'drop';
  if (admin === undefined) return 'drop';
  if (mail.change !== null && !(await wasChangedBy(context, admin, mail.change.id))) {
    return admin.version <= mail.change.version ? 'wait' : 'drop';
  }
  return mail.token === null || isGoodFor(mail, admin) ? 'send' : 'drop';
}

async function deliver(context: SendContext, mail: MailDocument, parts: readonly MailPart[]): Promise<SendResult> {
  const { mails } = context.master;
  const { _id, kind, token } = mail;
  try {
    const { publicUrl } = context.settings;
    const delivery = await context.mailer.send(toMessage(mail, parts, publicUrl));
    context.log('info', `mail.${delivery}`, { mail_id: _id, kind });
  } catch (error) {
    if (!(error instanceof MailError)) throw error;
    const isLast = mail.due_at === null || mail.due_at >= mail.expires_at;
    if (error.failure === 'refused' || isLast) return giveUp(context, mail, error);
    context.log('warn', 'mail.not_sent', { mail_id: _id, kind, attempts: mail.attempts, error });
    return error.failure === 'away' ? 'mailer_away' : undefined;
  }
  if (token === null) await mails.deleteOne({ _id });
  else await mails.updateOne({ _id }, { $set: { due_at: null } });
  return undefined;
}

/** @param holder the document that has the token, if there is one */
async function partOf(context: SendContext, holder: MailDocument, organization: string): Promise<MailPart> {
  const { _id: id, token } = holder;
  if (token === null) return { id, organization, token: '' };
  const { text, hash } = await tokenText(context, holder, token);
  // After the service's key was changed, the secret is another one.
  if (hash !== token.hash) await context.master.mails.updateOne({ _id: id }, { $set: { 'token.hash': hash } });
  return { id, organization, token: text };
}

async function giveUp(context: SendContext, { _id, kind }: MailDocument, error?: MailError): Promise<undefined> {
  context.log('error', 'mail.given_up', { mail_id: _id, kind, ...(error && { error }) });
  await context.master.mails.deleteOne({ _id });
}
