import type { Index } from '../../store/port.ts';

/** Where an organization's documents are: the only way to them. */
export type Placement = {
  /** The name of a cluster in the configuration. */
  readonly cluster: string;
  readonly database: string;
  readonly collection: string;
};

/**
 * A claim on the name of a collection. A name is current at most once, so that no call that comes late can put one
 * tenant's documents into another's hands. Claims are never removed, and their states only go forward:
 *
 * - `held`: the organization's collection, or what a rename is about to make it;
 * - `former`: left by a rename; what a late writer puts there is the organization's, and is merged into its collection;
 * - `dropped`: of an organization that was erased; what is there is dropped;
 * - `unused`: of a create that was rolled back; what is there is dropped while it is empty;
 * - `foreign`: somebody else's collection was there first; nobody touches it.
 */
export type CollectionClaim = {
  /** {@link collectionClaimId} */
  readonly _id: string;
  readonly kind: 'collection';
  readonly organization_id: string;
  readonly operation_id: string;
  readonly state: 'held' | 'former' | 'dropped' | 'unused' | 'foreign';
  readonly placement: Placement;
  /**
   * Collections that came of this one, by their names. `pending`: to be merged into the organization's collection, then
   * dropped. `kept`: what could not be merged; reported, and kept until the organization is erased.
   */
  readonly asides: { readonly [name: string]: 'pending' | 'kept' };
  /** Raised by every write: what conditional writes compare. */
  readonly version: number;
  /** When the name is looked at next; null for `held` and `foreign`. */
  readonly due_at: Date | null;
  /** Since when nothing was found there: the longer, the seldomer it is looked at. */
  readonly quiet_since: Date | null;
};

/** Of claims on names and on collections alike: they are kept together in `claims`. */
export const CLAIM_INDEXES: readonly Index[] = [
  { name: 'kind_due_at', key: { kind: 1, due_at: 1 } },
  { name: 'organization_id_kind', key: { organization_id: 1, kind: 1 } },
];

export const collectionClaimId = ({ cluster, database, collection }: Placement): string =>
  `collection:${cluster}/${database}/${collection}`;
