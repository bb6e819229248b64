/**
 * Which accounts' passwords a sign-in may try. It is decided before any password is hashed, and in the same way for
 * accounts that exist and accounts that do not:
 *
 * - each address has a budget for all accounts (LIMIT_LOGIN_ADDRESS): see by-address.ts;
 * - each account has a budget for each block of addresses, and one of ten times that size for all blocks together
 *   (LIMIT_LOGIN_ACCOUNT). Callers that the account does not recognize share them;
 * - an address or a device that signed in to the account before has a budget of its own instead. Nobody else can use
 *   it up, and a correct password resets it.
 *
 * In the shared budgets the account is the email alone, without the organization that is named. A correct password
 * refunds its own attempt there and no other: anyone may create an organization for another's email, and sign in to it.
 */
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';
import { blockOf, subscriberOf } from './address.ts';
import type { Budget, BudgetContext, Consumed } from './budget.ts';
import { consume, reset, tooManyRequests } from './budget.ts';
import { recognizeDevice } from './device-cookie.ts';

/** The budget of all unrecognized callers together, as a multiple of one block's. */
const EVERYWHERE = 10;

/** How long an address that signed in is recognized, and when it is noted again, in milliseconds. */
const KNOWN_MS = 90 * 24 * 60 * 60 * 1000;
const NOTED_AGAIN_MS = KNOWN_MS / 2;

/** The addresses that are kept of an admin at most. */
const MAX_KNOWN = 16;

/** The accounts whose password may be tried. */
export type AccountLimits = {
  readonly admitted: readonly AdminDocument[];
  /** To be called when the password of this account was correct. Never throws. */
  succeeded(admin: AdminDocument): Promise<void>;
};

/**
 * Consumes one attempt of each budget that the accounts of an email have for this caller.
 * @param input.emailKey the email, which may belong to no account
 * @param input.admins the accounts that the sign-in may be for
 * @param input.deviceCookies the cookies that the device has from earlier sign-ins: see device-cookie.ts
 * @throws {DomainError} too_many_requests when no account may be tried; busy
 */
export async function limitByAccount(
  context: BudgetContext,
  input: {
    readonly emailKey: string;
    readonly admins: readonly AdminDocument[];
    readonly deviceCookies?: readonly string[] | undefined;
  },
): Promise<AccountLimits> {
  const { emailKey, admins, deviceCookies = [] } = input;
  const { address } = context.request;
  if (address === null) return { admitted: admins, succeeded: async () => {} };
  const ownBudgets = new Map<AdminDocument, Budget>();
  for (const admin of admins) {
    const budget = ownBudget(context, admin, address, deviceCookies);
    if (budget !== undefined) ownBudgets.set(admin, budget);
  }
  const unrecognized = admins.filter((admin) => !ownBudgets.has(admin));
  const needsShared = unrecognized.length > 0 || ownBudgets.size === 0;

  const [own, shared] = await Promise.all([
    Promise.all([...ownBudgets].map(async ([admin, budget]) => [admin, await consume(context, budget)] as const)),
    needsShared ? consumeShared(context, emailKey, address) : [],
  ]);
  const admitted = own.flatMap(([admin, { granted }]) => (granted ? [admin] : []));
  if (shared.every(({ granted }) => granted)) admitted.push(...unrecognized);
  const waits = [...own.map(([, consumed]) => consumed), ...shared].flatMap((consumed) =>
    consumed.granted ? [] : consumed.seconds,
  );
  if (admitted.length === 0 && waits.length > 0) throw tooManyRequests(Math.min(...waits));
  return {
    admitted,
    succeeded: async (admin) => {
      const own = ownBudgets.get(admin);
      try {
        await Promise.all([
          ...shared.map((consumed) => (consumed.granted ? consumed.refund() : undefined)),
          own && reset(context, own),
          noteAddress(context, admin, address),
        ]);
      } catch (error) {
        context.log('warn', 'rate_limit.not_updated', { request_id: context.request.id, error });
      }
    },
  };
}

/** The block's budget first: then no block can consume more of the budget for all than its own. */
async function consumeShared(context: BudgetContext, emailKey: string, address: string): Promise<Consumed[]> {
  const limit = context.settings.limits.loginAccount;
  const owner = JSON.stringify([emailKey, blockOf(address)]);
  const block = await consume(context, { name: 'login-account', owner, limit });
  if (!block.granted) return [block];
  const everywhere = limit === null ? null : { ...limit, count: limit.count * EVERYWHERE };
  return [block, await consume(context, { name: 'login-everywhere', owner: emailKey, limit: everywhere })];
}

/**
 * The budget that the admin has for this caller alone, if the caller is recognized. A device comes before an address,
 * which others may share.
 */
function ownBudget(
  context: BudgetContext,
  admin: AdminDocument,
  address: string,
  deviceCookies: readonly string[],
): Budget | undefined {
  const device = recognizeDevice(context, admin, deviceCookies);
  const knownUntil = admin.known_addresses?.[knownAs(context, admin, address)];
  const isKnown = knownUntil !== undefined && knownUntil > context.clock();
  if (device === undefined && !isKnown) return undefined;
  const caller = device === undefined ? `address ${subscriberOf(address)}` : `device ${device}`;
  return {
    name: 'login-account',
    owner: JSON.stringify([admin._id, 'own', caller]),
    limit: context.settings.limits.loginAccount,
  };
}

async function noteAddress(context: BudgetContext, admin: AdminDocument, address: string): Promise<void> {
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

/** It starts with a letter: a path of an update names no position in a list. */
const knownAs = ({ keyedHash }: Needs<'keyedHash'>, admin: AdminDocument, address: string): string =>
  `a${keyedHash(`known ${admin._id} ${subscriberOf(address)}`).slice(0, 32)}`;
