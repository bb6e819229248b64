/**
 * Writing to the log. Two writers never fork a chain: the place of an entry, its `_id`, can be taken once. The head is
 * brought up to an entry before the next one is written, so that it is at most one behind, and a chain that is further
 * ahead of its head, or has none, has been tampered with. The log goes on then, with an entry that says so.
 */
import { isStoreError } from '../../store/port.ts';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { persist } from '../persist.ts';
import { concealAddress, newAddressKey } from './address.ts';
import type { AuditEntry, AuditHead } from './chain.ts';
import { BEYOND, entriesBetween, entryId, isGenuineHead, sealEntry, sealHead } from './chain.ts';
import type { AuditNote } from './event.ts';

/** Each try that is lost was another's who wrote: more than this many, and there is no end in sight. */
const MAX_TRIES = 500;

const FIRST_WAIT_MS = 2;
const MAX_WAIT_MS = 100;

/** What an entry says of an event beside its note. */
export type Particulars = Pick<AuditEntry, 'outcome' | 'count'>;

const SUCCESS: Particulars = { outcome: 'success', count: 1 };

/**
 * Records an event in an organization's chain, once for an event id, however often and by however many it is asked to.
 * @returns the entry: of this call, or of the one that recorded the event before
 * @throws {DomainError} unavailable when others wrote to the same chain for too long
 * @throws {StoreError}
 */
export function record(
  context: Context,
  organizationId: string,
  eventId: string,
  note: AuditNote,
  particulars: Particulars = SUCCESS,
): Promise<AuditEntry> {
  return context.auditTurns(organizationId, () => append(context, organizationId, eventId, note, particulars));
}

async function append(
  context: Context,
  organizationId: string,
  eventId: string,
  note: AuditNote,
  particulars: Particulars,
): Promise<AuditEntry> {
  const { audit } = context.master;
  let before: AuditHead | undefined;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const head = await usableHead(context, organizationId, eventId, note, before);
    const entry = await follow(context, head, eventId, note, particulars);
    try {
      await persist(() => audit.insertOne(entry));
      await advance(context, head, entry);
      report(context, entry);
      return entry;
    } catch (error) {
      if (!isStoreError(error, 'DuplicateKey')) throw error;
    }
    const recorded = await audit.findOne({ event_id: eventId });
    if (recorded !== undefined) {
      await catchUp(context, recorded);
      return recorded;
    }
    before = head;
    await context.wait(Math.random() * Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** tries));
  }
  throw new DomainError('unavailable', 'Too much happens in this organization at once. Try again.');
}

/** The entry of an event after the one that the head is at. */
async function follow(
  { seals }: Context,
  head: AuditHead,
  event_id: string,
  note: AuditNote,
  particulars: Particulars,
): Promise<AuditEntry> {
  const sequence = head.sequence + 1;
  const { address_key } = head;
  return sealEntry(seals, {
    _id: entryId(head._id, sequence),
    organization_id: head._id,
    sequence,
    event_id,
    at: note.at,
    actor: note.actor,
    action: note.action,
    target: note.target,
    address: note.address === null || address_key === null ? null : await concealAddress(address_key, note.address),
    request_id: note.request_id,
    ...particulars,
    previous: head.entry,
  });
}

/** A head of the log outside the database, in the log of the service: what a forger cannot reach. */
function report(context: Context, { organization_id, sequence, action, outcome, request_id, seal }: AuditEntry): void {
  context.log('info', 'audit.recorded', { organization_id, sequence, action, outcome, request_id, seal });
}

/**
 * The head to write after. One that stays where it was since `before`, though the place after it is taken, belongs to
 * a writer that died in between, and is brought up to the entry it left.
 */
async function usableHead(
  context: Context,
  organizationId: string,
  eventId: string,
  note: AuditNote,
  before: AuditHead | undefined,
): Promise<AuditHead> {
  const { audit_heads } = context.master;
  for (;;) {
    const head = await audit_heads.findOne({ _id: organizationId });
    if (head === undefined) {
      const last = await lastEntry(context, organizationId);
      // A head comes before the first entry, so one that is still missing after an entry was seen is lost.
      if ((await audit_heads.count({ _id: organizationId })) > 0) continue;
      if (last === undefined && (await isNew(context, organizationId, eventId, note))) {
        await beginChain(context, organizationId);
      } else await recordLoss(context, organizationId, last, undefined);
    } else if (!isGenuineHead(context.seals, head)) {
      await recordLoss(context, organizationId, await lastEntry(context, organizationId), head);
    } else if (head.sequence !== before?.sequence) {
      return head;
    } else {
      const last = await lastEntry(context, organizationId);
      const now = await audit_heads.findOne({ _id: organizationId });
      if (now?.seal !== head.seal) continue;
      if (last === undefined || last.sequence <= head.sequence) return head;
      if (last.sequence === head.sequence + 1) await advance(context, head, last);
      else await recordLoss(context, organizationId, last, head);
    }
  }
}

export async function lastEntry({ master }: Context, organizationId: string): Promise<AuditEntry | undefined> {
  const [last] = await master.audit.find(entriesBetween(organizationId, 0, BEYOND), { sort: { _id: -1 }, limit: 1 });
  return last;
}

/** Whether nothing can have been recorded yet: an organization's creation is, before anything else it does is ended. */
async function isNew(context: Context, organizationId: string, eventId: string, note: AuditNote): Promise<boolean> {
  if (note.action === 'organization.created' && eventId === organizationId) return true;
  const organization = await context.master.organizations.findOne({ _id: organizationId });
  return organization?.operation?.kind === 'create';
}

async function beginChain(context: Context, organizationId: string): Promise<void> {
  const head = sealHead(context.seals, {
    _id: organizationId,
    sequence: 0,
    entry: '',
    address_key: newAddressKey(),
  });
  await insertUnlessThere(context, head);
}

async function insertUnlessThere({ master }: Context, head: AuditHead): Promise<void> {
  try {
    await persist(() => master.audit_heads.insertOne(head));
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
  }
}

/** Goes on after a head that is not ours: an entry in the chain says so for good, and a new head is at it. */
async function recordLoss(
  context: Context,
  organizationId: string,
  last: AuditEntry | undefined,
  lost: AuditHead | undefined,
): Promise<void> {
  const { audit, audit_heads } = context.master;
  const address_key = newAddressKey();
  const after = { _id: organizationId, sequence: last?.sequence ?? 0, entry: last?.seal ?? '', address_key };
  const note: AuditNote = {
    action: 'audit.head_lost',
    actor: 'service',
    target: organizationId,
    address: null,
    request_id: context.request.id,
    at: context.clock(),
  };
  const entry = await follow(context, sealHead(context.seals, after), context.newId(), note, SUCCESS);
  try {
    await persist(() => audit.insertOne(entry));
  } catch (error) {
    if (!isStoreError(error, 'DuplicateKey')) throw error;
    return;
  }
  context.log('error', 'audit.head_lost', { organization_id: organizationId, sequence: entry.sequence });
  const head = headAt(context, after, entry);
  if (lost === undefined) await insertUnlessThere(context, head);
  else await persist(() => audit_heads.replaceOne({ _id: organizationId, ...asFound(lost) }, head));
}

/** What tells the head as it was found from any other; a forged one may have no seal to compare. */
const asFound = ({ seal }: AuditHead) => (typeof seal === 'string' ? { seal } : {});

/** Brings the head from where it was read up to an entry. When another did, or is further, there is nothing to do. */
async function advance(context: Context, head: AuditHead, entry: AuditEntry): Promise<void> {
  const { audit_heads } = context.master;
  const next = headAt(context, head, entry);
  const { matched } = await persist(() => audit_heads.replaceOne({ _id: head._id, seal: head.seal }, next));
  if (matched === 0) await catchUp(context, entry);
}

/** Brings the head up to an entry that was written, if it is behind it. */
async function catchUp(context: Context, entry: AuditEntry): Promise<void> {
  const { audit_heads } = context.master;
  for (;;) {
    const head = await audit_heads.findOne({ _id: entry.organization_id });
    if (head === undefined || !isGenuineHead(context.seals, head) || head.sequence !== entry.sequence - 1) return;
    const next = headAt(context, head, entry);
    const { matched } = await persist(() => audit_heads.replaceOne({ _id: head._id, seal: head.seal }, next));
    if (matched === 1) return;
  }
}

const headAt = (
  { seals }: Context,
  { _id, address_key }: Pick<AuditHead, '_id' | 'address_key'>,
  { sequence, seal }: AuditEntry,
): AuditHead => sealHead(seals, { _id, sequence, entry: seal, address_key });

/** Makes the addresses in an organization's chain unreadable for good. */
export async function forgetAddresses(context: Context, organizationId: string): Promise<void> {
  const { audit_heads } = context.master;
  for (;;) {
    const head = await audit_heads.findOne({ _id: organizationId });
    if (head === undefined || head.address_key === null) return;
    const { sequence, entry } = head;
    // A head that is not genuine stays so: what was tampered with must not be sealed anew.
    const forgetful = isGenuineHead(context.seals, head)
      ? sealHead(context.seals, { _id: organizationId, sequence, entry, address_key: null })
      : { ...head, address_key: null };
    const { matched } = await persist(() =>
      audit_heads.replaceOne({ _id: organizationId, ...asFound(head) }, forgetful),
    );
    if (matched === 1) return;
  }
}
