import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import type { AuditAction, AuditCheckpoint, AuditEntry, Seals } from '../../src/domain/audit/schema.ts';
import type { ChainCheck } from '../../src/domain/audit/verify.ts';
import { checkChain } from '../../src/domain/audit/verify.ts';
import type { Master } from '../../src/domain/master.ts';
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import { readAll } from './read-all.ts';

/** What raises an organization's epoch, and an admin's: each time once. */
const OF_ORGANIZATIONS: readonly AuditAction[] = ['organization.deleted', 'organization.restored'];
const OF_ADMINS: readonly AuditAction[] = [
  'admin.email_changed',
  'admin.email_change_undone',
  'admin.password_changed',
  'admin.password_reset',
  'admin.second_factor_enabled',
  'admin.second_factor_disabled',
  'admin.role_changed',
  'session.signed_out_everywhere',
];

/**
 * What is wrong in the audit logs of a database at rest: every chain is valid, and says of every organization and admin
 * how they came to be as they are, each change once. The epochs tell how many changes there were.
 * @returns a line for each thing that is wrong
 */
export async function findAuditViolations(master: Master, seals: Seals): Promise<string[]> {
  const found: string[] = [];
  const [organizations, admins, entries, checkpoints] = await Promise.all([
    readAll<OrganizationDocument>(master.organizations),
    readAll<AdminDocument>(master.admins),
    readAll<AuditEntry>(master.audit),
    readAll<AuditCheckpoint>(master.checkpoints),
  ]);
  for (const id of new Set([...organizations, ...checkpoints].map(({ _id }) => _id))) {
    for (let cursor: number | null = 0; cursor !== null; ) {
      const check: ChainCheck = await checkChain({ master, seals }, id, cursor);
      if (!check.valid) found.push(`the log of ${id} is not valid: ${JSON.stringify(check.broken)}`);
      cursor = check.next_cursor === null ? null : Number(check.next_cursor);
    }
  }
  const byOrganization = Map.groupBy(entries, ({ organization_id }) => organization_id);
  for (const { _id, epoch, status, named_by } of organizations) {
    const own = byOrganization.get(_id) ?? [];
    const wasRolledBack = status === 'erased' && named_by === '';
    const created = own.filter(({ action }) => action === 'organization.created').length;
    if (created !== (wasRolledBack ? 0 : 1)) found.push(`organization ${_id} was created ${created} times, by its log`);
    const changes = own.filter(({ action }) => OF_ORGANIZATIONS.includes(action)).length;
    if (changes !== epoch - 1) {
      found.push(`organization ${_id} is at epoch ${epoch}, and its log has ${changes} changes`);
    }
  }
  for (const { _id, epoch, organization_id } of admins) {
    const own = (byOrganization.get(organization_id) ?? []).filter(
      ({ target, action }) => target === _id && OF_ADMINS.includes(action),
    );
    const changes = new Set(own.map(({ event_id }) => event_id.split(':')[0])).size;
    if (changes !== epoch - 1) found.push(`the admin ${_id} is at epoch ${epoch}, and the log has ${changes} changes`);
  }
  return found;
}
