import { changeAdmin } from '../admin/credentials.ts';
import type { AdminChange } from '../admin/schema.ts';
import { auditNote } from '../audit/note.ts';
import { record } from '../audit/record.ts';
import type { Context } from '../context.ts';
import type { DomainError } from '../errors.ts';
import type { There } from '../tenant-data/collections.ts';
import { claimCollection, listCollections, markFormer, moveCollection } from '../tenant-data/collections.ts';
import { claimName, releaseName, returnName } from './claims.ts';
import { advance, beginOperation, ended, endOperation } from './journal.ts';
import type { OrganizationName } from './name.ts';
import { collectionCandidates } from './name.ts';
import { changedMeanwhile, nameTaken, outcomeUnknown } from './refusals.ts';
import type { MoveOperation, OrganizationDocument, RenameOperation } from './schema.ts';

/**
 * Renames an organization, and changes an admin with it: all of it or nothing.
 * @param input.change the change of the admin, whose id is the operation's; null: there is none
 * @returns the organization as the rename left it
 * @throws {DomainError} organization_name_taken, admin_email_taken, conflict: nothing has changed;
 *   operation_in_progress; unavailable when another instance ended it and cannot be asked any more
 */
export async function renameOrganization(
  context: Context,
  input: {
    readonly organization: OrganizationDocument;
    readonly operationId: string;
    readonly actorId: string;
    readonly name: OrganizationName;
    readonly change: AdminChange | null;
  },
): Promise<OrganizationDocument> {
  const { organization, operationId: id, actorId, name, change } = input;
  const event = { event_id: id, action: 'organization.renamed', actor: actorId, target: organization._id } as const;
  const audit = await auditNote(context, organization, event);
  const begun = await beginOperation(context, {
    organization,
    operation: ({ name: oldName, key, slug, named_by, placement: { collection } }) => {
      // The same rename was under way: it is asked for again.
      if (oldName === name.name && change === null) return undefined;
      if (key !== organization.key) throw changedMeanwhile();
      return {
        id,
        kind: 'rename',
        step: 'claiming',
        from: { name: oldName, key, slug, named_by, collection },
        to: { ...name, collection },
        collection_id: null,
        abandoned: [],
        admin: change,
        audit,
      };
    },
  });
  if (begun.operation === null) return begun;
  return resumeRename(context, begun);
}

/**
 * Finishes a rename from whatever step its journal is at, or rolls it back. Two instances may run it at once: each
 * step changes the journal only from the step before.
 */
export async function resumeRename(context: Context, begun: OrganizationDocument): Promise<OrganizationDocument> {
  let organization: OrganizationDocument | undefined = begun;
  while (organization !== undefined) {
    const operation: OrganizationDocument['operation'] = organization.operation;
    if (operation?.kind !== 'rename' || operation.id !== begun.operation?.id) break;
    if (operation.step === 'releasing') {
      await release(context, organization, operation);
      return { ...organization, ...ended(context, organization) };
    }
    const next: OrganizationDocument | undefined = await STEPS[operation.step](context, organization, operation);
    organization = next ?? (await context.master.organizations.findOne({ _id: begun._id }));
  }
  // Another instance ended it. What others did to it since hides whether it was committed, or what to answer.
  const id = begun.operation?.id;
  if (organization?.status === 'active' && (organization.named_by === id || organization.changed_by === id)) {
    return organization;
  }
  throw outcomeUnknown();
}

type Step = (
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
) => Promise<OrganizationDocument | undefined>;

/** Each gives the organization after it; undefined when another instance, or an earlier try of ours, was faster. */
const STEPS: Readonly<Record<Exclude<RenameOperation['step'], 'releasing'>, Step>> = {
  /** Claims the new name, which can be refused. */
  claiming: async (context, organization, operation) => {
    const { from, to, id, admin } = operation;
    const claim = { key: to.key, organizationId: organization._id, operationId: id };
    const [isOurs, there] = await Promise.all([
      to.key === from.key || claimName(context, claim),
      admin === null ? listTargets(context, organization, operation) : undefined,
    ]);
    if (!isOurs) return rollBack(context, organization, operation, nameTaken());
    if (there !== undefined) return beginMoving(context, organization, operation, there);
    return advance(context, organization, { $set: { 'operation.step': 'changing' } });
  },

  /**
   * Changes the admin, which can be refused too. It has a step of its own so that nobody does it for a rename that
   * others have rolled back.
   */
  changing: async (context, organization, operation) => {
    const { admin } = operation;
    const refusal = admin === null ? undefined : await changeAdmin(context, admin);
    if (refusal !== undefined) return rollBack(context, organization, operation, refusal);
    const there = await listTargets(context, organization, operation);
    return beginMoving(context, organization, operation, there);
  },

  moving: moveOn,
};

/** The collection stays where only the name changes, and where an earlier move is still open. */
const keepsCollection = ({ slug, next_placement }: OrganizationDocument, { to }: RenameOperation): boolean =>
  to.slug === slug || next_placement !== null;

/** Which of the candidates are there, and the organization's own collection. */
async function listTargets(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
): Promise<There> {
  if (keepsCollection(organization, operation)) return new Map();
  const names = [...collectionCandidates(operation.to.slug, operation.id), operation.from.collection];
  return listCollections(context, organization.placement, names);
}

/** Claims a collection, and puts it into the journal: from here on the rename only goes forward. */
async function beginMoving(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
  there: There,
): Promise<OrganizationDocument | undefined> {
  const { id, to, from } = operation;
  const moving = { 'operation.step': 'moving' };
  if (keepsCollection(organization, operation)) return advance(context, organization, { $set: moving });
  const names = collectionCandidates(to.slug, id);
  const claimant = { organizationId: organization._id, operationId: id };
  const target = await claimCollection(context, { ...claimant, place: organization.placement, names, there });
  // The last candidate is this operation's alone: another instance has claimed it, moved and gone on.
  if (target === undefined) return undefined;
  return advance(context, organization, {
    $set: {
      ...moving,
      'operation.to.collection': target.collection,
      'operation.collection_id': there.get(from.collection) ?? null,
    },
  });
}

/**
 * Renames the collection to the target that is in the journal, or leaves the move open, and commits: from here on a
 * renamed organization has its new name.
 */
async function moveOn(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation | MoveOperation,
): Promise<OrganizationDocument | undefined> {
  const { placement, next_placement, named_by } = organization;
  const { collection_id, abandoned } = operation;
  const { collection } = operation.to;
  const moved = await moveCollection(context, { from: placement, to: collection, id: collection_id });
  if (moved === 'occupied') return leaveTarget(context, organization, operation);
  const now = context.clock();
  const renamed = operation.kind === 'rename' && {
    name: operation.to.name,
    key: operation.to.key,
    slug: operation.to.slug,
    named_by: operation.to.key === operation.from.key ? named_by : operation.id,
    updated_at: now,
  };
  const open = { collection, since: next_placement?.since ?? now, collection_id, abandoned };
  // An earlier move that is open stays open in a rename, which then moves nothing.
  const done = { placement: { ...placement, collection }, ...(operation.kind === 'move' && { next_placement: null }) };
  const left = moved === 'moved' ? done : { next_placement: open };
  return advance(
    context,
    organization,
    { $set: { ...renamed, ...left, 'operation.step': 'releasing' } },
    { 'operation.to.collection': collection },
  );
}

/**
 * A client made a collection of the new name first: the organization gets another one. What the client wrote came late;
 * that claim stays `held` until the collection has moved, lest a late call finds the name free and moves it there.
 */
async function leaveTarget(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation | MoveOperation,
): Promise<OrganizationDocument | undefined> {
  const place = organization.placement;
  const { slug } = operation.kind === 'rename' ? operation.to : organization;
  const claimant = { organizationId: organization._id, operationId: operation.id };
  const names = collectionCandidates(slug, context.newId()).slice(-1);
  const there = await listCollections(context, place, names);
  const target = await claimCollection(context, { ...claimant, place, names, there });
  if (target === undefined) return undefined;
  return advance(
    context,
    organization,
    {
      $set: {
        'operation.to.collection': target.collection,
        'operation.abandoned': [...operation.abandoned, operation.to.collection],
      },
    },
    { 'operation.to.collection': operation.to.collection },
  );
}

async function release(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
): Promise<void> {
  const { from, to } = operation;
  await Promise.all([
    to.key === from.key ? undefined : releaseName(context, { key: from.key, namedBy: from.named_by }),
    leaveCollections(context, organization, operation),
    record(context, operation.audit),
  ]);
  await endOperation(context, organization);
}

/** Only where the collection has moved was anything left. */
async function leaveCollections(
  context: Context,
  { _id, placement }: OrganizationDocument,
  { from, abandoned }: RenameOperation | MoveOperation,
): Promise<void> {
  if (placement.collection === from.collection) return;
  const left = [from.collection, ...abandoned];
  await Promise.all(left.map((collection) => markFormer(context, _id, { ...placement, collection })));
}

/** @throws the refusal when it rolled the rename back; returns when another instance was faster, whatever it did */
async function rollBack(
  context: Context,
  organization: OrganizationDocument,
  { step, from, to, id }: RenameOperation,
  refusal: DomainError,
): Promise<undefined> {
  const rolledBack = await advance(context, organization, { $set: ended(context, organization, { unrecorded: true }) });
  if (rolledBack === undefined) return undefined;
  // Only by the one who ended it: who did not may be late, and the name the organization's by now.
  if (step === 'changing' && to.key !== from.key) await returnName(context, { key: to.key, operationId: id });
  throw refusal;
}

/**
 * Tries again to move a collection that the server refused to rename.
 * @throws {DomainError} operation_in_progress, conflict
 */
export async function tryOpenMove(context: Context, organization: OrganizationDocument): Promise<void> {
  if (organization.next_placement === null || organization.status !== 'active') return;
  const begun = await beginOperation(context, {
    organization,
    operation: ({ next_placement, placement: { collection } }) => ({
      id: context.newId(),
      kind: 'move',
      step: 'moving',
      from: { collection },
      to: { collection: next_placement?.collection ?? collection },
      collection_id: next_placement?.collection_id ?? null,
      abandoned: next_placement?.abandoned ?? [],
    }),
  });
  await resumeMove(context, begun);
}

/** Finishes the move of a collection, or leaves it open for a later time. */
export async function resumeMove(context: Context, begun: OrganizationDocument): Promise<void> {
  let organization: OrganizationDocument | undefined = begun;
  while (organization !== undefined) {
    const operation: OrganizationDocument['operation'] = organization.operation;
    if (operation?.kind !== 'move' || operation.id !== begun.operation?.id) return;
    if (operation.step === 'releasing') {
      await leaveCollections(context, organization, operation);
      await endOperation(context, organization, { unrecorded: true });
      return;
    }
    const next = await moveOn(context, organization, operation);
    organization = next ?? (await context.master.organizations.findOne({ _id: begun._id }));
  }
}
