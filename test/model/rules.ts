/**
 * The rules of the organization lifecycle. Each can be switched off: the model then finds what goes wrong without it
 * (see ablations.ts). A change of the protocol begins here.
 */
export const RULES = {
  singleUse: 'A collection name is current at most once. Its token is fresh from the operation.',
  createJournalsFirst: 'A create writes its organization, with its operation, before it claims a name.',
  renameJournalsFirst: 'A rename writes its operation to the organization before it claims a name.',
  takeOver: 'A name claim that is not in force is taken over by compare-and-set on its operation.',
  takeOverCompares: 'A take-over fails where the claim is not the one that was read.',
  ownClaimJudged: 'An organization does not take its own claim while the claim is in force.',
  restamp: 'An organization stamps its own old name claim with the new operation, also by compare-and-set.',
  releaseRecorded: 'A name claim is released by one conditional write on the operation that the organization recorded.',
  forwardOnly: 'From `moving` on, an operation only goes forward.',
  openMove: 'Where the server refuses renameCollection, the name is committed and the move stays open.',
  commitComparesTarget: 'A commit is conditional on the target, not only on the operation and its step.',
  nextTargetByCompare: 'A next target is journaled by compare-and-set on the target before it.',
  abandonedWaits: 'The claim of an abandoned target stays `held` until the operation releases what it left.',
  abandonedWaitsForMove: 'While a move is open, abandoned targets stay `held`.',
  identifiesCollection: 'Where collections have ids, NamespaceExists is judged by the id of the real collection.',
  recordedAside: 'An aside is recorded in the claim before the rename that fills it.',
  freshAside: 'Every rename to an aside uses a new name.',
  placementReadAgain: 'What clashes is kept apart only where the organization still is where it was merged.',
  keptRecorded: 'A `kept` name is recorded in the claim before the rename that fills it.',
  droppedWhenEqual: "An aside is dropped only when each of its documents was seen, equal, in the tenant's collection.",
  keptApart: 'Documents that clash are renamed to a `kept` name, which no merge reads.',
  neverBack: 'A claim goes held -> former -> dropped, and never back.',
  releasesBeforeEnd: 'What an operation leaves is released, and its claim made `former`, before the operation ends.',
  dropByClaim: 'Only a claim that says `dropped` lets a collection be dropped.',
  looksNeverEnd: 'A former or dropped name is looked at for ever.',
  purgeComparesStatus: 'Purge and restore exclude each other by one conditional write of the status.',
  stub: 'An ended organization leaves a stub.',
  repeatedErasure: 'The stub repeats its erasure.',
  keepRolledBackClaims: 'The claims of a rolled-back create stay.',
  createCollectionOnce:
    'A create does not repeat createCollection after a lost reply: it is given up, and rolled back.',
  foreignUntouched: 'A collection that existed before createCollection is `foreign`: never merged, never dropped.',
  unusedDroppedWhenEmpty: 'The collection of a rolled-back create is dropped only when it was seen empty.',
  leaseHolds: 'A leased name is in force against other organizations until the lease expires.',
  leavingHolds: 'With name leases, a running rename holds the name that it leaves until the lease is written.',
  takeOverComparesLease: 'A name claim is taken over by compare-and-set on its lease too, as it was read.',
  takeBackEndsLease: 'Who takes a leased claim clears the lease.',
  takenBackHolds: 'A lease that its organization took back holds against others until it would have expired.',
  leaseDeleteCompares: 'An expired lease is deleted by one conditional delete on the operation and the expiry.',
  refusedOnlyBeforeMove: "An admin's change is applied or refused before the target is journaled.",
  changingStep: "The admin's change is a step of its own, after the name can no longer be refused.",
  adminByCompare: "An admin's change is applied by compare-and-set on the admin's version.",
  endsBeforeReturn: 'A refused change ends the operation by its step; only who ended it returns the name, after that.',
  refusalBumpsVersion: "A refused admin's change raises the admin's version, so that nobody applies it later.",
  editWaits: 'Another change of an admin reads the admin, then waits while an operation of the organization runs.',
  rollBackByStep: 'A rollback is conditional on the step.',
} as const;

export type RuleName = keyof typeof RULES;
export type Rules = { readonly [name in RuleName]: boolean };

export const RULE_NAMES = Object.keys(RULES) as RuleName[];

/** All rules, except the named ones. */
export const rulesWithout = (...off: readonly RuleName[]): Rules =>
  Object.fromEntries(RULE_NAMES.map((name) => [name, !off.includes(name)])) as Rules;
