import { describe, expect, test } from 'vitest';
import type { GatewayNamespace } from '../../src/store/gateway/executor.ts';
import { createGatewayExecutor, replyTo } from '../../src/store/gateway/executor.ts';
import type { Command, Executor } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';

const find = (database: string): Command & { op: 'find' } => ({
  op: 'find',
  database,
  collection: 'organizations',
  filter: {},
  limit: 1,
  timeoutMs: 700,
});

/** A namespace that keeps which object was asked for what. */
const recording = () => {
  const asked: { name: string; command: Command }[] = [];
  const namespace: GatewayNamespace = {
    getByName: (name) => ({
      execute: async (command) => {
        asked.push({ name, command });
        return { ok: true, value: [] };
      },
    }),
  };
  return { asked, namespace };
};

describe('the gateway', () => {
  test('spreads the commands of one collection over all objects of a MongoDB', async () => {
    const { asked, namespace } = recording();
    const executor = createGatewayExecutor(namespace, { backend: 'mongo', objects: 4 });
    // That one of four is left out of 400 has a chance of 4 * 0.75^400, which is 10^-49.
    for (let n = 0; n < 400; n++) await executor.execute(find('master'));
    expect(new Set(asked.map(({ name }) => name))).toEqual(new Set(['mongo:0', 'mongo:1', 'mongo:2', 'mongo:3']));
  });

  test('keeps a database of the embedded store in one object', async () => {
    const { asked, namespace } = recording();
    const executor = createGatewayExecutor(namespace, { backend: 'sqlite', objects: 4 });
    for (const database of ['master', 'tenants', 'master']) await executor.execute(find(database));
    expect(asked.map(({ name }) => name)).toEqual(['sqlite:master', 'sqlite:tenants', 'sqlite:master']);
  });

  test('passes the time limit on', async () => {
    const { asked, namespace } = recording();
    await createGatewayExecutor(namespace, { backend: 'sqlite', objects: 1 }).execute(find('master'));
    expect(asked[0]?.command.timeoutMs).toBe(700);
  });

  test('says of a lost reply that a read may be repeated, and that a write may have happened', async () => {
    const lost: GatewayNamespace = {
      getByName: () => ({ execute: () => Promise.reject(new Error('Durable Object reset')) }),
    };
    const executor = createGatewayExecutor(lost, { backend: 'mongo', objects: 1 });
    await expect(executor.execute(find('master'))).rejects.toMatchObject({ code: 'Unavailable' });
    const drop = { op: 'dropCollection', database: 'd', collection: 'c' } as const;
    await expect(executor.execute(drop)).rejects.toMatchObject({ code: 'OutcomeUnknown' });
  });

  test('brings an error of the store across with its code and index, and no other word', async () => {
    const failing = (error: unknown) => ({ execute: () => Promise.reject(error) }) as unknown as Executor;
    const clash = new StoreError('DuplicateKey', 'The key exists already.', { index: 'by_email' });
    const namespace: GatewayNamespace = {
      getByName: () => ({ execute: (command) => replyTo(failing(clash), command) }),
    };
    const executor = createGatewayExecutor(namespace, { backend: 'mongo', objects: 1 });
    const error = await executor.execute(find('master')).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ code: 'DuplicateKey', index: 'by_email' });
    const reply = await replyTo(failing(new TypeError('an inner word')), find('master'));
    expect(reply).toMatchObject({ ok: false, code: 'OutcomeUnknown' });
    expect(JSON.stringify(reply)).not.toContain('inner');
  });
});
