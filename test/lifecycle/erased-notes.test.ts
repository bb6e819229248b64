import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { inviteAdmin } from '../../src/domain/invitation/invite.ts';
import { authenticate } from '../../src/domain/session/authenticate.ts';
import type { Command, Executor } from '../../src/store/port.ts';
import { PASSWORD, remove, update } from '../support/requests.ts';
import type { World } from '../support/world.ts';
import { createStage } from '../support/world.ts';
import { ask } from './experiment.ts';
import type { Step } from './scenarios.ts';
import { TARGET, tenants, tokenFor } from './scenarios.ts';
import { openStore } from './stores.ts';

const MS = 60_000;

type Change = { readonly action: string; prepare(world: World, token: string): Promise<Step> };

const CHANGES: Readonly<Record<string, Change>> = {
  'a new password': {
    action: 'admin.password_changed',
    prepare: async (_world, token) => (instance) =>
      update(instance, token, { password: 'a new password', current_password: PASSWORD }),
  },
  'an accepted invitation': {
    action: 'admin.joined',
    prepare: async (world, token) => {
      const { context } = world.instance();
      const email = 'invited@example.com';
      await inviteAdmin(context, { principal: await authenticate(context, token), email, role: 'admin' });
      await world.recover();
      const invitation = tokenFor(world, email);
      return (instance) => acceptInvitation(instance.context, { token: invitation, password: 'a password of mine' });
    },
  },
};

const writesAdmin = (command: Command): boolean =>
  'collection' in command && command.collection === 'admins' && ['insertOne', 'updateOne'].includes(command.op);

describe('an admin is changed while the organization is deleted', () => {
  let store: Executor;

  beforeAll(() => {
    store = openStore(undefined);
  });

  afterAll(() => store.close());

  /** The change is written right before the `at`th call of the delete, and goes on after the delete. */
  async function race({ action, prepare }: Change, at: number) {
    const changing = new AsyncLocalStorage<true>();
    const toWrite = Promise.withResolvers<void>();
    const mayWrite = Promise.withResolvers<void>();
    const hasWritten = Promise.withResolvers<void>();
    const isDeleted = Promise.withResolvers<void>();
    let wasWritten = false;
    const stage = await createStage(store, {
      beforeCall: async (command) => {
        if (changing.getStore() === undefined) return undefined;
        if (wasWritten) await isDeleted.promise;
        if (wasWritten || !writesAdmin(command)) return undefined;
        wasWritten = true;
        toWrite.resolve();
        await mayWrite.promise;
        return { ended: hasWritten.resolve };
      },
    });
    const result = await stage.use({}, async (world) => {
      const { id, token } = await tenants(world);
      const change = await prepare(world, token);
      const changed = changing.run(true, () => ask(world.instance(), change));
      await toWrite.promise;
      const deleter = world.instance();
      const meanwhile = async () => {
        mayWrite.resolve();
        await hasWritten.promise;
      };
      deleter.executor.arm({ at, fault: 'pause', meanwhile });
      const deleted = await ask(deleter, (instance) => remove(instance, token, TARGET));
      mayWrite.resolve();
      isDeleted.resolve();
      const answer = await changed;
      await world.settle();
      const { master } = world.instance().context;
      return {
        answers: { change: answer.is, delete: deleted.is },
        calls: deleter.executor.calls(),
        entries: await master.audit.count({ organization_id: id, action }),
        admins: await master.admins.count({ organization_id: id }),
      };
    });
    await stage.close();
    return result;
  }

  test.each(Object.entries(CHANGES))(
    '%s that was answered as done is in the audit log, whenever it came',
    async (_name, change) => {
      const lost: string[] = [];
      for (let at = 1, calls = 1; at <= calls; at++) {
        const raced = await race(change, at);
        calls = Math.max(calls, raced.calls.length);
        if (raced.answers.delete === 'done') expect(raced.admins).toBe(0);
        if (raced.answers.change === 'done' && raced.entries !== 1) {
          lost.push(`written before call ${at} of the delete: ${raced.calls[at - 1]}`);
        }
      }
      expect(lost).toEqual([]);
    },
    MS,
  );
});
