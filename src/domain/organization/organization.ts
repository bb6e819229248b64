import type { Index } from '../../store/port.ts';

/**
 * `creating`, `renaming` and `deleting` are journaled operations under way (see lifecycle.ts). An organization can be
 * seen while it is `active` or `renaming`.
 */
export type OrganizationStatus = 'creating' | 'active' | 'renaming' | 'deleting';

/** Where an organization's documents live. Decided at creation; every access goes through it. */
export type Placement = {
  readonly cluster: string;
  readonly database: string;
  readonly collection: string;
};

/** A change of an admin that takes part in a rename: applied once, by whoever carries the operation on. */
export type AdminChange = {
  readonly admin_id: string;
  /** The admin's version that the change was made for. */
  readonly version: number;
  readonly set: { readonly [field: string]: string | Date };
};

export type Operation =
  | { readonly id: string; readonly kind: 'create' }
  | {
      readonly id: string;
      readonly kind: 'rename';
      /** `claiming`: may still be rolled back. `moving`: rolls forward. `releasing`: committed, claims to let go. */
      readonly step: 'claiming' | 'moving' | 'releasing';
      readonly from: { readonly name: string; readonly key: string; readonly collection: string };
      readonly to: { readonly name: string; readonly key: string; readonly slug: string; readonly collection: string };
      readonly admin: AdminChange | null;
    }
  | { readonly id: string; readonly kind: 'delete' };

export type RenameOperation = Extract<Operation, { kind: 'rename' }>;

/** An organization as it is stored in the master database's `organizations`. */
export type OrganizationDocument = {
  readonly _id: string;
  readonly name: string;
  readonly key: string;
  readonly slug: string;
  readonly status: OrganizationStatus;
  /** Raised by every write: what conditional writes compare. */
  readonly version: number;
  /** Raised by what must end the tokens issued so far: rename and delete. */
  readonly epoch: number;
  readonly placement: Placement;
  /** The operation under way; null when there is none. */
  readonly operation: Operation | null;
  /** Until when the operation belongs to the instance that runs it; null when there is none. */
  readonly lease_until: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
};

/** The statuses in which an organization can be seen and used. */
export const VISIBLE: readonly OrganizationStatus[] = ['active', 'renaming'];

/** `key` is indexed for look-up only: claims alone decide who has a name. */
export const ORGANIZATION_INDEXES: readonly Index[] = [
  { name: 'key', key: { key: 1 } },
  { name: 'lease_until', key: { lease_until: 1 } },
];

/** Indexes that every tenant collection is made with. */
export const TENANT_INDEXES: readonly Index[] = [];

/** What anyone may see of an organization. */
export type OrganizationMetadata = {
  organization_id: string;
  organization_name: string;
  collection_name: string;
  status: 'active' | 'renaming';
  created_at: Date;
  updated_at: Date;
};

export const organizationMetadata = (organization: OrganizationDocument): OrganizationMetadata => ({
  organization_id: organization._id,
  organization_name: organization.name,
  collection_name: organization.placement.collection,
  status: organization.status === 'renaming' ? 'renaming' : 'active',
  created_at: organization.created_at,
  updated_at: organization.updated_at,
});
