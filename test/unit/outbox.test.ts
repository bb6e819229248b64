import { beforeEach, describe, expect, test } from 'vitest';
import { changeAdmin, updateAdmin } from '../../src/domain/admin/credentials.ts';
import type { AdminChange } from '../../src/domain/admin/schema.ts';
import { auditNote } from '../../src/domain/audit/note.ts';
import { sealChange } from '../../src/domain/audit/sealing.ts';
import type { Context } from '../../src/domain/context.ts';
import { deliveryDecision, insertMail, sendDueMail } from '../../src/domain/outbox/outbox.ts';
import type { Delivery, MailDocument } from '../../src/domain/outbox/schema.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf, principalOf, virtualTime } from '../support/instance.ts';

let context: Context;
let owner: Principal;
let logged: string[];
let delivery: Delivery;

beforeEach(async () => {
  logged = [];
  delivery = 'sent';
  const services = createInstance(
    createSqliteExecutor(openSqliteFile(':memory:')),
    {},
    {
      time: virtualTime(),
      log: (_level, event) => logged.push(event),
      mailer: { send: async () => delivery },
    },
  );
  await services.prepare();
  context = services.context;
  owner = await ownerOf(context, 'Outbox');
});

const reload = () => principalOf(context, owner.organization._id, owner.admin._id);

const noteOf = ({ organization, admin }: Principal, event_id = context.newId()) =>
  auditNote(context, organization, {
    event_id,
    action: 'admin.password_changed',
    actor: admin._id,
    target: admin._id,
  });

/** A mail that tells of a change of the admin as it is now. */
async function mailOf(changeId: string, kind: 'password_changed' | 'email_changed' = 'password_changed') {
  const { admin } = await reload();
  return insertMail(context, {
    kind,
    organization_id: admin.organization_id,
    admin_id: admin._id,
    to: admin.email,
    to_key: admin.email_key,
    change: { id: changeId, version: admin.version },
    ...(kind === 'email_changed' && { epoch: null, undo: { version: admin.version, email_verified: false } }),
  });
}

async function decide(mail: MailDocument) {
  const { organizations, admins } = context.master;
  const organization = await organizations.findOne({ _id: mail.organization_id });
  const admin = await admins.findOne({ _id: mail.admin_id ?? '' });
  return deliveryDecision(context, mail, organization, admin);
}

async function makeChange(changeId: string, set: AdminChange['set']) {
  const principal = await reload();
  const { _id: admin_id, version } = principal.admin;
  const audit = sealChange(context.seals, admin_id, [await noteOf(principal, changeId)]);
  expect(await changeAdmin(context, { admin_id, version, set, audit })).toBeUndefined();
}

describe('a mail about a change', () => {
  test('waits while the change may still be made, and is sent when it was', async () => {
    const mail = await mailOf('change');
    expect(await decide(mail)).toBe('wait');
    await makeChange('change', { password_hash: 'a hash' });
    expect(await decide(mail)).toBe('send');
  });

  test('is sent also after further changes', async () => {
    const mail = await mailOf('change');
    for (const change of ['change', 'another', 'a third']) await makeChange(change, { password_hash: change });
    expect(await decide(mail)).toBe('send');
  });

  test('is dropped when other changes were made instead, however many', async () => {
    const mail = await mailOf('change');
    await makeChange('another', { password_hash: 'a hash' });
    expect(await decide(mail)).toBe('drop');
    const { admin } = await reload();
    const audit = await noteOf(owner);
    const verify = { isNeeded: () => true, set: { email_verified: true }, raiseEpoch: false, audit };
    await updateAdmin(context, admin, verify);
    await makeChange('a third', { password_hash: 'another hash' });
    expect(await decide(mail)).toBe('drop');
  });

  test('of the email is sent also when the address is the admin’s again, until the change is undone', async () => {
    const mail = await mailOf('change', 'email_changed');
    const { version } = (await reload()).admin;
    await makeChange('change', { email: 'other@example.com', email_key: 'other@example.com' });
    expect(await decide(mail)).toBe('send');
    await makeChange('back', { email: owner.admin.email, email_key: owner.admin.email_key });
    expect(await decide(mail)).toBe('send');
    await makeChange('undone', { undone: { from: version, to: version + 2 } });
    expect(await decide(mail)).toBe('drop');
  });

  test('is dropped with the admin, and with the organization', async () => {
    const mail = await mailOf('change');
    await makeChange('change', { password_hash: 'a hash' });
    const { organizations, admins } = context.master;
    for (const status of ['deleting', 'erased'] as const) {
      expect(await deliveryDecision(context, mail, { ...owner.organization, status }, owner.admin)).toBe('drop');
    }
    expect(await deliveryDecision(context, mail, { ...owner.organization, status: 'creating' }, owner.admin)).toBe(
      'wait',
    );
    await admins.deleteOne({ _id: owner.admin._id });
    expect(await decide(mail)).toBe('drop');
    await organizations.deleteOne({ _id: owner.organization._id });
    expect(await decide(mail)).toBe('drop');
  });
});

test.each(['sent', 'kept', 'dropped'] as const)('a mail that was %s is logged as that', async (outcome) => {
  delivery = outcome;
  const [verification] = await context.master.mails.find({ kind: 'verification' });
  if (verification === undefined) throw new Error('There is no mail.');
  await sendDueMail(context, verification);
  expect(logged.filter((event) => event.startsWith('mail.'))).toEqual([`mail.${outcome}`]);
});
