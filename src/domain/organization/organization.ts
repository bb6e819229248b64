import type { Index } from '../../store/port.ts';
import type { DueNotes } from '../audit/due.ts';
import type { AuditNote } from '../audit/event.ts';
import type { Role } from '../authorization.ts';

/**
 * `creating`, `renaming`, `deleting` and `restoring` are journaled operations under way (see lifecycle.ts). An
 * organization can be seen while it is `active` or `renaming`. One that is `deleted` is kept aside for a while.
 */
export type OrganizationStatus = 'creating' | 'active' | 'renaming' | 'deleting' | 'deleted' | 'restoring';

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
  readonly set: { readonly [field: string]: string | boolean | Date };
  /** What is to be recorded of it. */
  readonly audit: DueNotes;
};

/** How far a copy is: see copy.ts. What it needs to go on after any page, on any instance. */
export type CopyProgress = {
  readonly stage: 'preparing' | 'copying' | 'pruning' | 'summing' | 'verifying';
  readonly pass: number;
  /** What the stage goes on after; null at its start. */
  readonly after: string | null;
  readonly copied: number;
  readonly total: number;
  /** Changes that this pass has found, and the one before. */
  readonly found: number;
  readonly found_before: number | null;
  /** Of the documents that the stage has seen. */
  readonly sum: Checksum;
  /** Of what was copied in all, once it was summed. */
  readonly expected: Checksum | null;
};

/** A number of documents and, in hexadecimal, the sum of their digests modulo 2^256: the same in whatever order. */
export type Checksum = { readonly count: number; readonly digests: string };

export type Operation =
  | {
      readonly id: string;
      readonly kind: 'create';
      /** What is to be recorded once it is committed, as of every operation before it is ended. */
      readonly audit: AuditNote;
    }
  | {
      readonly id: string;
      readonly kind: 'rename';
      /**
       * `claiming`, and `changing` the admin: may still be rolled back. `moving` and, where the server does not rename,
       * `copying`: rolls forward. `releasing`: committed, claims to let go.
       */
      readonly step: 'claiming' | 'changing' | 'moving' | 'copying' | 'releasing';
      /** How far the copy is, while `copying`; how far it came, after it; null where the collection was renamed. */
      readonly copy: CopyProgress | null;
      readonly from: { readonly name: string; readonly key: string; readonly collection: string };
      readonly to: { readonly name: string; readonly key: string; readonly slug: string; readonly collection: string };
      readonly admin: AdminChange | null;
      /** The token that asked for it. */
      readonly asked_by: string;
      readonly audit: AuditNote;
    }
  | {
      readonly id: string;
      readonly kind: 'delete';
      /** Until when the organization can be restored; null: nothing is kept. */
      readonly retain_until: Date | null;
      /** What there was of it, counted before any of it was removed; null until then, and where nobody asks. */
      readonly removed: Removed | null;
      /** The token that asked for it; null for a create that was rolled back. */
      readonly asked_by: string | null;
      /** Null for a create that was rolled back: nothing came of it. */
      readonly audit: AuditNote | null;
    }
  | { readonly id: string; readonly kind: 'restore'; readonly audit: AuditNote }
  | {
      readonly id: string;
      readonly kind: 'membership';
      readonly admin_id: string;
      /** What the admin becomes; null: removed. */
      readonly role: Role | null;
      /** The admin who asked for it, and has to be permitted to while it is done. */
      readonly actor_id: string;
      readonly audit: AuditNote;
    };

/** What an erasure removes. */
export type Removed = {
  readonly collections: number;
  readonly documents: number;
  readonly admins: number;
  readonly sessions: number;
  readonly claims: number;
  /** Mails that were not sent, and those whose one-time tokens were good: invitations among them. */
  readonly mails: number;
};

export type LastChange = {
  readonly kind: 'rename' | 'delete';
  readonly operation_id: string;
  readonly asked_by: string;
  /** By how much it raised the epochs of organization and admin together. */
  readonly raised: number;
};

export type RenameOperation = Extract<Operation, { kind: 'rename' }>;
export type MembershipOperation = Extract<Operation, { kind: 'membership' }>;
export type DeleteOperation = Extract<Operation, { kind: 'delete' }>;

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
  /** The last change that ended tokens, and the token that asked for it; null when there was none. */
  readonly last_change: LastChange | null;
  /** For `deleted`: when it can no longer be restored; null otherwise. */
  readonly purge_at: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
};

/** The statuses in which an organization can be seen and used. */
export const VISIBLE: readonly OrganizationStatus[] = ['active', 'renaming'];

/** Whether nothing of it is to remain: what it claimed may be taken. */
export const isErasing = ({ status, operation }: OrganizationDocument): boolean =>
  status === 'deleting' && !(operation?.kind === 'delete' && operation.retain_until !== null);

/** How the names of collections start that are kept for an organization which is `deleted`. */
export const TRASH = 'trash_';

/** How the names of collections start that late writers brought back, put aside to be moved. */
export const ASIDE = 'late_';

/** Where the documents of a `deleted` organization are kept: a name that no writer knows. */
export const trashName = (organizationId: string): string => `${TRASH}${organizationId}`;

/** How the names of what is put aside for an organization start. */
export const asidePrefix = (organizationId: string): string => `${ASIDE}${organizationId}_`;

/** How the names of collections start that say what was last copied from another one. */
export const COPY = 'copy_';

/** How the names of an organization's collections of what was last copied start. */
export const copyPrefix = (organizationId: string): string => `${COPY}${organizationId}_`;

/** The name of a collection of what was last copied: of its own for each copy, so that no other finds it by mistake. */
export const baseName = (organizationId: string, id: string): string => `${copyPrefix(organizationId)}${id}`;

/** `key` is indexed for look-up only: claims alone decide who has a name. */
export const ORGANIZATION_INDEXES: readonly Index[] = [
  { name: 'key', key: { key: 1 } },
  { name: 'lease_until', key: { lease_until: 1 } },
  { name: 'purge_at', key: { purge_at: 1 } },
];

/** Indexes that every tenant collection is made with. */
export const TENANT_INDEXES: readonly Index[] = [];

/** What anyone may see of an organization. */
export type OrganizationMetadata = {
  organization_id: string;
  organization_name: string;
  collection_name: string;
  status: 'active' | 'renaming';
  /** While the documents are copied to the collection of the new name: how many are, of how many. */
  progress?: { copied: number; total: number };
  created_at: Date;
  updated_at: Date;
};

export const organizationMetadata = (organization: OrganizationDocument): OrganizationMetadata => ({
  organization_id: organization._id,
  organization_name: organization.name,
  collection_name: organization.placement.collection,
  status: organization.status === 'renaming' ? 'renaming' : 'active',
  ...progressOf(organization),
  created_at: organization.created_at,
  updated_at: organization.updated_at,
});

function progressOf({ operation }: OrganizationDocument): Pick<OrganizationMetadata, 'progress'> {
  if (operation?.kind !== 'rename' || operation.step !== 'copying' || operation.copy === null) return {};
  const { copied, total } = operation.copy;
  return { progress: { copied, total } };
}
