import type { Context } from '../context.ts';

/** Everything that is audited. */
export const AUDIT_ACTIONS = [
  'organization.created',
  'organization.renamed',
  'organization.deleted',
  'organization.restored',
  /** The end of the time in which a deleted organization could be restored. */
  'organization.purged',
  'admin.email_changed',
  'admin.email_verified',
  'admin.password_changed',
  'admin.password_reset',
  'admin.invited',
  'admin.invitation_withdrawn',
  'admin.joined',
  'admin.role_changed',
  'admin.removed',
  'session.signed_in',
  'session.sign_in_failed',
  /** Turned away before the password was looked at: see throttle/sign-in.ts. */
  'session.sign_in_throttled',
  'session.signed_out',
  'session.signed_out_everywhere',
  /** A session ended by its admin from another one. */
  'session.ended',
  /** A spent refresh token was presented: see session/refresh.ts. */
  'session.refresh_reused',
  /** The head of this very chain was lost or altered: see record.ts. */
  'audit.head_lost',
] as const;

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** Who acts when no admin does: the service itself, or a caller who has not shown who it is. */
export type NamelessActor = 'service' | 'anonymous';

/**
 * What is to be recorded of an event, as it is kept until it is: ids only, never a secret, a name or an email. The
 * client's address is concealed in the log itself (see address.ts).
 */
export type AuditNote = {
  readonly action: AuditAction;
  /** An admin's id, or a {@link NamelessActor}. */
  readonly actor: string;
  /** The id of what it was done to. */
  readonly target: string;
  readonly address: string | null;
  readonly request_id: string;
  readonly at: Date;
};

/** The note of what the request at hand does, now. */
export const noteOf = (
  { request, clock }: Context,
  action: AuditAction,
  { actor, target }: { readonly actor: string; readonly target: string },
): AuditNote => ({ action, actor, target, address: request.address, request_id: request.id, at: clock() });
