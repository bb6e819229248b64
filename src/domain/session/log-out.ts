import { dueWith, settleDue } from '../audit/due.ts';
import { noteOf } from '../audit/event.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { Principal } from './authenticate.ts';
import { hashesOf, parseRefreshToken } from './refresh-token.ts';

/** Ends the session of a refresh token. The same for one that is not known: there is nothing left to end. */
export async function logOut(context: Context, refreshToken: string): Promise<void> {
  const token = parseRefreshToken(refreshToken);
  if (token === undefined) return;
  const { family_hash } = await hashesOf(token);
  const own = { _id: token.sessionId, family_hash };
  const session = await context.master.sessions.findOne(own);
  if (session === undefined) return;
  const { organization_id, admin_id } = session;
  const note = noteOf(context, 'session.signed_out', { actor: admin_id, target: token.sessionId });
  await record(context, organization_id, `${token.sessionId}:${family_hash}:signed_out`, note);
  await persist(() => context.master.sessions.deleteOne(own));
}

/** Ends every session of the principal, this one too, with all their tokens: the admin's epoch rises. */
export async function logOutEverywhere(context: Context, { admin, claims }: Principal): Promise<void> {
  const { admins, sessions } = context.master;
  const { _id, epoch } = admin;
  const note = noteOf(context, 'session.signed_out_everywhere', { actor: _id, target: _id });
  const due = dueWith({ [context.newId()]: note });
  // Where it has risen since, it was raised after this was asked for, and all of them have ended.
  await persist(() =>
    admins.updateOne({ _id, epoch }, { $set: { updated_at: context.clock(), ...due }, $inc: { epoch: 1, version: 1 } }),
  );
  await settleDue(context, _id);
  await persist(() => sessions.deleteMany({ admin_id: _id, epoch: { $lte: claims.epoch } }));
}
