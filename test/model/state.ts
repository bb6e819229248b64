import type { Rules } from './rules.ts';
import { digest, Table } from './table.ts';

export type Status = 'creating' | 'active' | 'deleting' | 'deleted' | 'erased';

export type CreateOperation = { readonly id: string; readonly kind: 'create' };
export type DeleteOperation = { readonly id: string; readonly kind: 'delete' };

/** A rename, or the open move that a rename left. */
export type MoveOperation = {
  readonly id: string;
  readonly kind: 'rename' | 'move';
  readonly step: 'claiming' | 'changing' | 'moving' | 'releasing';
  readonly name: string;
  readonly oldName: string;
  /** The operation that took the old name, as the organization recorded it. */
  readonly oldNameOperation: string;
  readonly from: string;
  /** The target of the collection; empty until it is journaled. */
  readonly to: string;
  /** The id of the real collection; empty where the server gives none. */
  readonly realId: string;
  /** Targets that a client had made first. */
  readonly abandoned: readonly string[];
  /** Whether the collection is to be moved: not for a name with the same slug, nor while a move is open. */
  readonly moves: boolean;
  /** Whether the collection stays where it is: the move is, or remains, open. */
  readonly stays: boolean;
  /** The version of the admin that the admin's change was made for; 0 where there is no change. */
  readonly adminVersion: number;
};
export type Operation = CreateOperation | DeleteOperation | MoveOperation;

export type Organization = {
  readonly status: Status;
  readonly name: string;
  /** The operation that took the name. */
  readonly nameOperation: string;
  readonly collection: string;
  /** An open move: its target, the id of the collection that moves, and targets that a client had made first. */
  readonly next: string;
  readonly nextRealId: string;
  readonly nextAbandoned: readonly string[];
  readonly operation: Operation | null;
  /** Of a create that was rolled back: the organization was never active. */
  readonly unused: boolean;
};

export type NameClaim = {
  readonly organization: string;
  readonly operation: string;
  readonly lease: Lease;
  /** The lease that its own organization took back: it returns when that rename is refused. */
  readonly takenBack: Lease;
};
export type Lease = 'none' | 'leased' | 'expired';

export type CollectionClaim = {
  readonly organization: string;
  readonly operation: string;
  readonly state: 'held' | 'former' | 'dropped' | 'foreign';
  /** Of a create that never became active: no tenant was ever told of the collection. */
  readonly unused: boolean;
  readonly version: number;
  /** Whether due work looks at it. */
  readonly due: boolean;
  readonly asides: { readonly [name: string]: 'recorded' | 'kept' };
  /** Counted only where the rule `looksNeverEnd` is off. */
  readonly looks: number;
};

/** A collection: its documents (`organization`, serial, `:` and content), and its id. */
export type Collection = {
  readonly documents: readonly string[];
  /** Given by createCollection, which makes the indexes too: `organization#serial`; empty where an insert made it. */
  readonly id: string;
};

export type Admin = {
  readonly version: number;
  /** The operation, or the edit, that changed the admin last. */
  readonly applied: string;
};

export type Change = { readonly organization: string; readonly admin: boolean; readonly name: boolean };

export type DocumentFate = 'written' | 'reported' | 'deleted';

/** Somebody who works through the steps of a verb, one store call a step. */
export type Actor = { readonly verb: Verb; readonly organization: string; readonly step: string };
export type Verb = 'create' | 'rename' | 'delete' | 'look' | 'lease' | 'edit';

export type ViolationKind =
  | 'mixed'
  | 'lost'
  | 'returned'
  | 'left over'
  | 'two of one name'
  | 'dropped without record'
  | 'kept came in'
  | 'swept own'
  | 'invisible'
  | 'remade'
  | 'half changed'
  | 'lease broken';
export type Violation = { readonly kind: ViolationKind; readonly detail: string };

/** What may still happen, and how often: the bounds of a scenario. */
export type Budget = {
  create: number;
  rename: number;
  delete: number;
  restore: number;
  purge: number;
  /** Writes of new documents to any name that the tenant knows. */
  write: number;
  /** A write of another content under an `_id` that exists. */
  clash: number;
  /** Writes to a target before anything was moved there. */
  early: number;
  /** Documents that the tenant deletes. */
  remove: number;
  /** Refusals of renameCollection. */
  refuse: number;
  crash: number;
  /** Calls that are done while their reply is lost: the actor repeats them. */
  lostReply: number;
  look: number;
  resume: number;
  /** Renames that carry an admin's change. */
  adminChange: number;
  /** Refusals of an admin's change. */
  adminRefuse: number;
  /** Other edits of the admin. */
  adminEdit: number;
  /** Leases that expire. */
  expire: number;
  /** Runs of due work on expired leases. */
  leaseWork: number;
  /** Collections that another application makes. */
  foreign: number;
};
export type BudgetName = keyof Budget;

/** What differs by server and by configuration. */
export type Setting = {
  /** Whether listCollections gives the ids of collections. */
  readonly collectionIds: boolean;
  /** Whether the old name stays reserved after a rename. */
  readonly nameLeases: boolean;
};

type RunningActor = { readonly actor: Actor; readonly low: number; readonly high: number };

/** All that the store holds, the actors at work, and what may still happen. Rows are immutable; a step replaces them. */
export class World {
  readonly rules: Rules;
  readonly setting: Setting;
  organizations = Table.empty<Organization>('organization');
  names = Table.empty<NameClaim>('name');
  claims = Table.empty<CollectionClaim>('claim');
  collections = Table.empty<Collection>('collection');
  admins = Table.empty<Admin>('admin');
  /** Collection names that the tenant of an organization has been told. */
  known = Table.empty<readonly string[]>('known');
  documents = Table.empty<DocumentFate>('document');
  /** Operations with an admin's change: what of them was done. */
  changes = Table.empty<Change>('change');
  /** Names that are promised to an organization which left them, until the lease expires. */
  promises = Table.empty<string>('promise');
  /** The budget that is left, and the serials from which fresh ids are made. */
  counters = Table.empty<number>('counter');
  actors: readonly RunningActor[] = [];
  violations: Violation[] = [];

  constructor(rules: Rules, setting: Setting) {
    this.rules = rules;
    this.setting = setting;
  }

  copy(): World {
    const copy = new World(this.rules, this.setting);
    copy.organizations = this.organizations;
    copy.names = this.names;
    copy.claims = this.claims;
    copy.collections = this.collections;
    copy.admins = this.admins;
    copy.known = this.known;
    copy.documents = this.documents;
    copy.changes = this.changes;
    copy.promises = this.promises;
    copy.counters = this.counters;
    copy.actors = this.actors;
    return copy;
  }

  /** A digest of the stored state alone: without actors, budget and serials. */
  storedDigest(): { low: number; high: number } {
    const tables = [
      this.organizations,
      this.names,
      this.claims,
      this.collections,
      this.admins,
      this.known,
      this.documents,
      this.changes,
      this.promises,
    ];
    let low = 0;
    let high = 0;
    for (const table of tables) {
      low = (low + table.low) | 0;
      high = (high + table.high) | 0;
    }
    return { low, high };
  }

  /** A digest of everything. Actors are a multiset: their order has no meaning. */
  digest(): { low: number; high: number } {
    let { low, high } = this.storedDigest();
    low = (low + this.counters.low) | 0;
    high = (high + this.counters.high) | 0;
    for (const actor of this.actors) {
      low = (low + actor.low) | 0;
      high = (high + actor.high) | 0;
    }
    return { low, high };
  }

  violate(kind: ViolationKind, detail: string): void {
    this.violations.push({ kind, detail });
  }

  count(counter: string): number {
    return this.counters.get(counter) ?? 0;
  }

  spend(budget: BudgetName): void {
    if (this.count(budget) === Number.POSITIVE_INFINITY) return;
    this.counters = this.counters.with(budget, this.count(budget) - 1);
  }

  /** A serial that was never given before under this label. */
  serial(label: string): number {
    const serial = this.count(label) + 1;
    this.counters = this.counters.with(label, serial);
    return serial;
  }

  start(actor: Actor): void {
    const { low, high } = digest(JSON.stringify(actor));
    this.actors = [...this.actors, { actor, low, high }];
  }

  /** Puts the actor at this position where its step led to; null: it has ended. */
  replace(position: number, actor: Actor | null): void {
    const actors = this.actors.slice();
    if (actor === null) actors.splice(position, 1);
    else {
      const { low, high } = digest(JSON.stringify(actor));
      actors[position] = { actor, low, high };
    }
    this.actors = actors;
  }
}

/** Whether the organization exists for its tenant: active, or kept after a delete. */
export const isLiving = (organization: Organization | undefined): organization is Organization =>
  organization !== undefined && (organization.status === 'active' || organization.status === 'deleted');

export const isEnded = (organization: Organization): boolean =>
  organization.status === 'deleting' || organization.status === 'erased';

/** The rename or move of this id that is running, or undefined. */
export function runningMove(world: World, organization: string, id: string): MoveOperation | undefined {
  const operation = world.organizations.get(organization)?.operation;
  return operation?.id === id && (operation.kind === 'rename' || operation.kind === 'move') ? operation : undefined;
}

/** The organization that a document belongs to. */
export const ownerOf = (document: string): string => document.charAt(0);
export const idOf = (document: string): string => document.slice(0, document.indexOf(':'));

/** The slug of a name. Names that differ in an apostrophe only have the same slug. */
export const slugOf = (name: string): string => name.replaceAll("'", '');

export const asideOf = (organization: string, collection: string, token: number): string =>
  `@${organization}.${collection}.${token}`;
/** The organization for which an aside, or a kept one, was made. */
export const ownerOfAside = (name: string): string => name.replace(/^!?@/, '').charAt(0);
