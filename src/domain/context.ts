import type { Database } from '../store/store.ts';
import type { AuditTails, Seals } from './audit/schema.ts';
import type { Master } from './master.ts';
import type { OrganizationDocument } from './organization/schema.ts';
import type { Mailer } from './outbox/schema.ts';
import type { Limits, Remaining } from './rate-limit/schema.ts';
import type { AccessTokens } from './session/schema.ts';
import type { Placement } from './tenant-data/schema.ts';

/** Password hashing. `hash` and `verify` do the same work whatever they are given; over their bound they throw `busy`. */
export type Passwords = {
  hash(password: string): Promise<string>;
  /** False for a password that no hash can be of. `undefined`: there is no hash, and the work is done all the same. */
  verify(password: string, hash: string | undefined): Promise<boolean>;
  /** Runs a whole sign-in. @throws {DomainError} busy, before any of the work, where too many are under way */
  admit<T>(signIn: () => Promise<T>): Promise<T>;
  /**
   * Runs the hashing of a caller who has an access token or a mailed token, within a part of what is hashed at once: the
   * rest is there for others' sign-ins. @throws {DomainError} busy
   */
  share<T>(hashing: () => Promise<T>): Promise<T>;
  /** Whether a hash was made at a lower cost than is configured now. */
  isOutdated(hash: string): boolean;
};

/** Whether a person solved a CAPTCHA. */
export type Captcha = {
  /**
   * Whether the token is good: it came of a solved CAPTCHA, not long ago, and was not shown before.
   * @param address who solved it
   * @throws {DomainError} unavailable when it cannot be known
   */
  verify(token: string, address: string | null): Promise<boolean>;
};

/** Passwords that are known from a breach of any service. */
export type BreachedPasswords = {
  /** Whether the password is one of them; false where that cannot be known. Never rejects. */
  includes(password: string): Promise<boolean>;
};

/** Encryption of what the store keeps, under a key that only this service has. */
export type Encryption = {
  /** @param about what the text is bound to: nobody can put it in the place of another */
  encrypt(text: string, about: string): Promise<string>;
  /** The text; undefined for what was not encrypted by this service, or about something else. */
  decrypt(encrypted: string, about: string): Promise<string | undefined>;
};

/** One line of the log: an event and its particulars. Never a secret, a name that a caller typed, or a document. */
export type Log = (level: 'info' | 'warn' | 'error', event: string, particulars?: Record<string, unknown>) => void;

/** The request that a verb serves, for what is kept about it. */
export type RequestInfo = {
  /** As in the response's X-Request-Id, or what the service itself was doing. */
  readonly id: string;
  /** The caller's address, or what stands for one that is not known; null when nobody called. */
  readonly address: string | null;
  /** What the caller says it runs (User-Agent), cut to a bound; null when it does not say. */
  readonly device: string | null;
  /** The cookies that the device has from earlier sign-ins: see rate-limit/device-cookie.ts. */
  readonly deviceCookies?: readonly string[];
};

export type Settings = {
  /** Where new organizations are placed. */
  readonly placement: { readonly cluster: string; readonly database: string };
  /** How long an operation belongs to the instance that runs it, in milliseconds. */
  readonly leaseMs: number;
  /** How long a name is kept for the organization that left it, in milliseconds; 0: it is free at once. */
  readonly nameLeaseMs: number;
  /** How long a deleted organization can be restored, in milliseconds; 0: nothing is kept. */
  readonly retentionMs: number;
  /** How long entries of the audit log are kept, in milliseconds; 0: for good. */
  readonly auditRetentionMs: number;
  /** How long a sign-in is fresh: enough to change email or password, and to give and take power. In seconds. */
  readonly freshSignInSeconds: number;
  /** Where the front end is that the links in mails lead to; undefined: mails say which call to make. */
  readonly publicUrl: string | undefined;
  /** Whether the most used passwords are refused. */
  readonly refuseCommonPasswords: boolean;
  /** Whether an admin has to verify the email before changing anything but the own account. */
  readonly requireVerifiedEmail: boolean;
  /** Whether an admin has to have a second factor before doing so. */
  readonly requireSecondFactor: boolean;
  /** Who may create organizations: anyone, nobody, or the holder of one of the keys. */
  readonly signUp: 'open' | 'closed' | 'key';
  readonly signUpKeys: readonly string[];
  /** Who may look an organization up by its name: anyone, or its own admins. */
  readonly orgLookup: 'public' | 'members';
  /** What no organization may be called: see organization/new-name.ts. */
  readonly reservedNames: ReadonlySet<string>;
  /** How long a session lasts at most, and unused, in seconds. */
  readonly sessionSeconds: { readonly absolute: number; readonly idle: number };
  /** How often what may be done; null: as often as one likes. See rate-limit/. */
  readonly limits: Limits;
};

/** What the domain works with. A verb takes the part of it that it uses: see {@link Needs}. */
export type Context = {
  readonly request: RequestInfo;
  /** Hears what is left of each budget that the request draws on. */
  readonly noteBudget: (remaining: Remaining) => void;
  readonly master: Master;
  /** The database that a placement is in: the only way to tenants' collections. */
  readonly tenants: (placement: Omit<Placement, 'collection'>) => Database;
  readonly passwords: Passwords;
  readonly tokens: AccessTokens;
  readonly mailer: Mailer;
  /** Must be solved to create an organization; null: there is none. */
  readonly captcha: Captcha | null;
  /** What new passwords are looked up in; null: nothing. */
  readonly breachedPasswords: BreachedPasswords | null;
  readonly clock: () => Date;
  /** A hash that only this service can make: for what must be recognized, and not read. */
  readonly keyedHash: (text: string) => string;
  readonly encryption: Encryption;
  readonly seals: Seals;
  readonly auditTails: AuditTails;
  /** Resolves after so many milliseconds. */
  readonly wait: (ms: number) => Promise<void>;
  /**
   * Runs work after the answer, with a context whose time is not the request's. Resolves when it has ended, and never
   * rejects; the instance may die before.
   */
  readonly runInBackground: (work: (context: Context) => Promise<unknown>) => Promise<void>;
  /** Goes on with the operation of an organization, whatever its kind: see operations.ts. */
  readonly resume: (context: Context, organization: OrganizationDocument) => Promise<unknown>;
  /** A new id: time-ordered, unique (UUIDv7, RFC 9562). */
  readonly newId: () => string;
  readonly log: Log;
  readonly settings: Settings;
};

/** The part of the context that a function uses. */
export type Needs<K extends keyof Context> = Pick<Context, K>;
