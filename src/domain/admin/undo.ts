import type { Context } from '../context.ts';
import { findMail, invalidOneTimeToken } from '../one-time-token/one-time-token.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { TokenChange } from './change.ts';
import { changeByToken } from './change.ts';
import type { AdminDocument } from './schema.ts';

const FACTOR_REMOVED = {
  actions: ['admin.second_factor_disabled'],
  notices: ['second_factor_disabled'],
  set: { second_factor: null, second_factor_waiting: null },
} as const;

/**
 * Undoes a change that somebody else may have made, by the token that the account's address got with the notice of it.
 * Every session and every other token of the account as it was ends. The password may be known to that somebody: no
 * password fits any more, until it is reset.
 *
 * For a second factor: that one is removed, and no other. For another email, asked for or in force: the account keeps the
 * address, or gets it back, without a second factor set up since. Then the tokens that would undo later changes of email
 * end too, since a thief has those; tokens of earlier changes stay good.
 * @throws {DomainError} invalid_one_time_token, admin_email_taken, operation_in_progress, conflict
 */
export async function undoChange(context: Context, { token }: { readonly token: string }): Promise<void> {
  const kind = { $in: ['email_changed', 'second_factor_enabled'] } as const;
  const mail = await findMail(context, { kind, token });
  const { undo, to: email, to_key: email_key } = mail;
  if (undo === undefined) throw invalidOneTimeToken();
  await changeByToken(context, mail, async (admin): Promise<TokenChange> => {
    const noPassword = { password_hash: '', password_id: context.newId() };
    if (mail.kind === 'second_factor_enabled') {
      return { ...FACTOR_REMOVED, set: { ...FACTOR_REMOVED.set, ...noPassword } };
    }
    await forgetUndone(context, admin);
    const isFactorSince = (admin.second_factor?.version ?? -1) >= undo.version;
    const isSame = admin.email_key === email_key;
    return {
      actions: ['admin.email_change_undone', ...(isFactorSince ? FACTOR_REMOVED.actions : [])],
      notices: isSame ? [] : ['email_change_undone'],
      set: {
        email,
        email_key,
        email_verified: undo.email_verified || (isSame && admin.email_verified),
        undone: { from: undo.version, to: admin.version },
        ...noPassword,
        ...(isFactorSince && FACTOR_REMOVED.set),
      },
    };
  });
}

/** Removes the mails that an earlier undo has ended: the next one takes its place, and they must not be good then. */
async function forgetUndone(context: Context, { _id: admin_id, undone }: AdminDocument): Promise<void> {
  if (undone === undefined) return;
  const ended = { kind: 'email_changed', admin_id, 'undo.version': { $gte: undone.from, $lte: undone.to } };
  await retryOnUnknownOutcome(context, () => context.master.mails.deleteMany(ended));
}
