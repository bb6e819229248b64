import type { Context } from '../context.ts';
import type { DomainError } from '../errors.ts';
import { VISIBLE } from '../organization/organization.ts';
import { invalidToken } from './authenticate.ts';
import type { Tokens } from './session.ts';
import { hashSecret, issueTokens, newSecret } from './session.ts';

/**
 * Trades a refresh token for fresh tokens. Each is good once: presenting a spent one means that two parties hold the
 * session, and ends it (RFC 9700, section 4.14.2).
 * @throws {DomainError} invalid_token
 */
export async function refreshSession(context: Context, refreshToken: string): Promise<Tokens> {
  const { sessions, organizations, admins } = context.master;
  const [id = '', secret = ''] = refreshToken.split('.', 2);
  const session = id === '' ? undefined : await sessions.findOne({ _id: id });
  if (session === undefined) throw invalidToken();

  const [organization, admin] = await Promise.all([
    organizations.findOne({ _id: session.organization_id }),
    admins.findOne({ _id: session.admin_id, organization_id: session.organization_id }),
  ]);
  const now = context.clock();
  const idleSince = new Date(now.getTime() - context.settings.sessionSeconds.idle * 1000);
  const ended =
    organization === undefined ||
    admin === undefined ||
    !VISIBLE.includes(organization.status) ||
    session.admin_epoch !== admin.epoch ||
    session.expires_at <= now ||
    session.last_used_at <= idleSince;
  if (ended) throw await end(context, session._id);

  const next = newSecret();
  const { matched } = await sessions.updateOne(
    { _id: session._id, secret_hash: await hashSecret(secret) },
    { $set: { secret_hash: await hashSecret(next), last_used_at: now } },
  );
  if (matched === 0) throw await end(context, session._id);
  return issueTokens(context, { organization, admin }, session, next);
}

async function end(context: Context, sessionId: string): Promise<DomainError> {
  await context.master.sessions.deleteOne({ _id: sessionId });
  return invalidToken();
}
