import { updateAdmin } from '../admin/credentials.ts';
import { auditNote } from '../audit/note.ts';
import type { Recording } from '../audit/record.ts';
import { record } from '../audit/record.ts';
import type { Needs } from '../context.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import { hashesOf, parseRefreshToken } from './refresh-token.ts';
import type { Principal } from './schema.ts';

/** Ends the session of a refresh token. Does nothing for a token that is not known: its session has ended already. */
export async function logOut(
  context: Recording & Needs<'request'>,
  input: { readonly refresh_token: string },
): Promise<void> {
  const { sessions, organizations } = context.master;
  const token = parseRefreshToken(input.refresh_token);
  if (token === undefined) return;
  const { family_hash } = await hashesOf(token);
  const own = { _id: token.sessionId, family_hash };
  const session = await sessions.findOne(own);
  if (session === undefined) return;
  const organization = await organizations.findOne({ _id: session.organization_id });
  if (organization !== undefined) {
    const note = await auditNote(context, organization, {
      event_id: `${session._id}:${family_hash}:signed_out`,
      action: 'session.signed_out',
      actor: session.admin_id,
      target: session._id,
    });
    await record(context, note);
  }
  await retryOnUnknownOutcome(context, () => sessions.deleteOne(own));
}

/**
 * Ends every session of the principal, the present one included, with all their tokens: the admin's epoch rises.
 * @throws {DomainError} conflict when others change the admin all the time
 */
export async function logOutEverywhere(
  context: Recording & Needs<'request' | 'newId'>,
  { principal }: { readonly principal: Principal },
): Promise<void> {
  const { admin, organization, claims } = principal;
  const note = await auditNote(context, organization, {
    event_id: context.newId(),
    action: 'session.signed_out_everywhere',
    actor: admin._id,
    target: admin._id,
  });
  await updateAdmin(context, admin, {
    // Where the epoch has risen since, all these sessions have ended already.
    isNeeded: (current) => current.epoch === admin.epoch,
    set: {},
    raiseEpoch: true,
    audit: note,
  });
  await retryOnUnknownOutcome(context, () =>
    context.master.sessions.deleteMany({ admin_id: admin._id, epoch: { $lte: claims.epoch } }),
  );
}
