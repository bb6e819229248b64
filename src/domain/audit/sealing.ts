/** What is sealed, and over which of its fields: every one that is stored, unless it is named here as open. */
import type { AuditCheckpoint, AuditEntry, AuditNote, PendingAudit, Sealed, Seals } from './schema.ts';

type Form = {
  readonly kind: string;
  readonly fields: readonly string[];
  /** Fields that the seal is not over. */
  readonly open?: readonly string[];
};

const NOTE_FIELDS = [
  'organization_id',
  'event_id',
  'action',
  'actor',
  'target',
  'address',
  'request_id',
  'outcome',
  'count',
  'at',
];

const NOTE: Form = { kind: 'note', fields: NOTE_FIELDS };
const ENTRY: Form = { kind: 'entry', fields: ['_id', 'sequence', ...NOTE_FIELDS, 'previous'] };
const CHECKPOINT: Form = { kind: 'checkpoint', fields: ['_id', 'sequence', 'entry'], open: ['due_at'] };

type Content = { readonly [field: string]: unknown };

/** Every field in its order. A time does not look like the text of a time. */
const textOf = ({ kind, fields }: Form, key: string, content: Content): string =>
  JSON.stringify([
    kind,
    key,
    ...fields.map((field) => {
      const value = content[field];
      return value instanceof Date ? { time: value.getTime() } : value;
    }),
  ]);

function withSeal<T extends object>(seals: Seals, content: T, text: (key: string) => string): T & Sealed {
  const key = seals.current;
  const seal = seals.seal(key, text(key));
  if (seal === undefined) throw new Error('The current key of the audit log is not there.');
  return { ...content, key, seal };
}

const isSealed = (seals: Seals, { key, seal }: Content, text: (key: string) => string): boolean =>
  typeof key === 'string' && seals.seal(key, text(key)) === seal;

const sealer =
  <T extends Sealed>(form: Form) =>
  (seals: Seals, content: Omit<T, 'key' | 'seal'>): T =>
    withSeal(seals, content, (key) => textOf(form, key, content)) as unknown as T;

/** Whether it is as it was made: no field altered, added or removed. */
const checker =
  <T extends Sealed>({ open = [], ...form }: Form) =>
  (seals: Seals, found: T): boolean => {
    const content: Content = Object(found);
    const expected = [...form.fields, ...open, 'key', 'seal'];
    return (
      Object.keys(content).length === expected.length &&
      expected.every((field) => Object.hasOwn(content, field)) &&
      isSealed(seals, content, (key) => textOf(form, key, content))
    );
  };

export const sealNote = sealer<AuditNote>(NOTE);
export const isGenuineNote = checker<AuditNote>(NOTE);
export const sealEntry = sealer<AuditEntry>(ENTRY);
export const isGenuineEntry = checker<AuditEntry>(ENTRY);
export const sealCheckpoint = sealer<AuditCheckpoint>(CHECKPOINT);
export const isGenuineCheckpoint = checker<AuditCheckpoint>(CHECKPOINT);

const textOfPending =
  (adminId: string, notes: readonly AuditNote[]) =>
  (key: string): string =>
    JSON.stringify(['pending', key, adminId, ...notes.map(({ seal }) => seal)]);

/** Seals notes together with whose they are: none can be added or removed. */
export const sealPending = (seals: Seals, adminId: string, notes: readonly AuditNote[]): PendingAudit =>
  withSeal(seals, { notes }, textOfPending(adminId, notes));

/** Whether these notes, all of them and no others, were made to wait on this admin. */
export const isGenuinePending = (seals: Seals, adminId: string, pending: PendingAudit): boolean =>
  Array.isArray(pending?.notes) &&
  pending.notes.every((note) => isGenuineNote(seals, note)) &&
  isSealed(seals, pending, textOfPending(adminId, pending.notes));
