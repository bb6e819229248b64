import type { Index } from '../../store/port.ts';
import type { AdminChange } from '../admin/schema.ts';
import type { AuditNote } from '../audit/schema.ts';
import type { Role } from '../roles.ts';
import type { Placement } from '../tenant-data/schema.ts';

/**
 * `creating`: not there yet; `active`: there; `deleted`: kept for a while, to be restored or erased; `deleting`: being
 * erased; `erased`: a stub, which says that there was one of this id and holds nothing personal.
 */
export type OrganizationStatus = 'creating' | 'active' | 'deleted' | 'deleting' | 'erased';

type Journaled = {
  readonly id: string;
  /** What `changed_by` was before: what it becomes again when the operation is rolled back. */
  readonly replaces: string;
};

/** Each is recorded in the audit log before it ends, unless it is rolled back. */
export type Operation =
  | CreateOperation
  | RenameOperation
  | MoveOperation
  | DeleteOperation
  | RestoreOperation
  | MembershipOperation;

export type CreateOperation = Journaled & { readonly kind: 'create'; readonly audit: AuditNote };

export type RenameOperation = Journaled &
  MovingCollection & {
    readonly kind: 'rename';
    /**
     * `claiming`, and `changing` the admin: may still be rolled back. `moving`: the target is in the journal, and from
     * here it only goes forward. `releasing`: committed, what was left is to be let go.
     */
    readonly step: 'claiming' | 'changing' | 'moving' | 'releasing';
    readonly from: OrganizationNameDocument & { readonly collection: string; readonly named_by: string };
    /** `collection` is that of `from` where none is to be moved. */
    readonly to: OrganizationNameDocument & { readonly collection: string };
    readonly admin: AdminChange | null;
    readonly audit: AuditNote;
  };

/** The move of a collection that a rename left open, because the server refused it. */
export type MoveOperation = Journaled &
  MovingCollection & {
    readonly kind: 'move';
    readonly step: 'moving' | 'releasing';
    readonly from: { readonly collection: string };
    readonly to: { readonly collection: string };
  };

type MovingCollection = {
  /** What tells the real collection from any other, where the store says; null otherwise. */
  readonly collection_id: string | null;
  /** Targets that a client made before the move came to them. */
  readonly abandoned: readonly string[];
};

export type DeleteOperation = Journaled & {
  readonly kind: 'delete';
  /** Null for a create that is rolled back: nothing came of it. */
  readonly audit: AuditNote | null;
};

type RestoreOperation = Journaled & { readonly kind: 'restore'; readonly audit: AuditNote };

export type MembershipOperation = Journaled & {
  readonly kind: 'membership';
  readonly admin_id: string;
  /** What the admin becomes; null: removed. */
  readonly role: Role | null;
  /** The admin who asked for it, and has to be permitted to while it is done. */
  readonly actor_id: string;
  readonly audit: AuditNote;
};

type OrganizationNameDocument = { readonly name: string; readonly key: string; readonly slug: string };

/** An organization as it is stored in the master database's `organizations`. */
export type OrganizationDocument = OrganizationNameDocument & {
  readonly _id: string;
  readonly status: OrganizationStatus;
  /** Raised by every write: what conditional writes compare. */
  readonly version: number;
  /** Raised by what must end the tokens issued so far. */
  readonly epoch: number;
  /** The operation whose claim on the name is this organization's: what releases it compares. */
  readonly named_by: string;
  readonly placement: Placement;
  /** Where the server refused to rename the collection: what it is to be called, and since when; null otherwise. */
  readonly next_placement: (MovingCollection & { readonly collection: string; readonly since: Date }) | null;
  /** The operation under way; null when there is none. */
  readonly operation: Operation | null;
  /** The last operation that was not rolled back, the one under way included: the audit log must know of it. */
  readonly changed_by: string;
  /** What the addresses in its audit log are concealed with; null in a stub: they are unreadable for good. */
  readonly address_key: string | null;
  /**
   * When something is to be done about it: the operation's lease has run out, the open move is tried again, the time
   * to restore it is over, its erasure is repeated. Null: nothing.
   */
  readonly due_at: Date | null;
  /** For `deleted`: when it can no longer be restored; null otherwise. */
  readonly purge_at: Date | null;
  /** For `erased`: since when; null otherwise. */
  readonly erased_at: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
};

/** `key` is indexed for look-up only: claims alone decide who has a name. */
export const ORGANIZATION_INDEXES: readonly Index[] = [
  { name: 'key_status', key: { key: 1, status: 1 } },
  { name: 'due_at', key: { due_at: 1 } },
];

/** A claim on a name. Its `_id` is what is claimed: the store's own refusal of a second insert is the only "taken". */
export type NameClaim = {
  readonly _id: string;
  readonly kind: 'name';
  readonly organization_id: string;
  /** The operation that made it, or took it over. */
  readonly operation_id: string;
  /**
   * For a name that its organization left by a rename: until when nobody else takes it, and it leads to the new one;
   * null otherwise.
   */
  readonly due_at: Date | null;
  /** What `due_at` was when its own organization took it back: what it becomes again when that is refused. */
  readonly leased_until: Date | null;
};

/** What anyone may see of an organization. */
export const organizationMetadata = (organization: OrganizationDocument) => ({
  organization_id: organization._id,
  organization_name: organization.name,
  collection_name: organization.placement.collection,
  status: organization.operation?.kind === 'rename' ? ('renaming' as const) : ('active' as const),
  created_at: organization.created_at,
  updated_at: organization.updated_at,
});
