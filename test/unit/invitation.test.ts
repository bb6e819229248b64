import { beforeEach, describe, expect, test } from 'vitest';
import { changeRole } from '../../src/domain/admin/membership.ts';
import type { Context } from '../../src/domain/context.ts';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { inviteAdmin, listInvitations, withdrawInvitation } from '../../src/domain/invitation/invite.ts';
import { tokenText } from '../../src/domain/one-time-token/one-time-token.ts';
import type { OrganizationStatus } from '../../src/domain/organization/schema.ts';
import { logIn } from '../../src/domain/session/log-in.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import type { Executor } from '../../src/store/port.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, goneAt, ownerOf, principalOf, virtualTime } from '../support/instance.ts';

const INVALID = { code: 'invalid_one_time_token' };
const PASSWORD = 'correct horse battery';
const EMAIL = 'Invited@example.com';

let executor: Executor;
let time: ReturnType<typeof virtualTime>;
let context: Context;
let owner: Principal;

const open = (over: Executor) => createInstance(over, {}, { time });

beforeEach(async () => {
  executor = createSqliteExecutor(openSqliteFile(':memory:'));
  time = virtualTime();
  const services = open(executor);
  await services.prepare();
  context = services.context;
  owner = await ownerOf(context, 'Inviting');
});

/** Invites, and takes the token from the mail. */
async function invite(email = EMAIL, principal = owner): Promise<string> {
  const { invitation_id } = await inviteAdmin(context, { principal, email, role: 'admin' });
  const mail = await context.master.mails.findOne({ _id: invitation_id });
  if (mail?.token == null) throw new Error('The invitation has no token.');
  return (await tokenText(context, mail, mail.token)).text;
}

const accept = (token: string) => acceptInvitation(context, { token, password: PASSWORD });

describe('an invitation', () => {
  test('makes an admin with a verified email, who can sign in, and is recorded', async () => {
    const accepted = await accept(await invite());
    expect(accepted).toMatchObject({ organization: 'Inviting', admin_email: EMAIL, role: 'admin' });
    const signedIn = await logIn(context, { email: EMAIL, password: PASSWORD });
    expect(signedIn).toMatchObject({ admin_id: accepted.admin_id, organization: 'Inviting' });
    const admin = await context.master.admins.findOne({ _id: accepted.admin_id });
    expect(admin).toMatchObject({ email_verified: true, audit_pending: null });
    expect(await context.master.audit.count({ action: 'admin.joined', target: accepted.admin_id })).toBe(1);
  });

  test('is good only while the organization is active', async () => {
    const token = await invite();
    const { _id } = owner.organization;
    for (const status of ['creating', 'deleted', 'deleting', 'erased'] satisfies OrganizationStatus[]) {
      await context.master.organizations.updateOne({ _id }, { $set: { status } });
      await expect(accept(token)).rejects.toMatchObject(INVALID);
    }
    await context.master.organizations.updateOne({ _id }, { $set: { status: 'active' } });
    await accept(token);
  });

  test('ends when the inviting admin is no longer an owner', async () => {
    const { admin_id } = await accept(await invite());
    await changeRole(context, { principal: owner, admin_id, role: 'owner' });
    const other = await principalOf(context, owner.organization._id, admin_id);
    const token = await invite('third@example.com', other);
    const principal = await principalOf(context, owner.organization._id, owner.admin._id);
    await changeRole(context, { principal, admin_id, role: 'admin' });
    await expect(accept(token)).rejects.toMatchObject(INVALID);
  });

  test('is good once, also when its admin was removed again', async () => {
    const token = await invite();
    const { admin_id } = await accept(token);
    await context.master.admins.deleteOne({ _id: admin_id });
    await expect(accept(token)).rejects.toMatchObject(INVALID);
  });

  test('is not good while the inviting admin may not invite, whatever mails are there', async () => {
    const token = await invite();
    await context.master.admins.updateOne({ _id: owner.admin._id }, { $set: { role: 'viewer' } });
    await expect(accept(token)).rejects.toMatchObject(INVALID);
  });

  test('ends when it is withdrawn, and when the address is invited again', async () => {
    const first = await invite();
    const second = await invite();
    await expect(accept(first)).rejects.toMatchObject(INVALID);
    const { items } = await listInvitations(context, { principal: owner, limit: 10 });
    expect(items.map(({ email }) => email)).toEqual([EMAIL]);
    await withdrawInvitation(context, { principal: owner, invitation_id: items[0]?.invitation_id ?? '' });
    await expect(accept(second)).rejects.toMatchObject(INVALID);
    const again = withdrawInvitation(context, { principal: owner, invitation_id: items[0]?.invitation_id ?? '' });
    await expect(again).rejects.toMatchObject({ code: 'invitation_not_found' });
  });

  test('to an address that an admin has, in whatever case, is refused', async () => {
    await expect(invite(owner.admin.email.toUpperCase())).rejects.toMatchObject({ code: 'admin_email_taken' });
    const token = await invite();
    await context.master.admins.updateOne({ _id: owner.admin._id }, { $set: { email_key: EMAIL.toLowerCase() } });
    await expect(accept(token)).rejects.toMatchObject({ code: 'admin_email_taken' });
  });

  test('that is accepted at a crash at any store call makes one admin, recorded, or none', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; ; call++) {
        const email = `${when}-${call}@example.com`;
        const token = await invite(email);
        const input = { token, password: PASSWORD };
        const died = await acceptInvitation(open(goneAt(executor, call, when)).context, input).then(
          () => false,
          () => true,
        );
        time.advance(60_000);
        await open(executor).reconcile();
        const found = await context.master.admins.find({ email_key: email });
        expect(found.length).toBeLessThan(2);
        for (const admin of found) {
          expect(admin.audit_pending).toBeNull();
          expect(await context.master.audit.count({ event_id: admin.changed_by })).toBe(1);
        }
        if (!died) break;
      }
    }
  });
});
