/** What callers ask of the service, as its HTTP handlers put it to the domain. */
import { createOrganizationOnce } from '../../src/domain/idempotency/idempotency.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization, repeatDelete } from '../../src/domain/organization/delete.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import type { UpdateOrganizationInput } from '../../src/domain/organization/update.ts';
import { repeatUpdate, updateOrganization } from '../../src/domain/organization/update.ts';
import { authenticateOrRepeat } from '../../src/domain/session/authenticate.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Instance } from './world.ts';

export const PASSWORD = 'correct horse battery';

/** The address of an organization's first admin, in the tests. */
export const emailOf = (name: string): string => `${name.toLowerCase().replaceAll(' ', '-')}@example.com`;

export const create = ({ context }: Instance, name: string) =>
  createOrganization(context, { organization_name: name, email: emailOf(name), password: PASSWORD });

export const createOnce = ({ context }: Instance, key: string, name: string) =>
  createOrganizationOnce(context, key, { organization_name: name, email: emailOf(name), password: PASSWORD });

/** An access token for the organization of this name, by its first admin. */
export const signIn = async ({ context }: Instance, name: string, email = emailOf(name)): Promise<string> => {
  const { access_token } = await logIn(context, { email, password: PASSWORD, organization_name: name });
  return access_token;
};

export async function update({ context }: Instance, token: string, input: UpdateOrganizationInput) {
  const known = await authenticateOrRepeat(context, token);
  return 'principal' in known
    ? updateOrganization(context, known.principal, input)
    : repeatUpdate(context, known.spent, input);
}

export async function remove({ context }: Instance, token: string, name: string) {
  const known = await authenticateOrRepeat(context, token);
  const input = { organization_name: name };
  return 'principal' in known
    ? deleteOrganization(context, known.principal, input)
    : repeatDelete(context, known.spent, input);
}

export const restore = ({ context }: Instance, name: string) =>
  restoreOrganization(context, { organization_name: name, email: emailOf(name), password: PASSWORD });
