import { expect, test } from 'vitest';
import type { AuditNote, PendingAudit } from '../../src/domain/audit/schema.ts';
import { isGenuineNote, isGenuinePending, sealNote, sealPending } from '../../src/domain/audit/sealing.ts';
import { createSeals } from '../../src/platform/seals.ts';
import { SECRET } from '../support/audit-world.ts';

const ADMIN = 'the-admin';

const seals = createSeals([SECRET]);

const noteOf = (event_id: string): AuditNote =>
  sealNote(seals, {
    organization_id: 'the-organization',
    event_id,
    action: 'admin.email_changed',
    actor: ADMIN,
    target: ADMIN,
    address: null,
    request_id: 'the-request',
    outcome: 'success',
    count: 1,
    at: new Date(1_800_000_000_000),
  });

const first = noteOf('first');
const second = noteOf('second');
const pending = sealPending(seals, ADMIN, [first, second]);
const { seal: _seal, ...unsealed } = pending;

test('a note is genuine as it was sealed, and notes that wait are, of the admin they were sealed for', () => {
  expect(isGenuineNote(seals, first)).toBe(true);
  expect(isGenuinePending(seals, ADMIN, pending)).toBe(true);
  expect(isGenuinePending(seals, ADMIN, sealPending(seals, ADMIN, []))).toBe(true);
  expect(isGenuinePending(seals, 'another-admin', pending)).toBe(false);
});

// On the left what the database may hold, beyond what the service writes: the driver gives it as such an object.
test.each<[string, Record<string, unknown>]>([
  ['a time by an object that holds it', { at: { time: first.at.getTime() } }],
  ['a time by its text', { at: first.at.toISOString() }],
  ['a time by its number', { at: first.at.getTime() }],
  ['a text by a binary value of the same JSON', { event_id: { toJSON: () => first.event_id } }],
  ['a text by an array of it', { event_id: [first.event_id] }],
  ['a number by its text', { count: '1' }],
  ['null by a number that JSON cannot hold', { address: Number.NaN }],
  ['null by a value of no type', { address: undefined }],
])('a note is not genuine with %s in its place', (_name, fields) => {
  const found: object = { ...first, ...fields };
  expect(isGenuineNote(seals, found as AuditNote)).toBe(false);
});

test.each<[string, unknown]>([
  ['an unknown key', { ...pending, more: 1 }],
  ['an unknown key of the name of what is sealed', { ...pending, adminId: ADMIN }],
  ['no seal', unsealed],
  ['a seal of no text', { ...pending, seal: null }],
  ['the seal of another time', { ...pending, seal: sealPending(seals, ADMIN, [first]).seal }],
  ['a changed note', { ...pending, notes: [{ ...first, actor: 'somebody' }, second] }],
  ['a note with another time of the same text', { ...pending, notes: [{ ...first, at: { time: +first.at } }, second] }],
  ['the first note removed', { ...pending, notes: [second] }],
  ['the last note removed', { ...pending, notes: [first] }],
  ['all notes removed', { ...pending, notes: [] }],
  ['no notes', { ...pending, notes: undefined }],
  ['a note added', { ...pending, notes: [first, second, noteOf('third')] }],
  ['a note twice', { ...pending, notes: [first, first, second] }],
  ['notes in another order', { ...pending, notes: [second, first] }],
  ['nothing', null],
])('notes that wait are not genuine with %s', (_name, found) => {
  expect(isGenuinePending(seals, ADMIN, found as PendingAudit)).toBe(false);
});
