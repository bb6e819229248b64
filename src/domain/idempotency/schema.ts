import type { Index } from '../../store/port.ts';

/** The part of the answer to a create that the request does not hold. */
export type KeptAnswer = {
  readonly organization_name: string;
  readonly collection_name: string;
  readonly created_at: Date;
};

/** A used key: neither the key nor the request can be read here. */
export type IdempotencyDocument = {
  /** A keyed hash of the caller's address and the key. */
  readonly _id: string;
  /** A keyed hash of the request without its password: a fast hash of a password could be guessed from. */
  readonly fingerprint: string;
  /** The ids of the request's organization and admin, whether they were created or not. */
  readonly organization_id: string;
  readonly admin_id: string;
  /** The answer; null while the request is under way. */
  readonly answer: KeptAnswer | null;
  /** While it is under way: until when it belongs to the instance that runs it. */
  readonly lease_until: Date;
  readonly expires_at: Date;
};

export const IDEMPOTENCY_INDEXES: readonly Index[] = [
  { name: 'organization_id', key: { organization_id: 1 } },
  { name: 'expires_at', key: { expires_at: 1 }, expireAfterSeconds: 0 },
];
