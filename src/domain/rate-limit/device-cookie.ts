/**
 * Device cookies (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"): a sign-in gives the device a signed
 * cookie. The cookie is good for one account and one password of it, and names neither. It grants nothing but a
 * budget of the device's own. The service does not store it.
 */
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';

/** How long a cookie is good, in seconds. */
export const DEVICE_SECONDS = 90 * 24 * 60 * 60;

/** The cookies of one request that are checked at most: more accounts than one device signs in to. */
const MAX_COOKIES = 16;

/** A cookie for one account. The name tells apart the accounts that one device signs in to. */
export type DeviceCookie = { readonly name: string; readonly value: string };

/** What every cookie's name begins with. */
export const DEVICE_PREFIX = 'tenantry_device_';

/** What an account recognizes devices and addresses by. */
export type Recognizing = Pick<AdminDocument, '_id' | 'password_id' | 'known_addresses'>;

/** The account until its password is changed: whoever had the earlier one is not known to it any more. */
export const passwordOf = ({ _id, password_id }: Recognizing): string =>
  password_id === undefined ? _id : `${_id} ${password_id}`;

/** A cookie for the device that this admin has just signed in from. */
export function createDeviceCookie(context: Needs<'clock' | 'keyedHash' | 'newId'>, admin: Recognizing): DeviceCookie {
  const ends = Math.floor(context.clock().getTime() / 1000) + DEVICE_SECONDS;
  const signed = `${ends}.${context.newId()}`;
  const name = `${DEVICE_PREFIX}${context.keyedHash(`device of ${admin._id}`).slice(0, 16)}`;
  return { name, value: `${signed}.${signatureOf(context, admin, signed)}` };
}

/** The device's own id, when one of the cookies is valid for this admin. */
export function recognizeDevice(
  context: Needs<'clock' | 'keyedHash' | 'request'>,
  admin: Recognizing,
): string | undefined {
  const now = context.clock().getTime() / 1000;
  for (const cookie of (context.request.deviceCookies ?? []).slice(0, MAX_COOKIES)) {
    const [ends = '', id = '', signature = ''] = cookie.split('.', 3);
    const expected = signatureOf(context, admin, `${ends}.${id}`);
    // Both are hashed again, so that the time of the comparison does not tell how much of the signature is correct.
    if (context.keyedHash(signature) === context.keyedHash(expected) && Number(ends) > now) return id;
  }
  return undefined;
}

const signatureOf = ({ keyedHash }: Needs<'keyedHash'>, admin: Recognizing, signed: string): string =>
  keyedHash(`device ${passwordOf(admin)} ${signed}`);
