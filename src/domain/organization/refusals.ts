import { DomainError } from '../errors.ts';

export const nameTaken = (): DomainError =>
  new DomainError('organization_name_taken', 'An organization of this name exists. Choose another name.');

export const changedMeanwhile = (): DomainError =>
  new DomainError('conflict', 'The organization was changed by someone else meanwhile. Look at it and try again.');

/** Not known, and not for this instance to find out any more: it was changed again since, or others took over. */
export const outcomeUnknown = (): DomainError =>
  new DomainError(
    'unavailable',
    'It is not known whether this was done. Look at the organization before trying again.',
  );

export const renamed = (name: string): DomainError =>
  new DomainError('organization_renamed', 'The organization has another name now.', { organizations: [name] });
