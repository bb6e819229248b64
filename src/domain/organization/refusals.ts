import { DomainError } from '../errors.ts';

export const nameTaken = (): DomainError =>
  new DomainError('organization_name_taken', 'An organization of this name exists. Choose another name.');

export const changedMeanwhile = (): DomainError =>
  new DomainError('conflict', 'The organization was changed by someone else meanwhile. Look at it and try again.');

export const renamed = (name: string): DomainError =>
  new DomainError('organization_renamed', 'The organization has another name now.', { organizations: [name] });
