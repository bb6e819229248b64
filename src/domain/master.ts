import type { Store } from '../store/store.ts';
import { ADMIN_INDEXES } from './admin/admin.ts';
import { AUDIT_INDEXES } from './audit/chain.ts';
import { SIGN_IN_FAILURE_INDEXES } from './audit/sign-in-failures.ts';
import type { Master } from './context.ts';
import { IDEMPOTENCY_INDEXES } from './idempotency/idempotency.ts';
import { MAIL_INDEXES } from './mail/mail.ts';
import { CLAIM_INDEXES } from './organization/claims.ts';
import { ORGANIZATION_INDEXES } from './organization/organization.ts';
import { SESSION_INDEXES } from './session/session.ts';
import { BUDGET_INDEXES } from './throttle/budget.ts';

/** The master database of a store, by its collections. Asks nothing of the store. */
export function openMaster(store: Store, name: string): Master {
  const database = store.database(name);
  return {
    database,
    organizations: database.collection('organizations'),
    admins: database.collection('admins'),
    claims: database.collection('claims'),
    sessions: database.collection('sessions'),
    erasures: database.collection('erasures'),
    idempotency: database.collection('idempotency_keys'),
    budgets: database.collection('budgets'),
    audit: database.collection('audit'),
    audit_heads: database.collection('audit_heads'),
    sign_in_failures: database.collection('sign_in_failures'),
    mails: database.collection('mails'),
  };
}

/** Makes the master's collections and indexes, or finds them made. */
export async function prepareMaster({ database }: Master): Promise<void> {
  await Promise.all([
    database.createCollection('organizations', ORGANIZATION_INDEXES),
    database.createCollection('admins', ADMIN_INDEXES),
    database.createCollection('claims', CLAIM_INDEXES),
    database.createCollection('sessions', SESSION_INDEXES),
    database.createCollection('erasures'),
    database.createCollection('idempotency_keys', IDEMPOTENCY_INDEXES),
    database.createCollection('budgets', BUDGET_INDEXES),
    database.createCollection('audit', AUDIT_INDEXES),
    database.createCollection('audit_heads'),
    database.createCollection('sign_in_failures', SIGN_IN_FAILURE_INDEXES),
    database.createCollection('mails', MAIL_INDEXES),
  ]);
}
