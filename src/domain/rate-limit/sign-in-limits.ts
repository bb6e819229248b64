/**
 * Who may try a password, decided before any is hashed, for accounts that exist and those that do not alike:
 *
 * - each address has a budget for all that it tries (LIMIT_LOGIN_ADDRESS);
 * - each account has one for each block of addresses, and ten times that for all of them together
 *   (LIMIT_LOGIN_ACCOUNT), drawn on by those who never signed in to it;
 * - an address or a device that signed in to the account has a budget of its own instead, which nobody elsewhere can
 *   use up, and which a sign-in makes whole again.
 *
 * The account is the email alone, whatever organization is named with it. A right password gives its own attempt back
 * and no other: anyone may create an organization for anybody's email, and sign in to that one.
 */
import type { AdminDocument } from '../admin/admin.ts';
import type { Context } from '../context.ts';
import { blockOf, subscriberOf } from './address.ts';
import type { Budget, Draw } from './budget.ts';
import { draw, reset, tooManyRequests } from './budget.ts';
import { deviceOf } from './device.ts';

/** How many times what a block has, all strangers have together. */
const EVERYWHERE = 10;

/** How long an address that signed in is known, and when it is noted again, in milliseconds. */
const KNOWN_MS = 90 * 24 * 60 * 60 * 1000;
const NOTED_AGAIN_MS = KNOWN_MS / 2;

/** Addresses that are known of an admin at most. */
const MAX_KNOWN = 16;

/** Addresses that an admin signed in from, as keyed hashes, with the time until which each is known. */
export type KnownAddresses = { readonly [address: string]: Date };

/** The accounts whose password may be tried. */
export type Admission = {
  readonly admitted: readonly AdminDocument[];
  /** To be called when the password was right for this one. Never throws. */
  succeeded(admin: AdminDocument): Promise<void>;
};

/**
 * Draws on the budget of the caller's address for signing in.
 * @throws {DomainError} too_many_requests
 */
export async function takeSignIn(context: Context): Promise<void> {
  const { address } = context.request;
  if (address === null) return;
  const limit = context.settings.limits.loginAddress;
  const drawn = await draw(context, { name: 'login-address', owner: subscriberOf(address), limit });
  if (!drawn.granted) throw tooManyRequests(drawn.seconds);
}

/**
 * Draws on the budgets of the accounts of an email, there or not.
 * @param admins the accounts that the sign-in may be for
 * @param marks what the device brings of earlier sign-ins: see device.ts
 * @throws {DomainError} too_many_requests when there is nobody left to try: also where there is no account at all
 */
export async function admit(
  context: Context,
  emailKey: string,
  admins: readonly AdminDocument[],
  marks: readonly string[] = [],
): Promise<Admission> {
  const { address } = context.request;
  if (address === null) return { admitted: admins, succeeded: async () => {} };
  const now = context.clock();
  /** Whom the admin's own budget is for, where there is one: the device before the address, which others may share. */
  const callerAs = (admin: AdminDocument): string | undefined => {
    const device = deviceOf(context, admin, marks);
    if (device !== undefined) return `device ${device}`;
    const isKnown = (admin.known_addresses?.[knownAs(context, admin, address)] ?? now) > now;
    return isKnown ? `address ${subscriberOf(address)}` : undefined;
  };
  const budgets = new Map<AdminDocument, Budget>();
  for (const admin of admins) {
    const caller = callerAs(admin);
    if (caller !== undefined) budgets.set(admin, ownBudget(context, admin, caller));
  }
  const strange = admins.filter((admin) => !budgets.has(admin));

  const own = await Promise.all(
    [...budgets].map(async ([admin, budget]) => [admin, await draw(context, budget)] as const),
  );
  const stranger = budgets.size > 0 && strange.length === 0 ? [] : await drawAsStranger(context, emailKey, address);
  const strangerMay = stranger.every(({ granted }) => granted);
  const admitted = [
    ...own.flatMap(([admin, { granted }]) => (granted ? [admin] : [])),
    ...(strangerMay ? strange : []),
  ];
  const waits = [...own.map(([, drawn]) => drawn), ...stranger].flatMap((drawn) =>
    drawn.granted ? [] : drawn.seconds,
  );
  // An account that is not there is tried all the same, by those who may.
  if (admitted.length === 0 && waits.length > 0) throw tooManyRequests(Math.min(...waits));
  return {
    admitted,
    succeeded: (admin) => settle(context, { admin, address, own: budgets.get(admin), draws: stranger }),
  };
}

/** First of the block, so that no block can use up more of what all have than its own. */
async function drawAsStranger(context: Context, emailKey: string, address: string): Promise<Draw[]> {
  const limit = context.settings.limits.loginAccount;
  const block = await draw(context, {
    name: 'login-account',
    owner: JSON.stringify([emailKey, blockOf(address)]),
    limit,
  });
  if (!block.granted) return [block];
  const everywhere = limit === null ? null : { ...limit, count: limit.count * EVERYWHERE };
  return [block, await draw(context, { name: 'login-everywhere', owner: emailKey, limit: everywhere })];
}

const ownBudget = (context: Context, admin: AdminDocument, caller: string): Budget => ({
  name: 'login-account',
  owner: JSON.stringify([admin._id, 'own', caller]),
  limit: context.settings.limits.loginAccount,
});

/** What a right password changes. None of it is worth refusing a sign-in for. */
async function settle(
  context: Context,
  {
    admin,
    address,
    own,
    draws,
  }: { admin: AdminDocument; address: string; own: Budget | undefined; draws: readonly Draw[] },
): Promise<void> {
  try {
    await Promise.all([
      ...draws.map((drawn) => (drawn.granted ? drawn.giveBack() : undefined)),
      own === undefined ? undefined : reset(context, own),
      noteAddress(context, admin, address),
    ]);
  } catch (error) {
    context.log('warn', 'throttle.not_settled', { request_id: context.request.id, error });
  }
}

async function noteAddress(context: Context, admin: AdminDocument, address: string): Promise<void> {
  const now = context.clock().getTime();
  const known = admin.known_addresses ?? {};
  const name = knownAs(context, admin, address);
  if ((known[name]?.getTime() ?? 0) > now + NOTED_AGAIN_MS) return;
  const others = Object.entries(known)
    .filter(([other]) => other !== name)
    .sort(([, one], [, other]) => other.getTime() - one.getTime());
  const dropped = others.filter(([, until], index) => index >= MAX_KNOWN - 1 || until.getTime() <= now);
  await context.master.admins.updateOne(
    { _id: admin._id },
    {
      $set: { [`known_addresses.${name}`]: new Date(now + KNOWN_MS) },
      ...(dropped.length > 0 && {
        $unset: Object.fromEntries(dropped.map(([other]) => [`known_addresses.${other}`, true as const])),
      }),
    },
  );
}

/** A letter first: a path of an update names no position in a list. */
const knownAs = (context: Context, admin: AdminDocument, address: string): string =>
  `a${context.keyedHash(`known ${admin._id} ${subscriberOf(address)}`).slice(0, 32)}`;
