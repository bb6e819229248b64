import type { RuleName } from './rules.ts';
import type { ScenarioName } from './scenarios.ts';
import type { ViolationKind } from './state.ts';

/** A rule that is switched off, the scenario that shows what goes wrong then, and how. */
export type Ablation = {
  readonly without: readonly RuleName[];
  readonly scenario: ScenarioName;
  readonly kinds: readonly ViolationKind[];
};

const ablation = (without: RuleName, scenario: ScenarioName, ...kinds: readonly ViolationKind[]): Ablation => ({
  without: [without],
  scenario,
  kinds,
});

export const ABLATIONS: readonly Ablation[] = [
  ablation('singleUse', 'back', 'lost'),
  ablation('singleUse', 'back', 'invisible'),
  ablation('singleUse', 'back', 'swept own'),
  ablation('createJournalsFirst', 'names', 'left over', 'two of one name'),
  ablation('renameJournalsFirst', 'names', 'two of one name'),
  ablation('takeOver', 'names', 'left over'),
  ablation('takeOverCompares', 'names', 'two of one name'),
  ablation('ownClaimJudged', 'names3', 'two of one name'),
  ablation('restamp', 'names3', 'two of one name'),
  ablation('releaseRecorded', 'names', 'two of one name'),
  ablation('forwardOnly', 'late2', 'invisible', 'remade'),
  ablation('openMove', 'refuse', 'invisible'),
  ablation('commitComparesTarget', 'early ids', 'invisible', 'remade'),
  ablation('nextTargetByCompare', 'early ids 3', 'invisible', 'remade', 'left over', 'lost'),
  ablation('abandonedWaits', 'early ids', 'invisible', 'remade'),
  ablation('abandonedWaitsForMove', 'refuse ids', 'invisible', 'remade'),
  ablation('identifiesCollection', 'early ids', 'remade'),
  ablation('recordedAside', 'late', 'lost', 'left over'),
  ablation('freshAside', 'late', 'lost'),
  ablation('droppedWhenEqual', 'clash', 'lost'),
  ablation('keptApart', 'clash', 'kept came in'),
  ablation('keptRecorded', 'clash', 'lost', 'left over'),
  ablation('placementReadAgain', 'back3', 'kept came in'),
  ablation('neverBack', 'backkept', 'dropped without record'),
  ablation('neverBack', 'refuse retain ids', 'dropped without record'),
  ablation('releasesBeforeEnd', 'late', 'lost'),
  ablation('dropByClaim', 'retain', 'lost', 'dropped without record'),
  ablation('looksNeverEnd', 'late', 'lost'),
  ablation('dropByClaim', 'refuse retain', 'lost', 'dropped without record'),
  ablation('purgeComparesStatus', 'retain', 'lost', 'dropped without record'),
  ablation('purgeComparesStatus', 'refuse retain ids', 'lost', 'dropped without record'),
  ablation('stub', 'create', 'left over'),
  ablation('repeatedErasure', 'create', 'left over'),
  ablation('keepRolledBackClaims', 'create2', 'mixed'),
  ablation('createCollectionOnce', 'lost replies', 'left over'),
  ablation('foreignUntouched', 'foreign', 'mixed'),
  ablation('unusedDroppedWhenEmpty', 'foreign', 'mixed'),
  ablation('leaseHolds', 'lease', 'lease broken'),
  ablation('leavingHolds', 'lease', 'lease broken'),
  ablation('takeOverComparesLease', 'lease', 'lease broken'),
  ablation('takeBackEndsLease', 'lease back', 'two of one name'),
  ablation('takenBackHolds', 'admin lease', 'lease broken'),
  ablation('leaseDeleteCompares', 'lease back', 'two of one name'),
  ablation('refusedOnlyBeforeMove', 'admin', 'half changed'),
  ablation('changingStep', 'admin names', 'half changed'),
  ablation('adminByCompare', 'admin3', 'half changed'),
  ablation('endsBeforeReturn', 'admin3', 'two of one name'),
  ablation('refusalBumpsVersion', 'admin3', 'half changed'),
  ablation('editWaits', 'admin', 'half changed'),
  ablation('rollBackByStep', 'mixed', 'invisible', 'remade', 'left over'),
];
