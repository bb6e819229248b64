/** What callers ask of the service, as its HTTP handlers put it to the domain. */
import { createOrganizationOnce } from '../../src/domain/idempotency/create-once.ts';
import { createOrganization } from '../../src/domain/organization/create.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import type { UpdateOrganizationInput } from '../../src/domain/organization/update.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Instance } from './world.ts';

export const PASSWORD = 'correct horse battery';

/** The address of an organization's first admin, in the tests. */
export const emailOf = (name: string): string => `${name.toLowerCase().replaceAll(' ', '-')}@example.com`;

export const create = ({ context }: Instance, name: string, email = emailOf(name)) =>
  createOrganization(context, { organization_name: name, email, password: PASSWORD });

export const createOnce = ({ context }: Instance, idempotency_key: string, name: string) =>
  createOrganizationOnce(context, {
    idempotency_key,
    organization_name: name,
    email: emailOf(name),
    password: PASSWORD,
  });

/** An access token for the organization of this name, by its first admin. */
export const signIn = async ({ context }: Instance, name: string, email = emailOf(name)): Promise<string> => {
  const { access_token } = await logIn(context, { email, password: PASSWORD, organization_name: name });
  return access_token;
};

export const update = async ({ context }: Instance, token: string, input: Omit<UpdateOrganizationInput, 'principal'>) =>
  updateOrganization(context, { ...input, principal: await authenticate(context, token) });

export const remove = async ({ context }: Instance, token: string, organization_name: string) =>
  deleteOrganization(context, { principal: await authenticate(context, token), organization_name });

export const restore = ({ context }: Instance, organization_name: string, email = emailOf(organization_name)) =>
  restoreOrganization(context, { organization_name, email, password: PASSWORD });
