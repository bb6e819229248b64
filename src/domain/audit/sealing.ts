/** What is sealed: every field that is stored. What says when a checkpoint is due is no part of it. */
import type { AuditCheckpoint, AuditEntry, AuditNote, PendingAudit, Sealed, Seals } from './schema.ts';

type Unsealed<T> = Omit<T, keyof Sealed>;

/** Fields in the order of their names. A time does not look like the text of a time. */
function textOf(kind: string, key: string, fields: object): string {
  const sorted = Object.entries(fields).sort(([one], [other]) => (one < other ? -1 : 1));
  const said = sorted.map(([name, value]) => [name, value instanceof Date ? { time: value.getTime() } : value]);
  return JSON.stringify([kind, key, said]);
}

function sealOf(seals: Seals, kind: string, fields: object): Sealed {
  const key = seals.current;
  const seal = seals.seal(key, textOf(kind, key, fields));
  if (seal === undefined) throw new Error('The current key of the audit log is not there.');
  return { key, seal };
}

/** Only such values are sealed, and no two of them have the same text. Other values of a database may look like one. */
const isSealable = (value: unknown): boolean =>
  value === null || typeof value === 'string' || Number.isFinite(value) || value instanceof Date;

/** Whether it is as it was made: no field altered, added or removed. */
function isGenuine(seals: Seals, kind: string, found: Sealed): boolean {
  const { key, seal, ...fields } = Object(found);
  const isOfForm = [key, seal].every((text) => typeof text === 'string') && Object.values(fields).every(isSealable);
  return isOfForm && seals.seal(key, textOf(kind, key, fields)) === seal;
}

export const sealNote = (seals: Seals, note: Unsealed<AuditNote>): AuditNote => ({
  ...note,
  ...sealOf(seals, 'note', note),
});

export const isGenuineNote = (seals: Seals, note: AuditNote): boolean => isGenuine(seals, 'note', note);

export const sealEntry = (seals: Seals, entry: Unsealed<AuditEntry>): AuditEntry => ({
  ...entry,
  ...sealOf(seals, 'entry', entry),
});

export const isGenuineEntry = (seals: Seals, entry: AuditEntry): boolean => isGenuine(seals, 'entry', entry);

export const sealCheckpoint = (
  seals: Seals,
  { due_at, oldest_at, ...checkpoint }: Unsealed<AuditCheckpoint>,
): AuditCheckpoint => ({ ...checkpoint, ...sealOf(seals, 'checkpoint', checkpoint), due_at, oldest_at });

export const isGenuineCheckpoint = (
  seals: Seals,
  { due_at: _, oldest_at: __, ...checkpoint }: AuditCheckpoint,
): boolean => isGenuine(seals, 'checkpoint', checkpoint);

/** What a seal of notes is over: their own seals, and whose they are. */
const waiting = (adminId: string, notes: readonly AuditNote[]) => ({
  notes: JSON.stringify([adminId, ...notes.map(({ seal }) => seal)]),
});

/** Seals notes together with whose they are: none can be added or removed. */
export const sealPending = (seals: Seals, adminId: string, notes: readonly AuditNote[]): PendingAudit => ({
  notes,
  ...sealOf(seals, 'pending', waiting(adminId, notes)),
});

/** Whether these notes, all of them and no others, wait on this admin. */
export const isGenuinePending = (seals: Seals, adminId: string, pending: PendingAudit): boolean =>
  Array.isArray(pending?.notes) &&
  pending.notes.every((note) => isGenuineNote(seals, note)) &&
  isGenuine(seals, 'pending', { ...pending, ...waiting(adminId, pending.notes) });

/**
 * Seals the notes of a change that is still to be made of an admin. They do not pass for notes that wait on the admin: a
 * change that is refused is never recorded.
 */
export const sealChange = (seals: Seals, adminId: string, notes: readonly AuditNote[]): PendingAudit =>
  sealPending(seals, changeOf(adminId), notes);

export const isGenuineChange = (seals: Seals, adminId: string, change: PendingAudit): boolean =>
  isGenuinePending(seals, changeOf(adminId), change);

const changeOf = (adminId: string) => `change of ${adminId}`;
