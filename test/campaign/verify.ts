import type { AdminDocument } from '../../src/domain/admin/schema.ts';
import type { OrganizationDocument } from '../../src/domain/organization/schema.ts';
import type { Snapshot } from '../support/invariants.ts';
import type { Alive, State, TenantRecord } from './journal.ts';
import { describeState } from './journal.ts';

/** Compares the database with the journal: the differences, and the states that each tenant can be in. */
export function compare(
  snapshot: Snapshot,
  tenants: readonly TenantRecord[],
): { problems: { problem: string; tenant?: TenantRecord }[]; found: Map<TenantRecord, Found> } {
  const problems: { problem: string; tenant?: TenantRecord }[] = [];
  const found = new Map<TenantRecord, Found>();
  const organizations = new Map(
    ((snapshot.get('organizations') ?? []) as readonly OrganizationDocument[])
      .filter(({ status }) => status !== 'erased')
      .map((one) => [one._id, one]),
  );
  const admins = (snapshot.get('admins') ?? []) as readonly AdminDocument[];
  const adminsOf = new Map(admins.map((admin) => [admin.organization_id, admin]));
  const idOfEmail = new Map(admins.map((admin) => [admin.email, admin.organization_id]));
  const known = new Set<string>();

  for (const tenant of tenants) {
    const id = tenant.organizationId ?? idOf(tenant.possible, idOfEmail);
    const organization = id === undefined ? undefined : organizations.get(id);
    const email = id === undefined ? undefined : adminsOf.get(id)?.email;
    const fitting = tenant.possible.filter((state) =>
      state === 'absent' ? organization === undefined : organization?.name === state.name && email === state.email,
    );
    if (fitting.length === 0) {
      const is = organization === undefined ? 'absent' : `${organization.name} <${email}>`;
      const should = tenant.possible.map(describeState).join(' or ');
      problems.push({ problem: `is ${is}, and should be ${should}`, tenant });
    }
    found.set(tenant, { id, fitting });
    if (id === undefined || organization === undefined) continue;
    known.add(id);
    const there = new Set<string>();
    for (const document of snapshot.get(organization.placement.collection) ?? []) {
      there.add(document._id);
      const { acknowledged, unknown } = tenant.documents;
      if (!acknowledged.has(document._id) && !unknown.has(document._id)) {
        problems.push({ problem: `has document ${document._id}, which is not its own`, tenant });
      }
    }
    const lost = [...tenant.documents.acknowledged].filter((document) => !there.has(document));
    if (lost.length > 0)
      problems.push({ problem: `lost ${lost.length} documents: ${lost.slice(0, 5).join(', ')}`, tenant });
  }
  for (const id of organizations.keys()) {
    if (!known.has(id)) problems.push({ problem: `organization ${id} is there, and no request asked for it` });
  }
  return { problems, found };
}

export type Found = {
  /** The organization's id, once known. */
  readonly id: string | undefined;
  /** The possible states that agree with the database; they differ by password only. */
  readonly fitting: readonly State[];
};

function idOf(possible: readonly State[], idOfEmail: ReadonlyMap<string, string>): string | undefined {
  const alive = possible.filter((state): state is Alive => state !== 'absent');
  return alive.map(({ email }) => idOfEmail.get(email)).find((id) => id !== undefined);
}
