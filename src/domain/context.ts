import type { Collection, Database, Store } from '../store/store.ts';
import type { AdminDocument } from './admin/admin.ts';
import type { AuditEntry, AuditHead, Seals } from './audit/chain.ts';
import type { SignInFailures } from './audit/sign-in-failures.ts';
import type { Turns } from './audit/turns.ts';
import type { IdempotencyDocument } from './idempotency/idempotency.ts';
import type { MailDocument } from './mail/mail.ts';
import type { Mailer } from './mail/mailer.ts';
import type { ClaimDocument } from './organization/claims.ts';
import type { ErasureDocument } from './organization/erase.ts';
import type { OrganizationDocument } from './organization/organization.ts';
import type { AccessTokens } from './session/access-token.ts';
import type { SessionDocument } from './session/session.ts';
import type { BudgetDocument, Limit, Remaining } from './throttle/budget.ts';

/** The master database, by its collections. */
export type Master = {
  readonly database: Database;
  readonly organizations: Collection<OrganizationDocument>;
  readonly admins: Collection<AdminDocument>;
  readonly claims: Collection<ClaimDocument>;
  readonly sessions: Collection<SessionDocument>;
  readonly erasures: Collection<ErasureDocument>;
  readonly idempotency: Collection<IdempotencyDocument>;
  readonly budgets: Collection<BudgetDocument>;
  readonly audit: Collection<AuditEntry>;
  readonly audit_heads: Collection<AuditHead>;
  readonly sign_in_failures: Collection<SignInFailures>;
  readonly mails: Collection<MailDocument>;
};

/** Password hashing. `hash` and `verify` do the same work whatever they are given; over their bound they throw `busy`. */
export type Passwords = {
  hash(password: string): Promise<string>;
  /** False for a password that no hash can be of. `undefined`: there is no hash, and the work is done all the same. */
  verify(password: string, hash: string | undefined): Promise<boolean>;
  /** Whether a hash was made at a lower cost than is configured now. */
  isOutdated(hash: string): boolean;
};

/** One line of the log: an event and its particulars. Never a secret, a name that a caller typed, or a document. */
export type Log = (level: 'info' | 'warn' | 'error', event: string, particulars?: Record<string, unknown>) => void;

/** The request that a verb serves, for what is kept about it. */
export type RequestInfo = {
  /** As in the response's X-Request-Id, or what the service itself was doing. */
  readonly id: string;
  /** The caller's address, or what stands for one that is not known; null when nobody called. */
  readonly address: string | null;
  /** What the caller says it runs (User-Agent), cut to a bound; null when it does not say. */
  readonly device: string | null;
};

export type Settings = {
  /** Where new organizations are placed. */
  readonly placement: { readonly cluster: string; readonly database: string };
  /** How long an operation belongs to the instance that runs it, in milliseconds. */
  readonly leaseMs: number;
  /** How long a released collection name is kept from reuse, in milliseconds: longer than any write can be in flight. */
  readonly quarantineMs: number;
  /** How long a request, or a round of the reconciler, goes on with a copy of documents, in milliseconds. */
  readonly copyWaitMs: number;
  /** How long a name is kept for the organization that left it, in milliseconds; 0: it is free at once. */
  readonly nameLeaseMs: number;
  /** How long a deleted organization can be restored, in milliseconds; 0: nothing is kept. */
  readonly retentionMs: number;
  /** How long a sign-in is fresh enough to change email or password, in seconds. */
  readonly freshSignInSeconds: number;
  /** Where the front end is that the links in mails lead to; undefined: mails say which call to make. */
  readonly publicUrl: string | undefined;
  /** Whether an admin has to verify the email before changing anything but the own account. */
  readonly requireVerifiedEmail: boolean;
  /** How long a session lasts at most, and unused, in seconds. */
  readonly sessionSeconds: { readonly absolute: number; readonly idle: number };
  /** How often what may be done; null: as often as one likes. See throttle/. */
  readonly limits: Readonly<Record<'loginAddress' | 'loginAccount' | 'create' | 'mail' | 'refresh', Limit | null>>;
};

/** What every verb of the domain works with. */
export type Context = {
  readonly request: RequestInfo;
  /** Hears what is left of each budget that the request draws on. */
  readonly noteBudget: (remaining: Remaining) => void;
  readonly master: Master;
  /** The store of a cluster, by the name in a placement. */
  readonly clusters: (cluster: string) => Store;
  readonly passwords: Passwords;
  readonly tokens: AccessTokens;
  readonly mailer: Mailer;
  readonly clock: () => Date;
  /** A hash that only this service can make: for what must be recognized, and not read. */
  readonly keyedHash: (text: string) => string;
  /** The seals of the audit log. */
  readonly seals: Seals;
  /** Turns at writing to the audit log of an organization. */
  readonly auditTurns: Turns;
  /** Resolves after so many milliseconds. */
  readonly wait: (ms: number) => Promise<void>;
  /** Runs it after the answer. Resolves when it has ended, and never rejects; the instance may die before. */
  readonly later: (work: () => Promise<void>) => Promise<void>;
  /** A new id: time-ordered, unique (UUIDv7, RFC 9562). */
  readonly newId: () => string;
  readonly log: Log;
  readonly settings: Settings;
};
