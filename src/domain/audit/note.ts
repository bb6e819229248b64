import type { Needs } from '../context.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { concealAddress } from './address.ts';
import type { AuditNote } from './schema.ts';
import { sealNote } from './sealing.ts';

/** An event, without what the request says of itself. */
export type AuditEvent = Pick<AuditNote, 'event_id' | 'action' | 'target'> &
  Partial<Pick<AuditNote, 'outcome' | 'count'>> & {
    /** An admin's id; or the service itself, or a caller who has not shown who it is. */
    readonly actor: string | 'service' | 'anonymous';
  };

/**
 * The note of what the request at hand does, now, sealed.
 * @param organization whose log it is for
 */
export const auditNote = async (
  { request, clock, seals }: Needs<'request' | 'clock' | 'seals'>,
  { _id, address_key }: Pick<OrganizationDocument, '_id' | 'address_key'>,
  { event_id, action, actor, target, outcome = 'success', count = 1 }: AuditEvent,
): Promise<AuditNote> =>
  sealNote(seals, {
    organization_id: _id,
    event_id,
    action,
    actor,
    target,
    address: await concealAddress(address_key, request.address),
    request_id: request.id,
    outcome,
    count,
    at: clock(),
  });
