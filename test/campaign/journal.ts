import { randomBytes } from 'node:crypto';

/** An organization as its owner last changed it. */
export type Alive = { readonly name: string; readonly email: string; readonly password: string };

export type State = Alive | 'absent';

/**
 * What the caller knows of a request. `acknowledged`: its effect is permanent. `refused`: it has none. `unknown`: the
 * answer was lost, or says that the effect is not known.
 */
export type Outcome = 'acknowledged' | 'refused' | 'unknown';

export type Change = (before: State) => State;

export type Event = {
  readonly request: string;
  readonly invoked: number;
  readonly answered: number;
  readonly outcome: Outcome;
  readonly answer: string;
};

/**
 * One organization in the journal: every request for it, in order, and every state that these leave possible. One
 * caller owns it and sends one request after another.
 */
export type TenantRecord = {
  readonly label: string;
  organizationId: string | undefined;
  possible: State[];
  readonly events: Event[];
  /** Documents whose insert was acknowledged, and those whose insert has an unknown outcome. */
  readonly documents: { readonly acknowledged: Set<string>; readonly unknown: Set<string> };
  /** Whether a request may have changed it since the last check. */
  dirty: boolean;
};

/** A record of an organization that no request has asked for yet. */
export const newRecord = (label: string): TenantRecord => ({
  label,
  organizationId: undefined,
  possible: ['absent'],
  events: [],
  documents: { acknowledged: new Set(), unknown: new Set() },
  dirty: false,
});

/** A name, address or password that is used once in the campaign. */
export const unique = (stem: string): string => `${stem}${randomBytes(6).toString('hex')}`;

/** Records a request with its outcome, and the states that it leaves possible. */
export function record(tenant: TenantRecord, event: Event, change: Change): void {
  tenant.events.push(event);
  if (event.outcome === 'refused') return;
  tenant.dirty = true;
  const changed = tenant.possible.map(change);
  tenant.possible = distinct(event.outcome === 'acknowledged' ? changed : [...tenant.possible, ...changed]);
}

/** The one possible state; undefined while several are possible. */
export const certainState = ({ possible }: TenantRecord): State | undefined =>
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
    .map(({ request, invoked, answered, outcome, answer }) =>
      [`    ${Math.round(invoked)}..${Math.round(answered)} ms`, request, outcome, answer].join('  '),
    )
    .join('\n');
