/**
 * Idempotency keys (draft-ietf-httpapi-idempotency-key-header): the same key with the same request gives the first
 * answer again, for a day; with another request it is refused.
 */
import type { Index } from '../../store/port.ts';
import { isStoreError } from '../../store/port.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { CreateOrganizationInput, CreateOrganizationResult } from '../organization/create.ts';
import { createOrganization } from '../organization/create.ts';
import { recoverStale } from '../organization/lifecycle.ts';
import type { OrganizationDocument } from '../organization/organization.ts';
import { persist } from '../persist.ts';

/** How long an answer is kept, in milliseconds. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/**
 * Creates an organization once for a key, however often it is asked to. Refusals are not kept: the key may be used
 * again after one.
 * @throws {DomainError} as createOrganization does; idempotency_key_reused, idempotency_key_in_use
 */
export async function createOrganizationOnce(
  context: Context,
  key: string,
  input: CreateOrganizationInput,
): Promise<CreateOrganizationResult> {
  const fingerprint = context.keyedHash(JSON.stringify([input.organization_name, input.email, input.password]));
  const known = await begin(context, context.keyedHash(`idempotency ${key}`), fingerprint);
  if (known.answer !== null) return known.answer;
  const { idempotency } = context.master;
  const own = { _id: known._id, organization_id: known.organization_id };
  try {
    const ids = { organizationId: known.organization_id, adminId: known.admin_id };
    const answer = await createOrganization(context, input, ids);
    await persist(() => idempotency.updateOne(own, { $set: { answer } })).catch((error: unknown) =>
      // Whoever asks again finds the organization by its id.
      context.log('warn', 'idempotency.answer_not_kept', { error }),
    );
    return answer;
  } catch (error) {
    if (error instanceof DomainError) await idempotency.deleteOne({ ...own, answer: null });
    throw error;
  }
}

/** The record of the key: a new one, one with its answer, or one whose instance died, taken over. */
async function begin(context: Context, _id: string, fingerprint: string): Promise<IdempotencyDocument> {
  const { idempotency } = context.master;
  for (;;) {
    const now = context.clock();
    const fresh: IdempotencyDocument = {
      _id,
      fingerprint,
      organization_id: context.newId(),
      admin_id: context.newId(),
      answer: null,
      lease_until: new Date(now.getTime() + context.settings.leaseMs),
      expires_at: new Date(now.getTime() + KEPT_MS),
    };
    try {
      await idempotency.insertOne(fresh);
      return fresh;
    } catch (error) {
      if (!isStoreError(error, 'DuplicateKey')) throw error;
    }
    const known = await idempotency.findOne({ _id });
    if (known === undefined) continue;
    if (known.expires_at <= now) {
      await idempotency.deleteOne({ _id, expires_at: known.expires_at });
      continue;
    }
    if (known.fingerprint !== fingerprint) {
      throw new DomainError('idempotency_key_reused', 'This Idempotency-Key came with another request. Use a new one.');
    }
    if (known.answer !== null) return known;
    const answered = await answerOfDead(context, known);
    if (answered !== undefined) return answered;
  }
}

/**
 * A request whose answer was never kept: when its organization is there, its answer is made again; when it is not,
 * the key is free again.
 * @throws {DomainError} idempotency_key_in_use while its instance may be alive
 */
async function answerOfDead(context: Context, known: IdempotencyDocument): Promise<IdempotencyDocument | undefined> {
  const { idempotency, organizations, admins } = context.master;
  const organization = await organizations.findOne({ _id: known.organization_id });
  const admin = await admins.findOne({ _id: known.admin_id });
  // Its collection is written with the commit of the create, and never before.
  if (organization !== undefined && admin !== undefined && organization.placement.collection !== '') {
    return { ...known, answer: answerFrom(organization, admin) };
  }
  if (known.lease_until > context.clock()) {
    throw inUse();
  }
  // Its lease is younger than the key's, and it may just have been committed: whoever asks again finds out.
  if (organization !== undefined && !(await recoverStale(context, organization))) throw inUse();
  await idempotency.deleteOne({ _id: known._id, organization_id: known.organization_id, answer: null });
  return undefined;
}

const inUse = (): DomainError =>
  new DomainError('idempotency_key_in_use', 'The first request with this Idempotency-Key is under way.');

const answerFrom = (
  organization: OrganizationDocument,
  admin: { readonly _id: string; readonly email: string },
): CreateOrganizationResult => ({
  organization_id: organization._id,
  organization_name: organization.name,
  collection_name: organization.placement.collection,
  admin_id: admin._id,
  admin_email: admin.email,
  created_at: organization.created_at,
});
