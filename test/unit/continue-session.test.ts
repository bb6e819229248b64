import { beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../../src/domain/context.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import { continueSession } from '../../src/domain/session/continue-session.ts';
import type { Principal } from '../../src/domain/session/schema.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance, ownerOf, principalOf, virtualTime } from '../support/instance.ts';

let time: ReturnType<typeof virtualTime>;
let context: Context;
let owner: Principal;

beforeEach(async () => {
  time = virtualTime();
  const services = createInstance(createSqliteExecutor(openSqliteFile(':memory:')), {}, { time });
  await services.prepare();
  context = services.context;
  owner = await ownerOf(context, 'Continued');
});

/** Raises the admin's epoch, as a change does. @returns the principal as the change left it */
async function raiseEpoch(principal: Principal): Promise<Principal> {
  const { _id, epoch } = principal.admin;
  await context.master.admins.updateOne({ _id }, { $set: { epoch: epoch + 1 } });
  return { ...principal, admin: { ...principal.admin, epoch: epoch + 1 } };
}

const sessionOf = ({ session }: Principal) => context.master.sessions.findOne({ _id: session._id });

describe('a session that goes on', () => {
  test('gets an access token that ends when the caller’s would', async () => {
    time.advance(10 * 60_000);
    for (const change of ['a rename', 'a raised epoch']) {
      const changed = change === 'a rename' ? owner : await raiseEpoch(owner);
      const signedInAt = context.clock();
      const { access_token, expires_in } = await continueSession(context, { ...changed, signedInAt });
      const { claims } = await authenticate(context, access_token);
      expect(claims.exp).toBe(owner.claims.exp);
      expect(expires_in).toBe(owner.claims.exp - Math.floor(context.clock().getTime() / 1000));
      expect(claims.auth_time).toBe(Math.floor(signedInAt.getTime() / 1000));
    }
  });

  test('keeps its refresh token, and no other session of the admin goes on with it', async () => {
    const other = await principalOf(context, owner.organization._id, owner.admin._id);
    const stranger = await ownerOf(context, 'Another');
    const before = await sessionOf(owner);
    const signedInAt = context.clock();
    await continueSession(context, { ...(await raiseEpoch(owner)), signedInAt });
    expect(await sessionOf(owner)).toEqual({ ...before, epoch: owner.session.epoch + 1, signed_in_at: signedInAt });
    expect(await sessionOf(other)).toBeUndefined();
    expect(await sessionOf(stranger)).toBeDefined();
  });

  test('after a change without another epoch writes nothing', async () => {
    const other = await principalOf(context, owner.organization._id, owner.admin._id);
    const before = await context.master.sessions.find({});
    await continueSession(context, { ...owner, signedInAt: context.clock() });
    expect(await context.master.sessions.find({})).toEqual(before);
    expect(before.map(({ _id }) => _id)).toContain(other.session._id);
  });

  test('does not come back when another change has ended it meanwhile', async () => {
    const changed = await raiseEpoch(owner);
    await context.master.sessions.deleteOne({ _id: owner.session._id });
    const { access_token } = await continueSession(context, { ...changed, signedInAt: context.clock() });
    await expect(authenticate(context, access_token)).rejects.toMatchObject({ code: 'invalid_token' });
  });

  test('is not taken back by an earlier change that comes late', async () => {
    const earlier = await raiseEpoch(owner);
    const later = await raiseEpoch(earlier);
    const { access_token } = await continueSession(context, { ...later, signedInAt: context.clock() });
    await continueSession(context, { ...earlier, signedInAt: context.clock() });
    await authenticate(context, access_token);
    expect((await sessionOf(owner))?.epoch).toBe(owner.session.epoch + 2);
  });
});
