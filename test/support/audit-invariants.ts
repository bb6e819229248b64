import type { AdminDocument } from '../../src/domain/admin/admin.ts';
import type { AuditEntry, AuditHead, Seals } from '../../src/domain/audit/chain.ts';
import type { AuditAction } from '../../src/domain/audit/event.ts';
import { checkChain } from '../../src/domain/audit/verify.ts';
import type { OrganizationDocument } from '../../src/domain/organization/organization.ts';
import type { Document } from '../../src/store/port.ts';
import { BATCH_LIMIT } from '../../src/store/port.ts';
import type { Collection, Database } from '../../src/store/store.ts';

/** What raises an organization's epoch, and an admin's: each time once. */
const OF_ORGANIZATIONS: readonly AuditAction[] = [
  'organization.renamed',
  'organization.deleted',
  'organization.restored',
];
const OF_ADMINS: readonly AuditAction[] = [
  'admin.email_changed',
  'admin.password_changed',
  'admin.password_reset',
  'admin.role_changed',
  'session.signed_out_everywhere',
];

/**
 * What is wrong in the audit logs of a database at rest: every chain is whole, and says of every organization and admin
 * that is there how it came to be as it is, each change once. The epochs tell how many changes there were.
 * @returns a line for each thing that is wrong
 */
export async function findAuditViolations(database: Database, seals: Seals): Promise<string[]> {
  const found: string[] = [];
  const [organizations, admins, entries, heads] = await Promise.all([
    readAll<OrganizationDocument>(database.collection('organizations')),
    readAll<AdminDocument>(database.collection('admins')),
    readAll<AuditEntry>(database.collection('audit')),
    readAll<AuditHead>(database.collection('audit_heads')),
  ]);
  const master = {
    audit: database.collection<AuditEntry>('audit'),
    audit_heads: database.collection<AuditHead>('audit_heads'),
    organizations: database.collection<OrganizationDocument>('organizations'),
  };
  for (const id of new Set([...organizations, ...heads].map(({ _id }) => _id))) {
    for (let cursor: number | null = 0; cursor !== null; ) {
      const { broken, next_cursor }: Awaited<ReturnType<typeof checkChain>> = await checkChain(
        { master, seals },
        id,
        cursor,
      );
      if (broken !== null) found.push(`the log of ${id} is broken: ${broken.fault} at ${broken.sequence}`);
      cursor = next_cursor === null ? null : Number(next_cursor);
    }
  }
  const byOrganization = Map.groupBy(entries, ({ organization_id }) => organization_id);
  for (const { _id, epoch } of organizations) {
    const own = byOrganization.get(_id) ?? [];
    const created = own.filter(({ action }) => action === 'organization.created').length;
    if (created !== 1) found.push(`organization ${_id} was created ${created} times, by its log`);
    const changes = own.filter(({ action }) => OF_ORGANIZATIONS.includes(action)).length;
    if (changes !== epoch - 1)
      found.push(`organization ${_id} is at epoch ${epoch}, and its log has ${changes} changes`);
  }
  for (const { _id, epoch, organization_id, audit_due } of admins) {
    if (audit_due !== undefined) found.push(`the admin ${_id} has changes that are not in the log`);
    const own = (byOrganization.get(organization_id) ?? []).filter(
      ({ target, action }) => target === _id && OF_ADMINS.includes(action),
    );
    const changes = new Set(own.map(({ event_id }) => event_id.split(':')[0])).size;
    if (changes !== epoch - 1) found.push(`the admin ${_id} is at epoch ${epoch}, and the log has ${changes} changes`);
  }
  return found;
}

async function readAll<T extends Document>(collection: Collection<T>): Promise<T[]> {
  const all: T[] = [];
  for (;;) {
    const page = await collection.find(
      { _id: { $gt: all.at(-1)?._id ?? '' } },
      { sort: { _id: 1 }, limit: BATCH_LIMIT },
    );
    all.push(...page);
    if (page.length < BATCH_LIMIT) return all;
  }
}
