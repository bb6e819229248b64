import type { Needs } from '../context.ts';
import type { OrganizationDocument } from '../organization/schema.ts';
import { concealAddress } from './address.ts';
import type { AuditNote } from './schema.ts';
import { sealNote } from './sealing.ts';

/** An event, without what the request says of itself. What an admin does to the own account has no other target. */
export type AuditEvent = Pick<AuditNote, 'event_id' | 'action' | 'actor'> &
  Partial<Pick<AuditNote, 'target' | 'outcome'>>;

/**
 * The note of what the request at hand does, now, sealed.
 * @param organization whose log it is for
 */
export const auditNote = async (
  { request, clock, seals }: Needs<'request' | 'clock' | 'seals'>,
  { _id, address_key }: Pick<OrganizationDocument, '_id' | 'address_key'>,
  event: AuditEvent,
): Promise<AuditNote> =>
  sealNote(seals, {
    organization_id: _id,
    target: event.actor,
    outcome: 'success',
    ...event,
    address: await concealAddress(address_key, request.address),
    request_id: request.id,
    count: 1,
    at: clock(),
  });
