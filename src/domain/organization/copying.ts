/** The step of a rename that copies: see copy.ts for how, and here for in what order. */
import type { Context } from '../context.ts';
import { persist } from '../persist.ts';
import type { CopySides } from './copy.ts';
import {
  addChecksums,
  copyPage,
  forgetCopies,
  hasMoreNotes,
  NO_DOCUMENTS,
  openSides,
  prepareCopy,
  prunePage,
  rest,
  sameChecksum,
  sumPage,
  verifyPage,
} from './copy.ts';
import { leaseFromNow } from './lifecycle.ts';
import type { CopyProgress, OrganizationDocument, RenameOperation } from './organization.ts';
import { baseName } from './organization.ts';

/** Passes before the switch. What a busy writer has changed by then is brought over after it. */
const PASSES = 20;

const START: CopyProgress = {
  stage: 'preparing',
  pass: 1,
  after: null,
  copied: 0,
  total: 0,
  found: 0,
  found_before: null,
  sum: NO_DOCUMENTS,
  expected: null,
};

/**
 * Copies page after page, each journaled with a fresh lease, until the new collection is what the old one is, as far
 * as it holds still.
 * @returns the organization under its last lease, when everything is copied and verified; undefined when the time is
 *   up, and anyone may go on, or when another instance does
 */
export async function copyOn(
  context: Context,
  organization: OrganizationDocument,
  operation: RenameOperation,
  until: Date,
): Promise<OrganizationDocument | undefined> {
  const { cluster, database } = organization.placement;
  const { organizations } = context.master;
  const copying = { _id: organization._id, 'operation.id': operation.id, 'operation.step': 'copying' };
  const names = {
    from: operation.from.collection,
    to: operation.to.collection,
    base: baseName(organization._id, operation.id),
  };
  const sides = openSides(context.clusters(cluster).database(database), names, {
    policy: 'mirror',
    holds: async () => (await organizations.count(copying)) > 0,
  });
  let copy = operation.copy ?? START;
  let lease = organization.lease_until;
  for (;;) {
    const next = await nextProgress(context, sides, copy);
    if (next === undefined) return { ...organization, lease_until: lease };
    copy = next;
    const over = context.clock() >= until;
    // A lease that has run out is anybody's.
    const renewed = over ? new Date(context.clock().getTime() - 1) : leaseFromNow(context);
    const { matched } = await persist(() =>
      organizations.updateOne(
        { ...copying, lease_until: { $in: [lease, renewed] } },
        { $set: { 'operation.copy': next, lease_until: renewed }, $inc: { version: 1 } },
      ),
    );
    if (matched === 0 || over) return undefined;
    lease = renewed;
    await rest(context);
  }
}

/** One page of the stage that the copy is in. Undefined: there is nothing left to do. */
async function nextProgress(context: Context, sides: CopySides, copy: CopyProgress): Promise<CopyProgress | undefined> {
  switch (copy.stage) {
    case 'preparing':
      return { ...copy, stage: 'copying', total: await prepareCopy(sides) };
    case 'copying': {
      const page = await copyPage(context, sides, copy.after);
      const sum = addChecksums(copy.sum, { ...NO_DOCUMENTS, count: page.noted });
      const copied = Math.max(copy.copied, sum.count);
      const total = Math.max(copy.total, copied);
      const gone = { ...copy, after: page.next, found: copy.found + page.found, sum, copied, total };
      if (page.next !== null) return gone;
      return (await hasMoreNotes(sides, sum.count)) ? { ...gone, stage: 'pruning' } : afterPass(gone);
    }
    case 'pruning': {
      const { next, found } = await prunePage(context, sides, copy.after);
      const gone = { ...copy, after: next, found: copy.found + found };
      return next === null ? afterPass(gone) : gone;
    }
    case 'summing': {
      const { next, sum } = await sumPage(sides, copy.after);
      const expected = addChecksums(copy.sum, sum);
      if (next !== null) return { ...copy, after: next, sum: expected };
      return { ...copy, stage: 'verifying', after: null, found: 0, sum: NO_DOCUMENTS, expected };
    }
    case 'verifying': {
      const page = await verifyPage(context, sides, copy.after);
      const found = copy.found + page.found;
      const sum = addChecksums(copy.sum, page.sum);
      if (page.next !== null) return { ...copy, after: page.next, found, sum };
      if (found === 0 && sameChecksum(sum, copy.expected)) return undefined;
      context.log('warn', 'organization.copy.differs', { found, count: sum.count, expected: copy.expected?.count });
      // Something is not there that the base says was copied.
      if (found === 0) await forgetCopies(sides);
      return anotherPass({ ...copy, found_before: null }, found);
    }
  }
}

/** Another pass, unless there was nothing left to do, or a busy writer does as much as a pass can undo. */
function afterPass(copy: CopyProgress): CopyProgress {
  const { found, found_before, pass } = copy;
  const settled = found === 0 || pass >= PASSES || (found_before !== null && found * 2 > found_before);
  if (!settled) return anotherPass(copy, found);
  return { ...copy, stage: 'summing', after: null, sum: NO_DOCUMENTS };
}

const anotherPass = (copy: CopyProgress, found: number): CopyProgress => ({
  ...copy,
  stage: 'copying',
  pass: copy.pass + 1,
  after: null,
  found: 0,
  found_before: found,
  sum: NO_DOCUMENTS,
  expected: null,
});
