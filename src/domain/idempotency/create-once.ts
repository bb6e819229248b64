/**
 * Idempotency keys (draft-ietf-httpapi-idempotency-key-header): the same key with the same request gives the first
 * answer again, for a day. With another request the key is refused.
 */
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { CreateOrganizationInput, CreateOrganizationResult } from '../organization/create.ts';
import { createOrganization } from '../organization/create.ts';
import { resumeExpired } from '../organization/journal.ts';
import { subscriberOf } from '../rate-limit/address.ts';
import { insertUnlessThere, retryOnUnknownOutcome } from '../retry.ts';
import type { IdempotencyDocument, KeptAnswer } from './schema.ts';

/** How long an answer is kept, in milliseconds. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/**
 * Creates an organization once for a key of one caller, also when it is asked to several times. Refusals are not kept:
 * after one, the key may be used again. Nothing of the password is kept, so a repeat with another password gets the
 * first answer, which tells no secret; the password of the first request is the admin's.
 * @throws {DomainError} as createOrganization; idempotency_key_reused, idempotency_key_in_use
 */
export async function createOrganizationOnce(
  context: Context,
  { idempotency_key, ...input }: Omit<CreateOrganizationInput, 'ids'> & { readonly idempotency_key: string },
): Promise<CreateOrganizationResult> {
  const { idempotency } = context.master;
  const { email } = input;
  const { address } = context.request;
  // A key is its caller's own: a stranger who knows it neither blocks it nor gets its answer.
  const owner = address === null ? null : subscriberOf(address);
  const _id = context.keyedHash(`idempotency ${JSON.stringify([owner, idempotency_key])}`);
  const fingerprint = context.keyedHash(`idempotency of ${JSON.stringify([input.organization_name, email])}`);
  const { organization_id, admin_id, answer: kept } = await begin(context, _id, fingerprint);
  if (kept !== null) return { ...kept, organization_id, admin_id, admin_email: email };
  const own = { _id, organization_id };
  try {
    const ids = { organizationId: organization_id, adminId: admin_id };
    const result = await createOrganization(context, { ...input, ids });
    const { organization_name, collection_name, created_at } = result;
    const answer: KeptAnswer = { organization_name, collection_name, created_at };
    await retryOnUnknownOutcome(context, () => idempotency.updateOne(own, { $set: { answer } })).catch(
      // The same request again finds the organization by its id.
      (error: unknown) => context.log('warn', 'idempotency.answer_not_kept', { error }),
    );
    return result;
  } catch (error) {
    if (error instanceof DomainError) await idempotency.deleteOne({ ...own, answer: null });
    throw error;
  }
}

/** The record of the key: a new one, or one with its answer. */
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
    if (await insertUnlessThere(context, () => idempotency.insertOne(fresh))) return fresh;
    const known = await idempotency.findOne({ _id });
    if (known === undefined) continue;
    // An earlier try of this same insert was done, and its reply was lost.
    if (known.organization_id === fresh.organization_id) return fresh;
    if (known.expires_at <= now) {
      await idempotency.deleteOne({ _id, expires_at: known.expires_at });
      continue;
    }
    if (known.fingerprint !== fingerprint) {
      throw new DomainError('idempotency_key_reused', 'This Idempotency-Key came with another request. Use a new one.');
    }
    if (known.answer !== null) return known;
    const answered = await findAnswer(context, known);
    if (answered !== undefined) return answered;
  }
}

/**
 * The record of a request without an answer, once it is known what came of the request: where its organization was
 * created, the answer is made again; where it was not, the key is free again, and there is no record.
 * @throws {DomainError} idempotency_key_in_use while the request may still be under way
 */
async function findAnswer(context: Context, known: IdempotencyDocument): Promise<IdempotencyDocument | undefined> {
  const { idempotency, organizations } = context.master;
  const { _id, organization_id } = known;
  const organization = await organizations.findOne({ _id: organization_id });
  if (organization?.status === 'active' || organization?.status === 'deleted') {
    const { name, placement, created_at } = organization;
    return { ...known, answer: { organization_name: name, collection_name: placement.collection, created_at } };
  }
  if (organization?.status !== 'erased') {
    if (known.lease_until > context.clock()) throw inUse();
    // The organization has a lease of its own, which began later than the key's.
    if (organization !== undefined && !(await resumeExpired(context, organization))) throw inUse();
  }
  await idempotency.deleteOne({ _id, organization_id, answer: null });
  return undefined;
}

const inUse = (): DomainError =>
  new DomainError('idempotency_key_in_use', 'The first request with this Idempotency-Key is still under way.');
