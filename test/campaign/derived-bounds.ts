import { parseConfig } from '../../src/config.ts';
import { NEIGHBOURHOOD } from '../../src/domain/rate-limit/address.ts';
import type { Limit } from '../../src/domain/rate-limit/schema.ts';

/** What attackers did meanwhile, and from where. */
export type Attack = {
  readonly ms: number;
  readonly addresses: number;
  /** Whether the addresses are of one IPv6 /48. */
  readonly isNeighbourhood: boolean;
  /** The sign-ins that an owner made meanwhile, each from another address. */
  readonly ownerSignIns: number;
};

/** Mails that one mailbox gets in an hour: of each of the three classes, as many as LIMIT_MAIL_RECIPIENT. */
const MAIL_CLASSES = 3;

/** Accounts that get a token when one asks for a new password, and that a sign-in is counted for. */
const ACCOUNTS = 8;

/** Counters of the failures of one account that strangers cause: 8 for each of two kinds. A third needs the password. */
const FAILURE_COUNTERS = 16;

/** Changes of an organization's log that the campaign makes itself: its creation, its verification. */
const PREPARED = 8;

/** The sessions that an admin has, and those of sign-ins that pass the bound together. */
const SESSIONS = 50;

const { LIMIT_LOGIN_ADDRESS, LIMIT_CREATE, LIMIT_MAIL, LIMIT_MAIL_RECIPIENT, LIMIT_CHANGE } = parseConfig({});

/** The admins whose changes one address has together. */
const ADMINS = 4;

/** What a budget grants in a time: a window of it begins with an attempt, so one more than the time has room for. */
const granted = (limit: Limit | null, ms: number): number =>
  limit === null ? Number.POSITIVE_INFINITY : limit.count * (1 + Math.floor(ms / 1000 / limit.seconds));

/**
 * How many documents each master collection may have more after an attack, from the default limits. Each budget is of
 * an address; a whole /48 has four times as much. In short, of what one address or /48 is granted:
 *
 * - C creates: an organization, or the stub of one; its first admin, checkpoint, two claims, a mail, a key;
 * - S sign-ins: a session, or a count of a failure; an entry that it began, and at most three that it ended;
 * - M requests for mail: each waits itself, and brings a token to eight accounts at most;
 * - H changes: a claim on a name and one on a collection, three entries, two notices, an admin who accepts;
 * - the tokens of those mails: two entries and a notice each.
 */
export function documentBounds({ ms, addresses, isNeighbourhood, ownerSignIns }: Attack): Record<string, number> {
  const times = isNeighbourhood ? NEIGHBOURHOOD : 1;
  const [S, C, M, ofAdmin] = [LIMIT_LOGIN_ADDRESS, LIMIT_CREATE, LIMIT_MAIL, LIMIT_CHANGE].map(
    (limit) => times * granted(limit, ms),
  ) as [number, number, number, number];
  const H = ADMINS * ofAdmin;
  const networks = addresses + (isNeighbourhood ? 1 : 0);
  const tokens = C + ACCOUNTS * M + 2 * H;
  const mails = tokens + M + tokens;
  return {
    organizations: C,
    admins: C + H,
    claims: 2 * C + 2 * H,
    sessions: S + Math.min(SESSIONS, ownerSignIns),
    idempotency_keys: C,
    // Seven of each network; of an email three, an own one of each account; of an admin, an organization, a session; of a
    // mailbox, and of a token.
    budgets: 7 * networks + 4 * S + 3 * H + 2 * mails + 4 * ownerSignIns,
    audit: 2 * C + 4 * S + 3 * H + M + 2 * tokens + ownerSignIns,
    audit_checkpoints: C,
    sign_in_failures: S + H,
    mails,
  };
}

/** Mails to one mailbox in so long. */
export const mailBound = (ms: number): number => MAIL_CLASSES * granted(LIMIT_MAIL_RECIPIENT, ms);

/** Entries in an hour in the log of an organization of one admin, of which strangers know the email. */
export const victimAuditBound = (ownerSignIns: number): number => ownerSignIns + FAILURE_COUNTERS + PREPARED;

/** Sessions of one admin, when so many sign-ins come at once. */
export const sessionBound = (atOnce: number): number => SESSIONS + atOnce;
