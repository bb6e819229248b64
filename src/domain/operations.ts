import { resumeMembership } from './admin/membership.ts';
import type { Context } from './context.ts';
import { resumeCreate } from './organization/create.ts';
import { resumeDelete } from './organization/delete.ts';
import { resumeMove, resumeRename } from './organization/rename.ts';
import { resumeRestore } from './organization/restore.ts';
import type { Operation, OrganizationDocument } from './organization/schema.ts';

type Resume = (context: Context, organization: OrganizationDocument) => Promise<unknown>;

/** The verb that finishes each kind of operation, from wherever its journal is. */
const RESUME: Readonly<Record<Operation['kind'], Resume>> = {
  create: resumeCreate,
  rename: resumeRename,
  move: resumeMove,
  delete: resumeDelete,
  restore: resumeRestore,
  membership: resumeMembership,
};

export const resumeOperation: Resume = async (context, organization) => {
  if (organization.operation !== null) await RESUME[organization.operation.kind](context, organization);
};
