import type { Index } from '../../store/port.ts';

/** How many attempts are allowed in how many seconds. */
export type Limit = { readonly count: number; readonly seconds: number };

/** What is left of a budget, as RateLimit headers tell it. */
export type Remaining = {
  readonly name: string;
  readonly limit: Limit;
  readonly left: number;
  /** Seconds until the window ends. */
  readonly seconds: number;
};

/** A budget's window. Its id is a keyed hash of whose it is: neither an address nor an account can be read here. */
export type BudgetDocument = {
  readonly _id: string;
  readonly used: number;
  /** How many windows in a row were used up before this one. */
  readonly backoff_level: number;
  readonly ends_at: Date;
  /** When the level is forgotten. */
  readonly expires_at: Date;
};

export const BUDGET_INDEXES: readonly Index[] = [{ name: 'expires_at', key: { expires_at: 1 }, expireAfterSeconds: 0 }];

/** What a caller's address may do only a limited number of times. */
export type LimitedAction = 'loginAddress' | 'create' | 'mail' | 'refresh' | 'change' | 'token' | 'inspect';

/** The configured limits; null: there is none. */
export type Limits = Readonly<Record<'loginAccount' | 'mailRecipient' | 'rename' | LimitedAction, Limit | null>>;
