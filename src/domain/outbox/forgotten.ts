import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { VISIBLE } from '../organization/organization.ts';
import type { MailDocument } from './mail.ts';
import { postMail } from './outbox.ts';

/** Accounts of one address that get a mail for one request. */
const MAX_ACCOUNTS = 8;

/** Mails with a good token that an account has at most: what somebody else can do to its mailbox in an hour. */
const MAX_OPEN = 3;

/** Posts a mail for every account that somebody may have meant who gave an address for a reset. */
export async function expandForgotten(context: Context, forgotten: MailDocument): Promise<MailDocument[]> {
  const posted: MailDocument[] = [];
  for (const admin of await accounts(context, forgotten)) {
    const open = { kind: 'password_reset', admin_id: admin._id, 'token.admin_epoch': admin.epoch };
    if ((await context.master.mails.count(open, { limit: MAX_OPEN })) >= MAX_OPEN) continue;
    posted.push(
      await postMail(context, {
        kind: 'password_reset',
        organization_id: admin.organization_id,
        admin_id: admin._id,
        to: admin.email,
        to_key: admin.email_key,
        epoch: admin.epoch,
      }),
    );
  }
  return posted;
}

async function accounts(context: Context, { to_key, organization_key }: MailDocument): Promise<AdminDocument[]> {
  const { admins, organizations } = context.master;
  const found = await admins.find({ email_key: to_key }, { sort: { _id: 1 } });
  const visible = await organizations.find({
    _id: { $in: found.map((admin) => admin.organization_id) },
    status: { $in: VISIBLE },
    ...(organization_key !== null && { key: organization_key }),
  });
  const ids = new Set(visible.map(({ _id }) => _id));
  return found.filter((admin) => ids.has(admin.organization_id)).slice(0, MAX_ACCOUNTS);
}
