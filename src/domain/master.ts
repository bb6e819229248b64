import type { Index } from '../store/port.ts';
import type { Collection, Database, Store } from '../store/store.ts';
import type { AdminDocument } from './admin/schema.ts';
import { ADMIN_INDEXES } from './admin/schema.ts';
import type { AuditCheckpoint, AuditEntry, SignInFailures } from './audit/schema.ts';
import { AUDIT_INDEXES, CHECKPOINT_INDEXES, SIGN_IN_FAILURE_INDEXES } from './audit/schema.ts';
import type { IdempotencyDocument } from './idempotency/schema.ts';
import { IDEMPOTENCY_INDEXES } from './idempotency/schema.ts';
import type { NameClaim, OrganizationDocument } from './organization/schema.ts';
import { ORGANIZATION_INDEXES } from './organization/schema.ts';
import type { MailDocument } from './outbox/schema.ts';
import { MAIL_INDEXES } from './outbox/schema.ts';
import type { BudgetDocument } from './rate-limit/schema.ts';
import { BUDGET_INDEXES } from './rate-limit/schema.ts';
import type { SessionDocument } from './session/schema.ts';
import { SESSION_INDEXES } from './session/schema.ts';
import type { CollectionClaim } from './tenant-data/schema.ts';
import { CLAIM_INDEXES } from './tenant-data/schema.ts';

/** The master database's collections, with their indexes. */
export const MASTER_COLLECTIONS: Readonly<Record<string, readonly Index[]>> = {
  organizations: ORGANIZATION_INDEXES,
  admins: ADMIN_INDEXES,
  claims: CLAIM_INDEXES,
  sessions: SESSION_INDEXES,
  idempotency_keys: IDEMPOTENCY_INDEXES,
  budgets: BUDGET_INDEXES,
  audit: AUDIT_INDEXES,
  audit_checkpoints: CHECKPOINT_INDEXES,
  sign_in_failures: SIGN_IN_FAILURE_INDEXES,
  mails: MAIL_INDEXES,
};

/** The master database, by its collections. Asks nothing of the store, and costs a request only what it uses. */
export class Master {
  readonly #store: Store;
  readonly #name: string;

  constructor(store: Store, name: string) {
    this.#store = store;
    this.#name = name;
  }

  get database(): Database {
    return this.#store.database(this.#name);
  }
  get organizations(): Collection<OrganizationDocument> {
    return this.database.collection('organizations');
  }
  get admins(): Collection<AdminDocument> {
    return this.database.collection('admins');
  }
  /** `claims`, as far as it is about names. */
  get names(): Collection<NameClaim> {
    return this.database.collection('claims');
  }
  /** `claims`, as far as it is about collections. */
  get collections(): Collection<CollectionClaim> {
    return this.database.collection('claims');
  }
  get sessions(): Collection<SessionDocument> {
    return this.database.collection('sessions');
  }
  get idempotency(): Collection<IdempotencyDocument> {
    return this.database.collection('idempotency_keys');
  }
  get budgets(): Collection<BudgetDocument> {
    return this.database.collection('budgets');
  }
  get audit(): Collection<AuditEntry> {
    return this.database.collection('audit');
  }
  get checkpoints(): Collection<AuditCheckpoint> {
    return this.database.collection('audit_checkpoints');
  }
  get signInFailures(): Collection<SignInFailures> {
    return this.database.collection('sign_in_failures');
  }
  get mails(): Collection<MailDocument> {
    return this.database.collection('mails');
  }
}
