import { Secret, TOTP } from 'otpauth';
import { randomHex } from '../secret.ts';

/** As long as the hash of SHA-1 (RFC 4226, section 4, R6). */
const SECRET_BYTES = 20;

/** What every authenticator app takes. */
const FORM = { algorithm: 'SHA1', digits: 6, period: 30 } as const;

/** The steps before and after the present one whose codes are good: clocks differ, and people type. */
const WINDOW = 1;

/** A new secret, in base 32, as authenticator apps take it. */
export const newTotpSecret = (): string => Secret.fromHex(randomHex(SECRET_BYTES)).base32;

/** The address that a front end shows as a QR code. */
export const totpUri = (secret: string, label: string): string =>
  new TOTP({ ...FORM, issuer: 'Tenantry', label, secret: Secret.fromBase32(secret) }).toString();

/** The time step whose code this is, of those that are good at the time; undefined: of none. */
export function totpStep(secret: string, code: string, at: Date): number | undefined {
  const totp = new TOTP({ ...FORM, secret: Secret.fromBase32(secret) });
  const timestamp = at.getTime();
  const delta = totp.validate({ token: code, timestamp, window: WINDOW });
  return delta === null ? undefined : totp.counter({ timestamp }) + delta;
}
