import type { Needs } from '../context.ts';
import { organizationKey } from '../organization/name.ts';
import type { EnqueueContext } from '../outbox/outbox.ts';
import { enqueueMail, sendInBackground } from '../outbox/outbox.ts';
import type { MailDocument } from '../outbox/schema.ts';
import type { AdminDocument } from './schema.ts';
import { emailKey } from './schema.ts';

/** The accounts of one address that get a mail for one request. */
const MAX_ACCOUNTS = 8;

/** The mails with a good token that an account has at most: this bounds what a stranger can send to its mailbox. */
const MAX_OPEN = 3;

/**
 * Takes a request for a new password. It is one write, for every address alike: accounts are looked for, and mails sent,
 * after the answer. Until then, the same request again changes nothing.
 */
export async function forgotPassword(
  context: EnqueueContext & Needs<'runInBackground'>,
  input: { readonly email: string; readonly organization_name?: string | undefined },
): Promise<void> {
  const { email, organization_name } = input;
  const to_key = emailKey(email);
  const organization_key = organization_name === undefined ? null : (organizationKey(organization_name) ?? '');
  const _id = context.keyedHash(JSON.stringify(['password forgotten', to_key, organization_key]));
  const request = { _id, kind: 'password_forgotten', to: email, to_key, organization_key } as const;
  sendInBackground(context, [await enqueueMail(context, request)], expandResetRequest);
}

/** Enqueues a mail for every account that a request for a new password may be for. */
export async function expandResetRequest(context: EnqueueContext, request: MailDocument): Promise<MailDocument[]> {
  const mails: MailDocument[] = [];
  for (const admin of await findAccounts(context, request)) {
    const open = { kind: 'password_reset', admin_id: admin._id, 'token.admin_epoch': admin.epoch };
    if ((await context.master.mails.count(open, { limit: MAX_OPEN })) >= MAX_OPEN) continue;
    mails.push(
      await enqueueMail(context, {
        kind: 'password_reset',
        organization_id: admin.organization_id,
        admin_id: admin._id,
        to: admin.email,
        to_key: admin.email_key,
        epoch: admin.epoch,
      }),
    );
  }
  return mails;
}

async function findAccounts(
  { master }: Needs<'master'>,
  { to_key, organization_key }: MailDocument,
): Promise<AdminDocument[]> {
  const found = await master.admins.find({ email_key: to_key }, { sort: { _id: 1 } });
  const active = await master.organizations.find({
    _id: { $in: found.map((admin) => admin.organization_id) },
    status: 'active',
    ...(organization_key !== null && { key: organization_key }),
  });
  const ids = new Set(active.map(({ _id }) => _id));
  return found.filter((admin) => ids.has(admin.organization_id)).slice(0, MAX_ACCOUNTS);
}
