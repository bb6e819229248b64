import type { Budget, Setting, ViolationKind } from './state.ts';

/** What may happen, and how often. Everything within these bounds is searched. */
export type Scenario = {
  readonly description: string;
  readonly setting: Setting;
  /** Actors at work at the same time. */
  readonly actors: number;
  /** Names for renames, and for new organizations. */
  readonly names: readonly string[];
  readonly newNames: readonly string[];
  /** Whether a delete keeps the organization for a while. */
  readonly retention: 'never' | 'always' | 'either';
  readonly budget: Budget;
  /** Kinds of violations that this scenario accepts; see the reason beside each scenario. */
  readonly accepted: readonly ViolationKind[];
};

const NOTHING: Budget = {
  create: 0,
  rename: 0,
  delete: 0,
  restore: 0,
  purge: 0,
  write: 0,
  clash: 0,
  early: 0,
  remove: 0,
  refuse: 0,
  crash: 0,
  lostReply: 0,
  look: 0,
  resume: 0,
  adminChange: 0,
  adminRefuse: 0,
  adminEdit: 0,
  expire: 0,
  leaseWork: 0,
  foreign: 0,
};

/** A merge that was cut off and repeated may bring back a document that the tenant deleted meanwhile. */
const REPEATED_MERGE: readonly ViolationKind[] = ['returned'];

function scenario(
  description: string,
  budget: Partial<Budget>,
  rest: Partial<Omit<Scenario, 'description' | 'budget'>> = {},
): Scenario {
  return {
    description,
    setting: { collectionIds: false, nameLeases: false },
    actors: 2,
    names: ['a', 'b'],
    newNames: ['a'],
    retention: 'never',
    accepted: REPEATED_MERGE,
    ...rest,
    budget: { ...NOTHING, ...budget },
  };
}

const collectionIds: Setting = { collectionIds: true, nameLeases: false };
const nameLeases: Setting = { collectionIds: false, nameLeases: true };
/**
 * Without ids, the collection that a client made first is committed: the documents come in later, indexes and options
 * are lost (rule `identifiesCollection`), and what was merged may have been reported as kept.
 */
const WITHOUT_IDS: readonly ViolationKind[] = ['returned', 'invisible', 'remade', 'kept came in'];

export const SCENARIOS = {
  back: scenario('A to B, back to A, to B again', { rename: 3, write: 1, crash: 1, look: 1, resume: 1 }),
  late: scenario('Late writes after one rename', { rename: 1, write: 3, crash: 1, look: 3, resume: 1 }),
  late2: scenario('Late writes and two renames', { rename: 2, write: 1, crash: 1, look: 2, resume: 1 }),
  back3: scenario('Back to an old name, three actors', { rename: 2, write: 1, look: 1, resume: 1 }, { actors: 3 }),
  clash: scenario('A late write clashes', { rename: 1, clash: 1, remove: 1, crash: 1, look: 3, resume: 1 }),
  remove: scenario('The tenant deletes what is merged', {
    rename: 1,
    write: 1,
    remove: 1,
    crash: 1,
    look: 3,
    resume: 1,
  }),
  early: scenario(
    'A client makes the target first, two renames',
    { rename: 2, early: 1, write: 1, look: 2, resume: 1 },
    { accepted: WITHOUT_IDS },
  ),
  early1: scenario(
    'A client makes the target first, and late writes',
    { rename: 1, early: 1, write: 2, crash: 1, look: 2, resume: 1 },
    { accepted: WITHOUT_IDS },
  ),
  refuse: scenario(
    'The server refuses renameCollection: the move stays open',
    { rename: 2, write: 1, refuse: 2, crash: 1, look: 1, resume: 1 },
    // A stale rename may move the collection after it was reported as kept: see `open move` in CONTRIBUTING.md.
    { accepted: ['returned', 'kept came in'] },
  ),
  retain: scenario(
    'Delete with retention, restore, purge',
    { rename: 1, write: 2, delete: 1, restore: 1, purge: 1, crash: 1, look: 2, resume: 2 },
    { retention: 'always' },
  ),
  backkept: scenario(
    'Two renames, then delete with retention',
    { rename: 2, write: 1, delete: 1, restore: 1, purge: 1, look: 1, resume: 1 },
    { retention: 'always' },
  ),
  delete: scenario('Delete, and the name is taken by a new organization', {
    rename: 1,
    write: 1,
    delete: 1,
    create: 1,
    crash: 1,
    look: 1,
    resume: 1,
  }),
  names: scenario(
    'Two organizations want two names',
    { rename: 2, create: 1, crash: 1, resume: 2 },
    { newNames: ['a', 'b'] },
  ),
  names3: scenario(
    'Two organizations want two names, three actors',
    { rename: 3, create: 1, resume: 1 },
    { actors: 3, newNames: ['a', 'b'] },
  ),
  create: scenario(
    'A create and a rename to its name',
    { create: 1, rename: 1, write: 1, crash: 1, look: 1, resume: 2 },
    { names: ['a', 'g'], newNames: ['g'] },
  ),
  create2: scenario(
    'Two creates of one name',
    { create: 2, resume: 2, look: Number.POSITIVE_INFINITY },
    { names: ['a'], newNames: ['g'] },
  ),
  mixed: scenario(
    'Create, rename and delete at once',
    { rename: 1, create: 1, delete: 1, write: 1, crash: 1, resume: 1 },
    { newNames: ['a', 'b'] },
  ),

  'lost replies': scenario(
    'Lost replies of a create, and of a rename to its name',
    { create: 1, rename: 1, lostReply: 2, resume: 1, crash: 1 },
    { names: ['a', 'g'], newNames: ['g'] },
  ),
  'lost replies late': scenario('Lost replies of late writes, a rename and a delete', {
    rename: 1,
    write: 1,
    delete: 1,
    lostReply: 2,
    look: 2,
    resume: 1,
  }),
  'lost replies admin': scenario(
    "Lost replies of a rename with an admin's change",
    { rename: 1, adminChange: 1, adminRefuse: 1, adminEdit: 1, lostReply: 2, resume: 2, expire: 1, leaseWork: 1 },
    { setting: nameLeases },
  ),
  'lost replies ids': scenario(
    'Lost replies of a rename whose target a client made first; collections have ids',
    { rename: 1, early: 1, refuse: 1, lostReply: 2, look: 1, resume: 1 },
    { setting: collectionIds, accepted: ['returned', 'kept came in'] },
  ),
  'same slug': scenario(
    'A new name with the same slug keeps the collection',
    { rename: 3, write: 1, crash: 1, look: 1, resume: 1 },
    { names: ['a', "a'", 'b'] },
  ),
  foreign: scenario(
    'Another application has a collection of that name',
    { create: 2, foreign: 1, resume: 2, look: 1, crash: 1 },
    { names: ['a'], newNames: ['g'] },
  ),

  lease: scenario(
    'A leased name, wanted by two',
    { rename: 2, create: 1, resume: 1, expire: 1, leaseWork: 1, crash: 1 },
    { setting: nameLeases, newNames: ['a', 'b'] },
  ),
  'lease back': scenario(
    'An organization takes its leased name back',
    { rename: 3, create: 1, resume: 1, expire: 2, leaseWork: 2 },
    { setting: nameLeases, newNames: ['a', 'b'] },
  ),
  'lease delete': scenario(
    'A leased name of an organization that is deleted',
    { rename: 2, create: 1, delete: 1, resume: 2, expire: 1, leaseWork: 1 },
    { setting: nameLeases, newNames: ['a', 'b'] },
  ),

  admin: scenario("A rename with an admin's change, refused or not", {
    rename: 1,
    adminChange: 1,
    adminRefuse: 1,
    adminEdit: 2,
    crash: 1,
    look: 1,
    resume: 2,
    write: 1,
  }),
  admin3: scenario(
    "A rename with an admin's change, three actors",
    { rename: 1, adminChange: 1, adminRefuse: 2, adminEdit: 1, resume: 2 },
    { actors: 3 },
  ),
  'admin names': scenario(
    "Renames with an admin's change to a name that another wants",
    { rename: 1, adminChange: 1, adminRefuse: 1, create: 1, resume: 2, crash: 1 },
    { newNames: ['b'] },
  ),
  'admin slug': scenario(
    "A rename with an admin's change that keeps the collection",
    { rename: 2, adminChange: 2, adminRefuse: 1, adminEdit: 1, resume: 2, crash: 1 },
    { names: ['a', "a'"] },
  ),

  'admin lease': scenario(
    "Renames with an admin's change, with name leases",
    { rename: 2, adminChange: 1, adminRefuse: 1, adminEdit: 1, create: 1, resume: 1, expire: 1, leaseWork: 1 },
    { setting: nameLeases },
  ),

  'refuse retain': scenario(
    'An open move, then a delete with retention, then restore or purge',
    { rename: 1, write: 1, refuse: 1, delete: 1, restore: 1, purge: 1, crash: 1, look: 2, resume: 2 },
    { retention: 'always' },
  ),
  'refuse retain ids': scenario(
    'The same where a client makes the target first; collections have ids',
    { rename: 1, early: 1, refuse: 1, delete: 1, restore: 1, purge: 1, crash: 1, look: 1, resume: 1 },
    { setting: collectionIds, retention: 'always' },
  ),

  'early ids': scenario(
    'A client makes the target first; collections have ids',
    { rename: 2, early: 1, write: 1, crash: 1, look: 2, resume: 1 },
    { setting: collectionIds },
  ),
  'early ids 1': scenario(
    'A client makes the target first, and late writes; collections have ids',
    { rename: 1, early: 1, write: 2, crash: 1, look: 3, resume: 1 },
    { setting: collectionIds },
  ),
  'early ids 3': scenario(
    'A client makes two targets first, three actors; collections have ids',
    { rename: 1, early: 2, write: 1, look: 1, resume: 2 },
    { setting: collectionIds, actors: 3 },
  ),
  'refuse ids': scenario(
    'An open move whose target a client makes first; collections have ids',
    { rename: 2, early: 1, refuse: 2, crash: 1, look: 1, resume: 1 },
    { setting: collectionIds, accepted: ['returned', 'kept came in'] },
  ),
} as const satisfies { readonly [name: string]: Scenario };

export type ScenarioName = keyof typeof SCENARIOS;
export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];

/** Far beyond what can be searched to the end: for random walks. */
export const LARGE: Scenario = scenario(
  'Everything at once',
  {
    create: 2,
    rename: 6,
    delete: 2,
    restore: 1,
    purge: 2,
    write: 5,
    clash: 1,
    remove: 2,
    refuse: 3,
    crash: 4,
    lostReply: 2,
    early: 2,
    look: Number.POSITIVE_INFINITY,
    resume: Number.POSITIVE_INFINITY,
    adminChange: 2,
    adminRefuse: 1,
    adminEdit: 2,
    expire: 3,
    leaseWork: 9,
  },
  {
    setting: { collectionIds: true, nameLeases: true },
    actors: 4,
    names: ['a', 'b', 'g'],
    newNames: ['a', 'b', 'g'],
    retention: 'either',
    accepted: ['returned', 'kept came in'],
  },
);
