/**
 * The copy path of a rename, where the server does not rename a collection: a missing privilege, a sharded one. The
 * tenant's writers go on in the old collection all the while, and some after it.
 *
 * It is a three-way synchronization. Beside the old collection and the new one there is a base, which says of every
 * document what was last copied of it. What differs from the base in the old collection has changed there since; what
 * differs in the new one was changed there, and is never replaced. Every page is idempotent, and every write to a
 * tenant's document is on condition of what is replaced, so that an instance which was paused past its lease, or two
 * at once, do no harm.
 */
import { isStoreError } from '../../store/port.ts';
import type { Collection, Database } from '../../store/store.ts';
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { Checksum } from './organization.ts';
import { TENANT_INDEXES } from './organization.ts';

/** Documents of a page: few enough that one takes much less than a lease, and keeps nobody waiting who shares a thread. */
const PAGE = 250;

/** How long a copy lets others go first after every page, in milliseconds: an embedded store takes no turns itself. */
const REST_MS = 5;

/** The longest id that is one of the base as it is. */
const NOTE_ID_LENGTH = 400;

/** An intent's id is less than any note's, which start with a quote, a brace, a letter or `#`. */
const INTENT = '!';
const AFTER_INTENTS = '!~';

/** What was last copied of a document, by its id; `full_id` where that is too long for one. */
type Note = { readonly _id: string; readonly digest: string; readonly full_id: string | null };

/**
 * What is about to be copied into the collection that the tenant uses by now. When that was done and not noted, it
 * tells the copy from a change of the tenant's.
 */
type Intent = {
  readonly _id: string;
  readonly documents: readonly { readonly id: string; readonly digest: string }[];
  readonly created_at: Date;
};

export type CopySides = {
  readonly tenants: Database;
  readonly from: Collection;
  readonly to: Collection;
  readonly notes: Collection<Note>;
  readonly intents: Collection<Intent>;
  /**
   * `mirror`: nobody uses the new collection yet, it becomes what the old one is. `merge`: the tenant uses it, and
   * what was changed there stays.
   */
  readonly policy: 'mirror' | 'merge';
  /**
   * Whether the old collection is still there for certain, and the new one where the documents belong. Asked between
   * what is read and what is removed because of it: without it, a collection that was dropped would look like one
   * whose documents were all deleted.
   */
  readonly holds: () => Promise<boolean>;
};

/** A page's outcome: what to go on after (null: that was the last one), and what was found to do. */
export type CopyPage = {
  readonly next: string | null;
  /** Documents that were copied, removed, or have to be looked at again. */
  readonly found: number;
  /** Documents that were not copied over a newer one. */
  readonly conflicts: number;
  /** Documents that cannot be copied: another one has their unique key. */
  readonly refused: number;
  /** Documents of the page that the base has a note of. */
  readonly noted: number;
};

/** A page of what is only compared. */
export type SumPage = { readonly next: string | null; readonly found: number; readonly sum: Checksum };

export const NO_DOCUMENTS: Checksum = { count: 0, digests: '0' };

export function openSides(
  tenants: Database,
  { from, to, base }: { from: string; to: string; base: string },
  rest: Pick<CopySides, 'policy' | 'holds'>,
): CopySides {
  return {
    tenants,
    from: tenants.collection(from),
    to: tenants.collection(to),
    notes: tenants.collection(base),
    intents: tenants.collection(base),
    ...rest,
  };
}

/** Makes the new collection with the old one's indexes, and the base. @returns how many documents there are to copy */
export async function prepareCopy({ tenants, from, to, notes }: CopySides): Promise<number> {
  await persist(() => tenants.createCollection(notes.name));
  try {
    await persist(() => tenants.copyIndexes(from.name, to.name));
  } catch (error) {
    if (!isStoreError(error, 'NamespaceNotFound')) throw error;
    await persist(() => tenants.createCollection(to.name, TENANT_INDEXES));
  }
  return from.count({});
}

/** Copies what has changed since it was last copied, of the documents after `after`. */
export async function copyPage(context: Context, sides: CopySides, after: string | null): Promise<CopyPage> {
  const { from, to, policy } = sides;
  const page = await from.digests({ after, limit: PAGE });
  const noted = await notesOf(context, sides, page.documents);
  const changed = page.documents.filter(({ id, digest }) => noted.get(id) !== digest);
  const unchanged = { next: page.next, found: 0, conflicts: 0, refused: 0, noted: noted.size };
  if (changed.length === 0) return unchanged;

  // Into a collection that nobody uses yet, what was never copied can be tried without a look.
  const there = await digestsById(to, policy === 'merge' ? changed : changed.filter(({ id }) => noted.has(id)));
  const wanted = changed.flatMap(({ id, digest }) => {
    const current = there.get(id);
    const free = policy === 'mirror' || current === undefined || current === noted.get(id) || current === digest;
    return free ? [{ id, digest, over: current ?? null }] : [];
  });
  const conflicts = changed.length - wanted.length;
  if (wanted.length === 0) return { ...unchanged, conflicts };
  const strange = wanted.some(({ id, digest, over }) => over !== null && over !== noted.get(id) && over !== digest);
  if (policy === 'mirror' && strange && !(await sides.holds())) return unchanged;

  const intent = policy === 'merge' ? await intend(context, sides, wanted) : undefined;
  // With an intent, what is copied is what it says; without one, the latest that there is.
  const requests = wanted.map((one) => (intent === undefined ? { ...one, digest: null } : one));
  const { copied, kept, refused } = await persist(() => from.copyTo(to.name, requests));
  if (policy === 'mirror' && kept.length > 0) {
    // There by an earlier try that was not noted, or copied by another instance.
    const current = await digestsById(to, asIds(kept));
    const over = kept.map((id) => ({ id, digest: null, over: current.get(id) ?? null }));
    if (!(await sides.holds())) return unchanged;
    const again = await persist(() => from.copyTo(to.name, over));
    copied.push(...again.copied);
    refused.push(...again.refused);
  }
  await note(context, sides, copied, noted);
  if (intent !== undefined) await persist(() => sides.intents.deleteOne({ _id: intent }));
  if (policy === 'mirror' && refused.length > 0) await makeRoom(context, sides, refused);
  const merged = wanted.length - kept.length - refused.length;
  return {
    next: page.next,
    found: policy === 'mirror' ? wanted.length : merged,
    conflicts: policy === 'mirror' ? 0 : conflicts + kept.length,
    refused: refused.length,
    noted: new Set([...noted.keys(), ...copied.map(({ id }) => id)]).size,
  };
}

/** Removes what is gone from the old collection since it was copied, of the notes after `after`. */
export async function prunePage(
  context: Context,
  sides: CopySides,
  after: string | null,
): Promise<Pick<CopyPage, 'next' | 'found'>> {
  const { from, to, notes, policy } = sides;
  const { page, next } = await notePage(sides, after);
  const copies = page.map(({ _id, digest, full_id }) => ({ id: full_id ?? _id, digest }));
  const left = await digestsById(from, copies);
  const gone = copies.filter(({ id }) => !left.has(id));
  // In a mirror whatever is there goes; else what was changed there stays.
  const there = policy === 'mirror' ? await digestsById(to, gone) : undefined;
  if (gone.length === 0 || !(await sides.holds())) return { next, found: 0 };
  const removable = there === undefined ? gone : gone.flatMap(({ id }) => withDigest(id, there.get(id)));
  if (removable.length > 0) await persist(() => to.deleteDigested(removable));
  await persist(() => notes.deleteMany({ _id: { $in: gone.map(({ id }) => noteId(context, id)) } }));
  return { next, found: gone.length };
}

/** Sums up the notes after `after`: what was copied in all. */
export async function sumPage(sides: CopySides, after: string | null): Promise<SumPage> {
  const { page, next } = await notePage(sides, after);
  return { next, found: 0, sum: checksumOf(page) };
}

/** Compares the documents of the new collection after `after` with their notes, and has what differs copied again. */
export async function verifyPage(context: Context, sides: CopySides, after: string | null): Promise<SumPage> {
  const { from, to, notes } = sides;
  const page = await to.digests({ after, limit: PAGE });
  const noted = await notesOf(context, sides, page.documents);
  const differing = page.documents.filter(({ id, digest }) => noted.has(id) && noted.get(id) !== digest);
  // A document without a note was copied by a page that did not end, and may be gone from the old collection since.
  const unknown = page.documents.filter(({ id }) => !noted.has(id));
  const left = await digestsById(from, unknown);
  const gone = unknown.filter(({ id }) => !left.has(id));
  if (differing.length + gone.length > 0 && (await sides.holds())) {
    const outdated = differing.map(({ id }) => noteId(context, id));
    if (outdated.length > 0) await persist(() => notes.deleteMany({ _id: { $in: outdated } }));
    if (gone.length > 0) await persist(() => to.deleteDigested(gone));
  }
  return { next: page.next, found: differing.length + unknown.length, sum: checksumOf(page.documents) };
}

/** Forgets what was copied, so that everything is compared anew. */
export async function forgetCopies({ notes }: CopySides): Promise<void> {
  await persist(() => notes.deleteMany({ _id: { $gt: AFTER_INTENTS } }));
}

/** Whether the base has more notes than `documents`: some are of documents that are gone. */
export async function hasMoreNotes({ notes }: CopySides, documents: number): Promise<boolean> {
  return (await notes.count({ _id: { $gt: AFTER_INTENTS } })) > documents;
}

/** Lets others go first, between two pages. */
export const rest = (context: Context): Promise<void> => context.wait(REST_MS);

export const addChecksums = (a: Checksum, b: Checksum): Checksum => ({
  count: a.count + b.count,
  digests: BigInt.asUintN(256, BigInt(`0x${a.digests}`) + BigInt(`0x${b.digests}`)).toString(16),
});

export const sameChecksum = (a: Checksum, b: Checksum | null): boolean =>
  a.count === b?.count && a.digests === b.digests;

const checksumOf = (documents: readonly { readonly digest: string }[]): Checksum =>
  documents.reduce<Checksum>((sum, { digest }) => addChecksums(sum, { count: 1, digests: digest }), NO_DOCUMENTS);

/**
 * What of the intents of instances that died was done, is noted as done. A younger intent may belong to an instance
 * that is at it.
 */
export async function settleIntents(context: Context, sides: CopySides): Promise<void> {
  const stale = new Date(context.clock().getTime() - context.settings.leaseMs);
  const intents = await sides.intents.find({ _id: { $gt: INTENT, $lt: AFTER_INTENTS } }, { limit: PAGE });
  for (const { _id, documents, created_at } of intents) {
    if (created_at > stale) continue;
    const there = await digestsById(sides.to, documents);
    const done = documents.filter(({ id, digest }) => there.get(id) === digest);
    if (done.length > 0) await note(context, sides, done, await notesOf(context, sides, done));
    await persist(() => sides.intents.deleteOne({ _id }));
  }
}

async function intend(
  context: Context,
  { intents }: CopySides,
  wanted: readonly { readonly id: string; readonly digest: string | null }[],
): Promise<string> {
  const _id = `${INTENT}${context.newId()}`;
  const documents = wanted.flatMap(({ id, digest }) => withDigest(id, digest ?? undefined));
  // It is never read before it is stale, so that one which went in twice is one.
  await persist(() => intents.insertMany([{ _id, documents, created_at: context.clock() }]));
  return _id;
}

/**
 * A document that cannot be copied, because another has its unique key, gives up its own in the new collection: the
 * other one may be waiting for it. Both are copied in the next pass.
 */
async function makeRoom(context: Context, sides: CopySides, refused: readonly string[]): Promise<void> {
  const there = await digestsById(sides.to, asIds(refused));
  const stale = refused.flatMap((id) => withDigest(id, there.get(id)));
  if (stale.length === 0 || !(await sides.holds())) return;
  await persist(() => sides.to.deleteDigested(stale));
  await persist(() => sides.notes.deleteMany({ _id: { $in: stale.map(({ id }) => noteId(context, id)) } }));
}

async function note(
  context: Context,
  { notes }: CopySides,
  copied: readonly { readonly id: string; readonly digest: string }[],
  noted: ReadonlyMap<string, string>,
): Promise<void> {
  const fresh = copied.filter(({ id, digest }) => noted.get(id) !== digest);
  if (fresh.length === 0) return;
  const outdated = fresh.filter(({ id }) => noted.has(id)).map(({ id }) => noteId(context, id));
  if (outdated.length > 0) await persist(() => notes.deleteMany({ _id: { $in: outdated } }));
  await persist(() =>
    notes.insertMany(
      fresh.map(({ id, digest }) => {
        const _id = noteId(context, id);
        return { _id, digest, full_id: _id === id ? null : id };
      }),
    ),
  );
}

async function notesOf(
  context: Context,
  { notes }: CopySides,
  documents: readonly { readonly id: string }[],
): Promise<Map<string, string>> {
  if (documents.length === 0) return new Map();
  const found = await notes.find({ _id: { $in: documents.map(({ id }) => noteId(context, id)) } });
  return new Map(found.map(({ _id, digest, full_id }) => [full_id ?? _id, digest]));
}

async function notePage({ notes }: CopySides, after: string | null): Promise<{ page: Note[]; next: string | null }> {
  const page = await notes.find({ _id: { $gt: after ?? AFTER_INTENTS } }, { sort: { _id: 1 }, limit: PAGE });
  return { page, next: page.length < PAGE ? null : (page.at(-1)?._id ?? null) };
}

async function digestsById(
  collection: Collection,
  documents: readonly { readonly id: string }[],
): Promise<Map<string, string>> {
  if (documents.length === 0) return new Map();
  const page = await collection.digests({ ids: documents.map(({ id }) => id) });
  return new Map(page.documents.map(({ id, digest }) => [id, digest]));
}

const noteId = (context: Context, id: string): string =>
  id.length <= NOTE_ID_LENGTH ? id : `#${context.keyedHash(id)}`;

const asIds = (ids: readonly string[]): { readonly id: string }[] => ids.map((id) => ({ id }));

const withDigest = (id: string, digest: string | undefined): { readonly id: string; readonly digest: string }[] =>
  digest === undefined ? [] : [{ id, digest }];
