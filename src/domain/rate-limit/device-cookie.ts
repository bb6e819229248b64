/**
 * Device cookies (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"): a sign-in marks the device that it
 * came from, wherever that goes. A mark is good for one account, says nothing of it, and grants nothing but a budget
 * of the device's own. It is signed, and kept nowhere.
 */
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';

/** How long a mark is good, in seconds. */
export const DEVICE_SECONDS = 90 * 24 * 60 * 60;

/** Marks of one request that are looked at: more accounts than one device signs in to. */
const MAX_MARKS = 16;

/** A mark for the caller to keep under a name, which tells apart the accounts that one device signs in to. */
export type DeviceMark = { readonly name: string; readonly value: string };

/** What the mark's name begins with, whatever the account. */
export const DEVICE_PREFIX = 'tenantry_device_';

/** Marks the device that this admin has just signed in from. */
export function markDevice(context: Context, admin: AdminDocument): DeviceMark {
  const ends = Math.floor(context.clock().getTime() / 1000) + DEVICE_SECONDS;
  const marked = `${ends}.${context.newId()}`;
  const name = `${DEVICE_PREFIX}${context.keyedHash(`device of ${admin._id}`).slice(0, 16)}`;
  return { name, value: `${marked}.${signatureOf(context, admin, marked)}` };
}

/** The device's own id, where one of the marks is this admin's, whole and in force. */
export function deviceOf(context: Context, admin: AdminDocument, marks: readonly string[]): string | undefined {
  const now = context.clock().getTime() / 1000;
  for (const mark of marks.slice(0, MAX_MARKS)) {
    const [ends = '', id = '', signature = ''] = mark.split('.', 3);
    const expected = signatureOf(context, admin, `${ends}.${id}`);
    // Hashed again, so that the time of the comparison says nothing of how much was right.
    if (context.keyedHash(signature) === context.keyedHash(expected) && Number(ends) > now) return id;
  }
  return undefined;
}

const signatureOf = (context: Context, admin: AdminDocument, marked: string): string =>
  context.keyedHash(`device ${admin._id} ${marked}`);
