/** A second factor in force: one-time codes by the clock (TOTP, RFC 6238), and recovery codes in their place. */
export type SecondFactor = {
  /** The admin's version before it was put in force: no other second factor of the admin has the same. */
  readonly version: number;
  /** The secret that the codes are made of, encrypted and bound to the admin: see encryption in context.ts. */
  readonly secret: string;
  /** The time step of the last code that was used: codes of it, and from before, are not good any more. */
  readonly last_step: number;
  /** The request that used that code: its write is made once, however often it is tried. */
  readonly last_use: string;
  /** By their keyed hashes: whether each is still good. */
  readonly recovery_codes: { readonly [hash: string]: boolean };
};

/** A secret that the admin has, and that no code was given for yet. */
export type WaitingSecondFactor = { readonly secret: string; readonly expires_at: Date };

/** Whether the admin signs in with a second factor. */
export const hasSecondFactor = (admin: { readonly second_factor?: SecondFactor | null }): boolean =>
  (admin.second_factor ?? null) !== null;

/** How many recovery codes are still good; undefined for an admin without a second factor. */
export const recoveryCodesLeft = (admin: { readonly second_factor?: SecondFactor | null }): number | undefined =>
  admin.second_factor ? Object.values(admin.second_factor.recovery_codes ?? {}).filter(Boolean).length : undefined;
