import { randomBytes } from 'node:crypto';

/** An organization as its owner left it. */
export type Alive = { readonly name: string; readonly email: string; readonly password: string };

export type State = Alive | 'absent';

/**
 * What the caller knows of a request: `acknowledged`, its effect is there for good; `refused`, it has none;
 * `unknown`, the answer was lost, or said that it may have happened.
 */
export type Outcome = 'acknowledged' | 'refused' | 'unknown';

export type Change = (before: State) => State;

export type Event = {
  readonly what: string;
  readonly invoked: number;
  readonly answered: number;
  readonly outcome: Outcome;
  readonly answer: string;
};

/**
 * One organization in the journal: everything that was asked of it, in order (one caller owns it and asks one thing
 * after another), and every state that this leaves possible.
 */
export type TenantRecord = {
  readonly label: string;
  organizationId: string | undefined;
  possible: State[];
  readonly events: Event[];
  /** Documents whose insert was acknowledged, and those that may be there. */
  readonly documents: { readonly acknowledged: Set<string>; readonly unknown: Set<string> };
  /** What was asked since it was last looked at in the database. */
  dirty: boolean;
};

/** A record of an organization that nobody has asked for yet. */
export const newRecord = (label: string): TenantRecord => ({
  label,
  organizationId: undefined,
  possible: ['absent'],
  events: [],
  documents: { acknowledged: new Set(), unknown: new Set() },
  dirty: false,
});

/** Names, addresses and passwords that nothing else in the campaign has. */
export const unique = (stem: string): string => `${stem}${randomBytes(6).toString('hex')}`;

/** Writes down what was asked and what came of it, and what that leaves possible. */
export function record(tenant: TenantRecord, event: Event, change: Change): void {
  tenant.events.push(event);
  if (event.outcome === 'refused') return;
  tenant.dirty = true;
  const changed = tenant.possible.map(change);
  tenant.possible = distinct(event.outcome === 'acknowledged' ? changed : [...tenant.possible, ...changed]);
}

/** The one state it must be in, or undefined while several are possible. */
export const definite = ({ possible }: TenantRecord): State | undefined =>
  possible.length === 1 ? possible[0] : undefined;

export const aliveStates = ({ possible }: TenantRecord): Alive[] => possible.filter((state) => state !== 'absent');

export const describeState = (state: State): string => (state === 'absent' ? state : `${state.name} <${state.email}>`);

function distinct(states: readonly State[]): State[] {
  return [...new Map(states.map((state) => [JSON.stringify(state), state])).values()];
}

/** The last of a record's events, for the report of a violation. */
export const lastEvents = ({ events }: TenantRecord, count = 12): string =>
  events
    .slice(-count)
    .map(({ what, invoked, answered, outcome, answer }) =>
      [`    ${Math.round(invoked)}..${Math.round(answered)} ms`, what, outcome, answer].join('  '),
    )
    .join('\n');
