import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller, SignedInTenant } from '../support/caller.ts';
import { createCaller, newName } from '../support/caller.ts';
import { until } from '../support/deadline.ts';
import { readAll } from '../support/read-all.ts';
import type { RunningService } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { EMBEDDED, STORES } from '../support/stores.ts';
import { openDatabase } from '../support/tenant-store.ts';

/** The longest that a late write may stay under an old name, in milliseconds. */
const SWEEP_MS = 60_000;

const LATE = 20;

describe.each(STORES)('node on $storeName', ({ store }) => {
  describe.skipIf(store === undefined)('a program that still has an old collection name', () => {
    let service: RunningService;
    let opened: ReturnType<typeof openDatabase>;
    /** Written under an old name: after a rename, and after a delete. */
    let renamed: Late;
    let deleted: Late;

    type Late = { readonly before: SignedInTenant; readonly ids: readonly string[]; readonly next: string };

    const write = async (collection: string) => {
      const ids = Array.from({ length: LATE }, () => randomUUID());
      for (const _id of ids) await opened.database.collection(collection).insertOne({ _id });
      return ids;
    };

    /** Somebody else takes the old name at once, and then the late writes come. */
    const succeeded = async (caller: Caller, before: SignedInTenant): Promise<Late> => {
      const next = await caller.tenant(before.name);
      return { before, next: next.collection, ids: await write(before.collection) };
    };

    let collection: string;
    let early: readonly string[];

    beforeAll(async () => {
      service = await startService({ runtime: 'node', store: store ?? EMBEDDED, env: { RECONCILE_MS: '500' } });
      opened = openDatabase(service);
      const caller = createCaller(service.url);
      const [one, two] = await Promise.all([caller.signedInTenant(), caller.signedInTenant()]);
      early = await write(one.collection);
      const update = await caller.update(one.token, { new_organization_name: newName('Renamed') });
      expect(update.status, update.text).toBe(200);
      collection = update.json.collection_name;
      expect((await caller.remove(two.token, two.name)).status).toBe(200);
      renamed = await succeeded(caller, one);
      deleted = await succeeded(caller, two);
    });

    afterAll(async () => {
      await opened?.close();
      await service?.stop();
    });

    const idsIn = async (name: string) => {
      const found = await readAll(opened.database.collection(name));
      return found.map(({ _id }) => _id).sort();
    };
    const gone = (name: string) =>
      until(
        `${name} to be gone`,
        async () => ((await opened.database.listCollections([name])).length === 0 ? true : undefined),
        { ms: SWEEP_MS, every: 500 },
      );

    test('finds its documents in the renamed collection within 60 s', { timeout: 2 * SWEEP_MS }, async () => {
      const all = [...early, ...renamed.ids].sort();
      const arrived = async () => ((await idsIn(collection)).length === all.length ? true : undefined);
      await until('every document to be there', arrived, { ms: SWEEP_MS, every: 500 });
      expect(await idsIn(collection)).toEqual(all);
      await gone(renamed.before.collection);
    });

    test('leaves nothing of a deleted organization', { timeout: 2 * SWEEP_MS }, async () => {
      await gone(deleted.before.collection);
    });

    test('writes nothing to the next organizations of the names', async () => {
      expect([await idsIn(renamed.next), await idsIn(deleted.next)]).toEqual([[], []]);
    });
  });
});
