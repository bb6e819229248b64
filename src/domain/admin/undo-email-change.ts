import type { Context } from '../context.ts';
import { findMail, invalidOneTimeToken } from '../one-time-token/one-time-token.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { changeByToken } from './change-by-token.ts';

/**
 * Gives an admin the address back that another one took the place of, or was to, by the token that was sent to it.
 * Every session and every other token of the account ends; so do the tokens that would undo later changes, since a thief
 * has those. Tokens of earlier changes stay good. The password stays.
 * @throws {DomainError} invalid_one_time_token, admin_email_taken, operation_in_progress, conflict
 */
export async function undoEmailChange(context: Context, input: { readonly token: string }): Promise<void> {
  const mail = await findMail(context, { kind: 'email_changed', token: input.token });
  const { undo, admin_id, to: email, to_key: email_key } = mail;
  if (undo === undefined) throw invalidOneTimeToken();
  // The change itself ends the token: no crash can lose it, and there is no other one to ask for.
  await changeByToken(context, mail, {
    actions: ['admin.email_change_undone'],
    set: (admin) => ({
      email,
      email_key,
      email_verified: undo.email_verified || (admin.email_key === email_key && admin.email_verified),
      undone: { from: undo.version, to: admin.version },
    }),
  });
  const ended = { kind: 'email_changed', admin_id, 'undo.version': { $gte: undo.version } };
  await retryOnUnknownOutcome(context, () => context.master.mails.deleteMany(ended));
}
