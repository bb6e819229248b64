import type { Needs } from '../context.ts';
import { retryOnUnknownOutcome } from '../retry.ts';
import type { Principal } from './schema.ts';
import type { AccessToken } from './tokens.ts';
import { currentEpoch, issueAccessToken } from './tokens.ts';

/**
 * Continues a session after a change of its admin or organization. Where the change raised an epoch, the session goes
 * on with the new epoch and with the refresh token that it has; the admin's other sessions end. If another change has
 * ended the session in between, the token that is issued here is not valid.
 * @param input.organization as the change left it
 * @param input.admin as the change left it
 * @param input.signedInAt when the admin last gave the password
 * @returns an access token of the session that ends when the caller's token would
 */
export async function continueSession(
  context: Needs<'master' | 'wait' | 'tokens'>,
  { organization, admin, session, claims, signedInAt }: Principal & { readonly signedInAt: Date },
): Promise<AccessToken> {
  const { sessions } = context.master;
  const epoch = currentEpoch({ organization, admin });
  if (epoch !== session.epoch) {
    const own = { admin_id: admin._id, organization_id: organization._id };
    await Promise.all([
      retryOnUnknownOutcome(context, () =>
        sessions.updateOne(
          { _id: session._id, ...own, epoch: { $lte: epoch } },
          { $set: { epoch, signed_in_at: signedInAt } },
        ),
      ),
      sessions.deleteMany({ ...own, _id: { $ne: session._id }, epoch: { $lt: epoch } }),
    ]);
  }
  return issueAccessToken(context, { organization, admin, sessionId: session._id, signedInAt, exp: claims.exp });
}
