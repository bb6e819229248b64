import { afterEach, expect, test, vi } from 'vitest';
import { changePassword, resetPassword } from '../../src/domain/admin/password.ts';
import type { Context } from '../../src/domain/context.ts';
import { createOrganizationOnce } from '../../src/domain/idempotency/create-once.ts';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { tokenText } from '../../src/domain/one-time-token/one-time-token.ts';
import { deleteOrganization } from '../../src/domain/organization/delete.ts';
import { restoreOrganization } from '../../src/domain/organization/restore.ts';
import { updateOrganization } from '../../src/domain/organization/update.ts';
import { insertMail, tokenMail } from '../../src/domain/outbox/outbox.ts';
import type { MailDocument } from '../../src/domain/outbox/schema.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { CommandOf, Op } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, principalOf, virtualTime } from '../support/instance.ts';

afterEach(() => vi.restoreAllMocks());

/** Ids and random bytes that are the same in every run. */
function predictable(context: Context): Context {
  let made = 0;
  vi.spyOn(crypto, 'getRandomValues').mockImplementation((array) => {
    if (array instanceof Uint8Array) array.fill(7);
    return array;
  });
  return { ...context, newId: () => `00000000-0000-7000-8000-${String(++made).padStart(12, '0')}` };
}

const START = virtualTime().clock();

/** Every command that reaches the store, in no order, while a password is chosen, changed and tried in each way that there is. */
async function commandsWith(password: string): Promise<string[]> {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  const commands: string[] = [];
  const recording = {
    ...executor,
    execute: <O extends Op>(command: CommandOf<O>) => {
      commands.push(JSON.stringify(command));
      return executor.execute<O>(command);
    },
  };
  const services = createInstance(
    recording,
    { DELETE_RETENTION_DAYS: '1' },
    {
      time: { clock: () => START, wait: async () => {} },
      // All that bcrypt gives: whatever else depends on the password is not bcrypt's.
      hasher: { hash: async () => 'a hash', verify: async (tried) => !tried.endsWith('wrong') },
    },
  );
  await services.prepare();
  commands.length = 0;
  const request = { id: 'request', address: '192.0.2.1', device: null };
  const context = predictable({ ...services.context, request });
  const [name, email] = ['Traces', 'owner@example.com'];
  const textOf = async (mail: MailDocument | undefined) =>
    mail?.token ? (await tokenText(context, mail, mail.token)).text : '';

  const create = { idempotency_key: 'key', organization_name: name, email, password };
  const { organization_id, admin_id } = await createOrganizationOnce(context, create);
  await createOrganizationOnce(context, create);
  await logIn(context, { email, password });
  await expect(logIn(context, { email, password: `${password} wrong` })).rejects.toThrow();
  const principal = () => principalOf(context, organization_id, admin_id);
  await updateOrganization(context, { principal: await principal(), password, new_organization_name: 'Renamed' });
  const change = { current_password: password, new_password: password };
  await changePassword(context, { principal: await principal(), ...change });
  await expect(
    changePassword(context, { principal: await principal(), ...change, current_password: `${password} wrong` }),
  ).rejects.toThrow();
  const reset = await insertMail(context, tokenMail('password_reset', (await principal()).admin));
  await resetPassword(context, { token: await textOf(reset), password });
  const invited = { principal: await principal(), email: 'invited@example.com', role: 'admin' } as const;
  const { invitation_id } = await inviteAdmin(context, invited);
  const invitation = await context.master.mails.findOne({ _id: invitation_id });
  await acceptInvitation(context, { token: await textOf(invitation), password });
  await deleteOrganization(context, { principal: await principal(), organization_name: 'Renamed' });
  await restoreOrganization(context, { organization_name: 'Renamed', email, password });
  await executor.close();
  return commands.sort();
}

test('nothing that reaches the store depends on a password, but what bcrypt made of it', async () => {
  const commands = await commandsWith('correct horse battery');
  expect(commands.length).toBeGreaterThan(100);
  expect(await commandsWith('another battery staple altogether')).toEqual(commands);
});
