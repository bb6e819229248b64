/**
 * The outbox: mails wait in the master database until a mailer has taken them. Whoever posts one sends it after the
 * answer; where that instance dies, or the mailer is away, the reconciler sends it. A mail may go out twice, and is
 * tried a bounded number of times.
 */
import { isStoreError } from '../../store/port.ts';
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { isGoodFor, newToken, tokenText } from '../one-time-token/one-time-token.ts';
import type { OrganizationDocument } from '../organization/organization.ts';
import { VISIBLE } from '../organization/organization.ts';
import { persist } from '../persist.ts';
import { sha256 } from '../secret.ts';
import { expandForgotten } from './forgotten.ts';
import type { MailDocument, MailKind } from './mail.ts';
import { LIFETIME_MS } from './mail.ts';
import { MailError } from './mailer.ts';
import { toMessage } from './wording.ts';

/** With a lease of 30 s, the last try is some two hours after the first. */
const MAX_ATTEMPTS = 8;

/** Mails that one round of the reconciler tries, and for how long it goes on, in milliseconds. */
const ROUND = 50;
const ROUND_MS = 10_000;

type About = Pick<MailDocument, 'kind' | 'to' | 'to_key'> &
  Partial<Pick<MailDocument, '_id' | 'organization_id' | 'admin_id' | 'invitation' | 'change' | 'organization_key'>> & {
    /** For a kind that brings a token: the admin's epoch for which it is good, or null. */
    readonly epoch?: number | null;
  };

/**
 * Writes a mail to be sent: by {@link sendSoon} when what it is about is done, else by the reconciler. Of those with
 * the same id, the first one stays.
 */
export async function postMail(context: Context, { epoch, ...about }: About): Promise<MailDocument> {
  const now = context.clock();
  const after = (ms: number) => new Date(now.getTime() + ms);
  const id = about._id ?? context.newId();
  const mail: MailDocument = {
    organization_id: null,
    admin_id: null,
    invitation: null,
    change: null,
    organization_key: null,
    ...about,
    _id: id,
    token: epoch === undefined ? null : await newToken(context, id, epoch),
    attempts: 0,
    due_at: after(context.settings.leaseMs),
    created_at: now,
    expires_at: after(LIFETIME_MS[about.kind]),
  };
  try {
    await persist(() => context.master.mails.insertOne(mail));
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
  }
  return mail;
}

/** Takes back mails about a change that was refused. */
export async function unpostMails(context: Context, mails: readonly MailDocument[]): Promise<void> {
  if (mails.length === 0) return;
  await context.master.mails.deleteMany({ _id: { $in: mails.map(({ _id }) => _id) } });
}

/** Sends mails after the answer. What fails is tried again by the reconciler. */
export function sendSoon(context: Context, mails: readonly MailDocument[]): void {
  if (mails.length === 0) return;
  void context.later(async () => {
    for (const mail of mails) await trySend(context, mail);
  });
}

/** Sends what was left unsent, until the mailer fails: then the rest would fail too. */
export async function sendDueMails(context: Context): Promise<void> {
  const { mails } = context.master;
  const start = context.clock().getTime();
  const due = await mails.find({ due_at: { $lt: context.clock() } }, { sort: { due_at: 1 }, limit: ROUND });
  for (const mail of due) {
    if (context.clock().getTime() - start > ROUND_MS) return;
    try {
      if ((await trySend(context, mail)) === 'mailer_away') return;
    } catch (error) {
      context.log('warn', 'mail.left', { mail_id: mail._id, error });
    }
  }
}

type Outcome = 'settled' | 'postponed' | 'mailer_away';

/** One try, by one instance: whoever moves the time that it is due has the mail until then. */
async function trySend(context: Context, { _id, due_at }: MailDocument): Promise<Outcome> {
  const { mails } = context.master;
  const seen = await mails.findOne({ _id, due_at });
  if (seen === undefined || due_at === null) return 'settled';
  const wait = context.settings.leaseMs * 2 ** seen.attempts;
  const mail = await mails.findOneAndUpdate(
    { _id, due_at },
    { $set: { due_at: new Date(context.clock().getTime() + wait) }, $inc: { attempts: 1 } },
  );
  if (mail === undefined) return 'settled';
  const overdue = mail.attempts > MAX_ATTEMPTS || mail.expires_at <= context.clock();
  if (overdue) return giveUp(context, mail, undefined);
  const { kind } = mail;
  if (kind === 'password_forgotten') {
    const resets = await expandForgotten(context, mail);
    await mails.deleteOne({ _id });
    for (const reset of resets) await trySend(context, reset);
    return 'settled';
  }

  const organization = await context.master.organizations.findOne({ _id: mail.organization_id });
  const admin = await context.master.admins.findOne({ _id: mail.admin_id ?? '' });
  switch (fate(mail, organization, admin)) {
    case 'wait':
      return 'postponed';
    case 'drop':
      await mails.deleteOne({ _id });
      return 'settled';
    case 'send':
      return hand(context, mail, kind, organization?.name ?? '');
  }
}

/** Whether what the mail is about has happened, may yet happen, or did not. */
function fate(
  { change, token, invitation, ...mail }: MailDocument,
  organization: OrganizationDocument | undefined,
  admin: AdminDocument | undefined,
): 'send' | 'wait' | 'drop' {
  if (organization === undefined) return 'drop';
  if (!VISIBLE.includes(organization.status)) return 'wait';
  if (invitation !== null) return 'send';
  if (admin === undefined) return 'drop';
  if (change !== null && admin.changed_by !== change.id) {
    if (admin.version <= change.version) return 'wait';
    if (admin.version === change.version + 1) return 'drop';
    // Others have changed the admin since: only what the admin has now can be told.
    if (mail.kind === 'email_changed' && mail.to_key === admin.email_key) return 'drop';
  }
  return token === null || isGoodFor({ ...mail, change, token, invitation }, admin) ? 'send' : 'drop';
}

async function hand(
  context: Context,
  mail: MailDocument,
  kind: Exclude<MailKind, 'password_forgotten'>,
  organization: string,
): Promise<Outcome> {
  const { mails } = context.master;
  const { _id, token } = mail;
  const text = token === null ? '' : tokenText(context, mail, token);
  if (token !== null) {
    // After the service's key was changed, the secret is another one.
    const hash = await sha256(text.slice(text.indexOf('.') + 1));
    if (hash !== token.hash) await mails.updateOne({ _id }, { $set: { 'token.hash': hash } });
  }
  try {
    await context.mailer.send(
      toMessage(mail, kind, { organization, token: text, publicUrl: context.settings.publicUrl }),
    );
  } catch (error) {
    if (!(error instanceof MailError)) throw error;
    if (error.permanent) return giveUp(context, mail, error);
    context.log('warn', 'mail.not_sent', { mail_id: _id, kind, attempts: mail.attempts, error });
    return 'mailer_away';
  }
  if (token === null) await mails.deleteOne({ _id });
  else await mails.updateOne({ _id }, { $set: { due_at: null } });
  context.log('info', 'mail.sent', { mail_id: _id, kind });
  return 'settled';
}

async function giveUp(context: Context, { _id, kind }: MailDocument, error: MailError | undefined): Promise<Outcome> {
  context.log('error', 'mail.given_up', { mail_id: _id, kind, ...(error !== undefined && { error }) });
  await context.master.mails.deleteOne({ _id });
  return 'settled';
}
