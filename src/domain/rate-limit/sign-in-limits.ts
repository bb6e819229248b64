/**
 * Which accounts' passwords a sign-in may try. It is decided before any password is hashed, and in the same way for
 * accounts that exist and accounts that do not:
 *
 * - each address has a budget for all accounts (LIMIT_LOGIN_ADDRESS): see by-address.ts;
 * - each account has a budget for each block of addresses, one of four times that size for each neighbourhood of IPv6,
 *   and one of ten times that size for all blocks together (LIMIT_LOGIN_ACCOUNT). Callers that the account does not
 *   recognize share them. Only the first one's window grows: the others can be used up from elsewhere;
 * - an address or a device that signed in to the account before, changed its password or verified its email has a budget
 *   of its own instead, until the password is changed. A correct password resets it. Nobody else can use up a device's;
 *   an address's is used up by all who share the address and have no device cookie.
 *
 * The answer's headers tell of one budget of the account, by one name, whichever it is.
 *
 * In the shared budgets the account is the email alone, without the organization that is named. A correct password
 * refunds its own attempt there and no other: anyone may create an organization for another's email, and sign in to it.
 */
import type { AdminDocument } from '../admin/schema.ts';
import type { Needs } from '../context.ts';
import { blockOf, subscriberOf } from './address.ts';
import type { Budget, BudgetContext } from './budget.ts';
import { consume, consumeInTurn, multiplied, reset, tooManyRequests } from './budget.ts';
import { neighbourhoodBudgets } from './by-address.ts';
import type { DeviceCookie, Recognizing } from './device-cookie.ts';
import { createDeviceCookie, passwordOf, recognizeDevice } from './device-cookie.ts';

/** What headers call the budget of the account, the caller's own or the block's. */
const ACCOUNT = 'login-account';

/** The budget of all unrecognized callers together, as a multiple of one block's. */
const EVERYWHERE = 10;

/** How long an address that signed in is recognized, and when it is noted again, in milliseconds. */
const KNOWN_MS = 90 * 24 * 60 * 60 * 1000;
const NOTED_AGAIN_MS = KNOWN_MS / 2;

/** The addresses that are kept of an admin at most. */
const MAX_KNOWN = 16;

/**
 * Consumes one attempt of each budget that the accounts of an email have for this caller.
 * @param input.emailKey the email, which may belong to no account
 * @param input.admins the accounts that the sign-in may be for
 * @param input.throttled called when no account may be tried
 * @returns the accounts whose password may be tried, and what is to be called once, with those whose password was
 *   correct: it never throws
 * @throws {DomainError} too_many_requests when no account may be tried; busy
 */
export async function limitByAccount(
  context: BudgetContext,
  input: {
    readonly emailKey: string;
    readonly admins: readonly AdminDocument[];
    readonly throttled: () => Promise<void>;
  },
) {
  const { emailKey, admins } = input;
  const { address } = context.request;
  if (address === null) return { admitted: admins, succeeded: async () => {} };
  const ownBudgets = new Map<AdminDocument, Budget>();
  for (const admin of admins) {
    const budget = ownBudget(context, admin);
    if (budget !== undefined) ownBudgets.set(admin, budget);
  }
  // The same work for an account that does not exist.
  if (admins.length === 0) ownBudget(context, { _id: '' });
  const unrecognized = admins.filter((admin) => !ownBudgets.has(admin));
  const needsShared = unrecognized.length > 0 || ownBudgets.size === 0;

  const [own, shared] = await Promise.all([
    Promise.all([...ownBudgets].map(async ([admin, budget]) => [admin, await consume(context, budget)] as const)),
    needsShared ? consumeInTurn(context, sharedBudgets(context, emailKey, address)) : [],
  ]);
  const admitted = own.flatMap(([admin, { granted }]) => (granted ? [admin] : []));
  if (shared.every(({ granted }) => granted)) admitted.push(...unrecognized);
  const waits = [...own.map(([, consumed]) => consumed), ...shared].flatMap((consumed) =>
    consumed.granted ? [] : consumed.seconds,
  );
  if (admitted.length === 0 && waits.length > 0) {
    await input.throttled();
    throw tooManyRequests(Math.min(...waits));
  }
  return {
    admitted,
    succeeded: async (admins: readonly AdminDocument[]) => {
      const resets = admins.flatMap((admin) => ownBudgets.get(admin) ?? []).map((budget) => reset(context, budget));
      await writeOrLog(context, [
        ...shared.map((consumed) => (consumed.granted ? consumed.refund() : undefined)),
        ...resets,
        ...admins.map((admin) => noteAddress(context, admin, address)),
      ]);
    },
  };
}

/** The smaller one first: then no block and no neighbourhood can consume more of the larger ones than its own. */
function sharedBudgets({ settings }: BudgetContext, emailKey: string, address: string): Budget[] {
  const limit = settings.limits.loginAccount;
  return [
    { name: ACCOUNT, owner: JSON.stringify([emailKey, blockOf(address)]), limit, grows: true },
    ...neighbourhoodBudgets(address, { name: ACCOUNT, limit, account: emailKey }),
    { name: 'login-everywhere', owner: emailKey, limit: multiplied(limit, EVERYWHERE), silent: true },
  ];
}

/**
 * Makes the caller's address known to an admin who has shown to be its owner by a mailed token, or has changed the
 * password, as a sign-in does. Never throws.
 * @returns the cookie that makes the device known
 */
export async function recognizeCaller(
  context: BudgetContext & Needs<'newId'>,
  admin: AdminDocument,
): Promise<DeviceCookie> {
  const { address } = context.request;
  if (address !== null) await writeOrLog(context, [noteAddress(context, admin, address)]);
  return createDeviceCookie(context, admin);
}

/** Nothing is refused because one of these writes failed. */
async function writeOrLog(
  { log, request }: BudgetContext,
  writes: readonly (Promise<void> | undefined)[],
): Promise<void> {
  try {
    await Promise.all(writes);
  } catch (error) {
    log('warn', 'rate_limit.not_updated', { request_id: request.id, error });
  }
}

/** The budget that the admin has for this caller alone, if the caller is recognized. */
function ownBudget(context: BudgetContext, admin: Recognizing): Budget | undefined {
  const caller = recognize(context, admin);
  if (caller === undefined) return undefined;
  return {
    name: ACCOUNT,
    owner: JSON.stringify([admin._id, 'own', caller]),
    limit: context.settings.limits.loginAccount,
    grows: true,
  };
}

/**
 * The device or address of the caller that the admin is known by; undefined when the caller is not recognized. A device
 * comes before an address, which others may share.
 */
export function recognize(context: Needs<'clock' | 'keyedHash' | 'request'>, admin: Recognizing): string | undefined {
  const device = recognizeDevice(context, admin);
  const address = context.request.address ?? '';
  const knownUntil = admin.known_addresses?.[knownAs(context, admin, address)];
  if (device !== undefined) return `device ${device}`;
  return knownUntil !== undefined && knownUntil > context.clock() ? `address ${subscriberOf(address)}` : undefined;
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
const knownAs = ({ keyedHash }: Needs<'keyedHash'>, admin: Recognizing, address: string): string =>
  `a${keyedHash(`known ${passwordOf(admin)} ${subscriberOf(address)}`).slice(0, 32)}`;
