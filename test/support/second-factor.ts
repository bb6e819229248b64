import { Secret, TOTP } from 'otpauth';
import { expect } from 'vitest';
import type { Answer, Caller, SignedInTenant } from './caller.ts';

const PERIOD_MS = 30_000;

/** What an authenticator app shows for a secret: now, or so many steps from now. */
export const codeOf = (secret: string, { at = Date.now(), steps = 0 } = {}): string =>
  new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: at + steps * PERIOD_MS });

/** Whether the codes around a time are all different: a code of one step is then no other's by chance. */
export const hasDistinctCodes = (secret: string, at = Date.now()): boolean =>
  new Set([-2, -1, 0, 1, 2, 3].map((steps) => codeOf(secret, { at, steps }))).size === 6;

/** Sets up the second factor of a tenant's owner, with the present code. @returns the answer, and the secret */
export async function setUpSecondFactor(
  caller: Caller,
  { token, password }: SignedInTenant,
): Promise<Answer & { readonly secret: string }> {
  let secret: string;
  do {
    const begun = await caller.request('POST', '/admin/second-factor', { token, body: { current_password: password } });
    expect(begun.status, begun.text).toBe(200);
    secret = begun.json.secret;
  } while (!hasDistinctCodes(secret));
  const body = { code: codeOf(secret) };
  return { ...(await caller.request('POST', '/admin/second-factor/confirm', { token, body })), secret };
}
