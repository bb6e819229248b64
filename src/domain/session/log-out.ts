import type { Context } from '../context.ts';
import { hashSecret } from './session.ts';

/** Ends the session of a refresh token. The same for one that is not known: there is nothing left to end. */
export async function logOut(context: Context, refreshToken: string): Promise<void> {
  const [id = '', secret = ''] = refreshToken.split('.', 2);
  if (id === '') return;
  await context.master.sessions.deleteOne({ _id: id, secret_hash: await hashSecret(secret) });
}
