import { DomainError } from '../errors.ts';

export const nameTaken = (): DomainError =>
  new DomainError('organization_name_taken', 'An organization of this name exists. Choose another name.');

export const changedMeanwhile = (): DomainError =>
  new DomainError('conflict', 'The organization was changed by someone else meanwhile. Look at it and try again.');

/** Others have finished it, or changed the organization since, and this instance cannot tell any more what came of it. */
export const outcomeUnknown = (): DomainError =>
  new DomainError(
    'unavailable',
    'It is not known whether this was done. Look at the organization before you try again.',
  );

export const renamed = (name: string): DomainError =>
  new DomainError('organization_renamed', 'The organization has another name now.', { organizations: [name] });
