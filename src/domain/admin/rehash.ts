import type { Context } from '../context.ts';
import type { AdminDocument } from './admin.ts';

/**
 * Hashes a password that was right once more, when its hash was made at a lower cost than is configured now. A
 * password that was changed meanwhile stays as it is. Never throws: a sign-in is not refused for it.
 */
export async function rehash(context: Context, admin: AdminDocument, password: string): Promise<void> {
  const { _id, password_hash } = admin;
  if (!context.passwords.isOutdated(password_hash)) return;
  try {
    const stronger = await context.passwords.hash(password);
    await context.master.admins.updateOne({ _id, password_hash }, { $set: { password_hash: stronger } });
  } catch (error) {
    context.log('warn', 'password.not_rehashed', { request_id: context.request.id, error });
  }
}
